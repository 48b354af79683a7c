//! Cutting: the part of a graph that some tensors need, with those tensors as its outputs.

use std::collections::{HashMap, HashSet};

use super::{
    Error, Graph,
    order::{inputs, outputs as made, producers, uses},
    proto::{GraphProto, ModelProto, TensorAnnotation, TensorProto, ValueInfoProto},
};

impl Graph {
    /// The ancestors of `outputs`, with these as outputs in the order asked for, repetitions left out.
    ///
    /// Nodes keep their order, the graph its inputs; weights that are no longer read are left out.
    /// An output of which the model does not say the type gets none: ONNX Runtime infers it.
    /// Costs no copy of any weights.
    ///
    /// # Errors
    /// A name that neither a node makes nor is an input; no name at all.
    pub fn cut(&self, outputs: &[&str]) -> Result<Self, Error> {
        if outputs.is_empty() {
            return Err(Error::NoOutputs);
        }
        let body = &self.body;
        let wanted = Wanted::ancestors(body, outputs)?;
        let kept_input =
            |input: &&ValueInfoProto| wanted.read.contains(input.name()) || inputs(body).any(|name| name == input.name());
        let kept_tensor = |tensor: &TensorProto| wanted.read.contains(tensor.name());
        let cut = GraphProto {
            node: wanted.pick(&body.node, |index, _| wanted.nodes[index]),
            name: body.name.clone(),
            doc_string: body.doc_string.clone(),
            metadata_props: body.metadata_props.clone(),
            initializer: wanted.pick(&body.initializer, |_, tensor| kept_tensor(tensor)),
            sparse_initializer: wanted
                .pick(&body.sparse_initializer, |_, sparse| sparse.values.as_ref().is_some_and(kept_tensor)),
            input: body.input.iter().filter(kept_input).cloned().collect(),
            output: output_infos(body, outputs),
            value_info: wanted
                .pick(&body.value_info, |_, info| wanted.made.contains(info.name()) && !outputs.contains(&info.name())),
            quantization_annotation: wanted.pick(&body.quantization_annotation, |_, note| wanted.annotates(note)),
        };
        let header = ModelProto { training_info: Vec::new(), ..self.header.clone() };
        Ok(Self { header, body: cut, dir: self.dir.clone() })
    }
}

/// What a cut keeps.
struct Wanted<'a> {
    /// Per node, whether it is kept.
    nodes: Vec<bool>,
    /// Tensors that kept nodes read, and the outputs.
    read: HashSet<&'a str>,
    /// Tensors that kept nodes make.
    made: HashSet<&'a str>,
}

impl<'a> Wanted<'a> {
    fn ancestors(body: &'a GraphProto, outputs: &[&'a str]) -> Result<Self, Error> {
        let producers = producers(body);
        let sources: HashSet<&str> = inputs(body).collect();
        if let Some(unknown) = outputs.iter().find(|name| !producers.contains_key(*name) && !sources.contains(*name)) {
            return Err(Error::UnknownTensor((*unknown).to_owned()));
        }
        let mut wanted = Self { nodes: vec![false; body.node.len()], read: HashSet::new(), made: HashSet::new() };
        let mut open: Vec<&str> = outputs.to_vec();
        while let Some(name) = open.pop() {
            if !wanted.read.insert(name) {
                continue;
            }
            let Some(&index) = producers.get(name) else { continue };
            if !std::mem::replace(&mut wanted.nodes[index], true) {
                wanted.made.extend(made(&body.node[index]));
                open.extend(uses(&body.node[index]));
            }
        }
        Ok(wanted)
    }

    fn pick<T: Clone>(&self, all: &[T], keep: impl Fn(usize, &T) -> bool) -> Vec<T> {
        all.iter().enumerate().filter(|(index, item)| keep(*index, item)).map(|(_, item)| item.clone()).collect()
    }

    fn annotates(&self, note: &TensorAnnotation) -> bool {
        self.read.contains(note.tensor_name()) || self.made.contains(note.tensor_name())
    }
}

/// What the model says of `outputs`, or their names alone.
fn output_infos(body: &GraphProto, outputs: &[&str]) -> Vec<ValueInfoProto> {
    let known: HashMap<&str, &ValueInfoProto> =
        body.value_info.iter().chain(&body.input).chain(&body.output).map(|info| (info.name(), info)).collect();
    let mut seen = HashSet::new();
    let bare = |name: &str| ValueInfoProto { name: Some(name.to_owned()), ..Default::default() };
    let info = |name: &str| known.get(name).map_or_else(|| bare(name), |info| (*info).clone());
    outputs.iter().filter(|name| seen.insert(**name)).map(|name| info(name)).collect()
}
