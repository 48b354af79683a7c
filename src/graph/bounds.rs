//! What a graph may cost before anything is made of it: bounds on its nodes, their nesting, and all that is no tensor's data.
//!
//! Whatever reads a graph copies it for every session, and ONNX Runtime's time grows with its nodes. Knows no operator.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
};

use prost::Message;

use super::{
    Error, Graph,
    external::{inside, location_of},
    order::describe,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    tensors::{EXTERNAL, byte_len},
};

/// Most nodes, those within subgraphs and functions included. Image classifiers have some thousand at most.
pub(super) const MAX_NODES: usize = 20_000;

/// Most subgraphs within each other; those of exported classifiers are one or two deep.
const MAX_DEPTH: usize = 8;

/// Most calls of functions within each other.
const MAX_CALLS: usize = 64;

/// Most bytes besides the tensors' data: names, attributes, properties, documentation.
pub(super) const MAX_STRUCTURE_BYTES: usize = 64 << 20;

impl Graph {
    /// Bytes of the external data of the initializers, of what they say and of the files that are there whichever is less.
    pub fn external_bytes(&self) -> u64 {
        let external = || self.body.initializer.iter().filter(|tensor| tensor.data_location() == EXTERNAL);
        let said = external().map(|tensor| byte_len(tensor).ok().flatten().unwrap_or(0)).fold(0, u64::saturating_add);
        let files: HashSet<PathBuf> = match &self.dir {
            Some(dir) => external().filter_map(|tensor| inside(&dir.path, location_of(tensor)).ok()).collect(),
            None => HashSet::new(),
        };
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        said.min(files.iter().map(length).fold(0, u64::saturating_add))
    }
}

/// Checks nodes and nesting.
pub(super) fn check_nodes(header: &ModelProto, body: &GraphProto) -> Result<(), Error> {
    let functions = header.functions.iter().map(|function| ((function.domain(), function.name()), function.node.as_slice()));
    let mut counter = Counter { functions: functions.collect(), called: HashMap::new(), nodes: 0 };
    body.node.iter().try_for_each(|node| counter.count(node, 0))?;
    // As they stand in the file: what calls them has been counted with each call.
    counter.functions.clear();
    header.functions.iter().flat_map(|function| &function.node).try_for_each(|node| counter.count(node, 0))
}

/// Checks what there is besides the `data` of the tensors, in bytes.
pub(super) fn check_structure(header: &ModelProto, body: &GraphProto, data: usize) -> Result<(), Error> {
    let bytes = (header.encoded_len() + body.encoded_len()).saturating_sub(data);
    if bytes <= MAX_STRUCTURE_BYTES {
        return Ok(());
    }
    let largest = header.metadata_props.iter().max_by_key(|property| property.value().len());
    let largest = largest.filter(|property| property.value().len() > bytes / 2).map(|property| property.key().to_owned());
    Err(Error::TooMuchStructure { bytes, property: largest })
}

/// Bytes that the data of `tensor` take in the message.
pub(super) fn data_bytes(tensor: &TensorProto) -> usize {
    let TensorProto { name, dims, doc_string, external_data, metadata_props, .. } = tensor;
    let rest = TensorProto {
        name: name.clone(),
        dims: dims.clone(),
        doc_string: doc_string.clone(),
        external_data: external_data.clone(),
        metadata_props: metadata_props.clone(),
        ..Default::default()
    };
    tensor.encoded_len() - rest.encoded_len()
}

/// Counts nodes, those of the functions that they call with each call.
struct Counter<'a> {
    functions: HashMap<(&'a str, &'a str), &'a [NodeProto]>,
    /// Nodes of a call, of functions that were looked at.
    called: HashMap<(&'a str, &'a str), usize>,
    nodes: usize,
}

impl<'a> Counter<'a> {
    fn count(&mut self, node: &'a NodeProto, depth: usize) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(1 + self.called(node, 0));
        if self.nodes > MAX_NODES {
            return Err(Error::TooManyNodes { node: describe(node) });
        }
        let mut inner = inner(node).peekable();
        if depth == MAX_DEPTH && inner.peek().is_some() {
            return Err(Error::TooDeep { node: describe(node), depth: MAX_DEPTH });
        }
        inner.flat_map(|graph| &graph.node).try_for_each(|node| self.count(node, depth + 1))
    }

    /// Nodes of the function that `node` calls, and of those that it calls in turn; as many as there may be of one within itself,
    /// or behind too many calls within each other.
    fn called(&mut self, node: &'a NodeProto, level: usize) -> usize {
        let key = (node.domain(), node.op_type());
        let Some(nodes) = self.functions.get(&key).copied() else { return 0 };
        if let Some(known) = self.called.get(&key) {
            return *known;
        }
        if level == MAX_CALLS {
            return MAX_NODES;
        }
        self.called.insert(key, MAX_NODES);
        let mut open: Vec<&NodeProto> = nodes.iter().collect();
        let mut total = 0_usize;
        while let Some(node) = open.pop() {
            total = total.saturating_add(1 + self.called(node, level + 1));
            open.extend(inner(node).flat_map(|graph| &graph.node));
        }
        let total = total.min(MAX_NODES);
        self.called.insert(key, total);
        total
    }
}

/// The subgraphs of `node`.
fn inner(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        fixture::{branch, classifier, graph, model, node, untyped},
        proto::{FunctionProto, StringStringEntryProto},
    };

    #[test]
    fn external_data_are_as_large_as_their_files_at_most() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("x"), [0; 100]).expect("written");
        let mut body = classifier();
        for (name, elements) in [("small", 3), ("large", 1 << 58)] {
            let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
            let external_data = vec![entry("location", "x")];
            let (name, data_type) = (Some(name.to_owned()), Some(1));
            let data_location = Some(EXTERNAL);
            let tensor =
                TensorProto { name, dims: vec![elements], data_type, data_location, external_data, ..Default::default() };
            body.initializer.push(tensor);
            let bytes = graph(body.clone()).expect("a valid graph").beside(folder.path()).external_bytes();
            assert_eq!(bytes, if elements == 3 { 12 } else { 100 });
        }
        assert_eq!(graph(body).expect("a valid graph").external_bytes(), 0, "there are no files");
    }

    /// A classifier with `depth` branches within each other, beside `relus` Relus in a row.
    fn grown(relus: usize, depth: usize) -> Result<Graph, String> {
        let mut body = classifier();
        body.node.extend((0..relus).map(|index| node("Relu", "x", &format!("r{index}"))));
        let inner =
            |node: NodeProto, output: &str| GraphProto { node: vec![node], output: vec![untyped(output)], ..Default::default() };
        let mut last = node("Relu", "x", "end");
        for level in 0..depth {
            let mut outer = node("If", "k", &format!("level{level}"));
            let output = last.output[0].clone();
            outer.attribute.push(branch("then_branch", inner(last, &output)));
            last = outer;
        }
        body.node.push(last);
        graph(body).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_and_nesting_are_bounded() {
        let own = classifier().node.len() + 1;
        assert!(grown(MAX_NODES - own, 0).is_ok());
        let many = grown(MAX_NODES - own + 1, 0).expect_err("one too many");
        assert_eq!(
            many,
            "the graph has more than 20000 nodes (Relu node `end` is the next); simplify it, for example with onnxslim"
        );
        assert!(grown(0, MAX_DEPTH).is_ok());
        let deep = grown(0, MAX_DEPTH + 1).expect_err("too deep");
        assert_eq!(deep, "If node `level0` holds a subgraph more than 8 deep; simplify the graph, for example with onnxslim");
        assert!(grown(MAX_NODES - own, 1).expect_err("within branches, too").contains("20000 nodes"));
    }

    /// A function that calls the next twice, and so on: a kilobyte of file, and as many nodes as one likes.
    #[test]
    fn calls_of_functions_count_with_what_they_call() {
        let parse = |levels: usize| {
            let function = |level: usize| {
                let name = if level == levels { "Relu".to_owned() } else { format!("f{}", level + 1) };
                let mut calls = vec![node(&name, "x", "y"), node(&name, "y", "z")];
                let domain = if level == levels { "" } else { "own" };
                calls.iter_mut().for_each(|call| call.domain = Some(domain.to_owned()));
                FunctionProto {
                    name: Some(format!("f{level}")),
                    domain: Some("own".to_owned()),
                    input: vec!["x".to_owned()],
                    output: vec!["z".to_owned()],
                    node: calls,
                    ..Default::default()
                }
            };
            let mut body = classifier();
            body.node.push(NodeProto { domain: Some("own".to_owned()), ..node("f0", "x", "called") });
            let model = ModelProto { functions: (0..=levels).map(function).collect(), ..model(body) };
            Graph::parse(model.encode_to_vec().into()).map(drop).map_err(|error| error.to_string())
        };
        // 16,383 nodes and calls: what functions hold is not counted again for each that they lie in.
        assert_eq!(parse(12), Ok(()));
        assert!(parse(13).is_err());
        assert!(parse(10_000).is_err(), "calls have no end");
        let many = parse(40).expect_err("a million million");
        assert!(many.contains("more than 20000 nodes (f0 node `called` is the next)"), "{many}");
    }

    #[test]
    fn what_is_no_weight_is_bounded() {
        let with = |key: &str, bytes: usize| {
            let property = StringStringEntryProto { key: Some(key.to_owned()), value: Some("x".repeat(bytes)) };
            let model = ModelProto { metadata_props: vec![property], ..model(classifier()) };
            Graph::parse(model.encode_to_vec().into()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(with("names", MAX_STRUCTURE_BYTES / 2), Ok(()));
        let refused = with("names", MAX_STRUCTURE_BYTES).expect_err("too long");
        assert!(refused.contains("besides its tensors, most of it the property `names`; 67108864 are the most"), "{refused}");
        let mut body = classifier();
        body.doc_string = Some("x".repeat(MAX_STRUCTURE_BYTES));
        let refused = graph(body).expect_err("too long").to_string();
        assert!(refused.contains("besides its tensors; 67108864 are the most"), "{refused}");
        let mut body = classifier();
        body.initializer.push(crate::graph::fixture::zeros("large", &[MAX_STRUCTURE_BYTES as i64 / 4]));
        assert!(graph(body).is_ok(), "tensors have no such bound");
    }
}
