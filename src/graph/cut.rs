//! Cutting: the part of a graph that some tensors need, with those tensors as its outputs.

use std::collections::{HashMap, HashSet};

use super::{
    Error, Graph,
    order::{inputs, outputs as made, producers, uses},
    proto::{GraphProto, ModelProto, TensorAnnotation, TensorProto, ValueInfoProto},
};

/// From this IR version on an initializer need not be an input; one that is cannot be optimised away.
const WEIGHTS_NEED_NO_INPUT: i64 = 4;

impl Graph {
    /// The ancestors of `outputs`, with these as outputs in the order asked for, repetitions left out.
    ///
    /// Nodes keep their order; weights that are no longer read are left out. The graph keeps the inputs that have to
    /// be fed; weights that a model of IR version 4 or later lists among its inputs become constants.
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
        let fed: HashSet<&str> = inputs(body).collect();
        let weights_are_inputs = self.header.ir_version() < WEIGHTS_NEED_NO_INPUT;
        let kept_input =
            |input: &ValueInfoProto| fed.contains(input.name()) || weights_are_inputs && wanted.read.contains(input.name());
        let asked: HashSet<&str> = outputs.iter().copied().collect();
        let kept_tensor = |tensor: &TensorProto| wanted.read.contains(tensor.name());
        let cut = GraphProto {
            node: pick(&body.node, |index, _| wanted.nodes[index]),
            name: body.name.clone(),
            doc_string: body.doc_string.clone(),
            metadata_props: body.metadata_props.clone(),
            initializer: pick(&body.initializer, |_, tensor| kept_tensor(tensor)),
            sparse_initializer: pick(&body.sparse_initializer, |_, sparse| sparse.values.as_ref().is_some_and(kept_tensor)),
            input: pick(&body.input, |_, input| kept_input(input)),
            output: output_infos(body, outputs),
            value_info: pick(&body.value_info, |_, info| wanted.made.contains(info.name()) && !asked.contains(info.name())),
            quantization_annotation: pick(&body.quantization_annotation, |_, note| wanted.annotates(note)),
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

    fn annotates(&self, note: &TensorAnnotation) -> bool {
        self.read.contains(note.tensor_name()) || self.made.contains(note.tensor_name())
    }
}

fn pick<T: Clone>(all: &[T], keep: impl Fn(usize, &T) -> bool) -> Vec<T> {
    all.iter().enumerate().filter(|(index, item)| keep(*index, item)).map(|(_, item)| item.clone()).collect()
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

#[cfg(test)]
mod tests {
    use crate::{
        graph::{
            Error, Graph,
            fixture::{branch, classifier, graph, node, untyped, value},
            proto::GraphProto,
        },
        test_data::real,
    };

    /// Node outputs, initializers, inputs, value infos and outputs, each joined by spaces.
    fn parts(graph: &Graph) -> [String; 5] {
        let body = &graph.body;
        let infos = |infos: &[super::ValueInfoProto]| infos.iter().map(|info| info.name()).collect::<Vec<_>>().join(" ");
        [
            body.node.iter().map(|node| node.output[0].as_str()).collect::<Vec<_>>().join(" "),
            body.initializer.iter().map(|tensor| tensor.name()).collect::<Vec<_>>().join(" "),
            infos(&body.input),
            infos(&body.value_info),
            infos(&body.output),
        ]
    }

    #[test]
    fn a_cut_keeps_ancestors_alone() {
        let mut body = classifier();
        // The else branch reads `hidden` and `w2` from outside, and its own `relu`, which hides the outer one.
        let inner = GraphProto {
            node: vec![node("Relu", "hidden", "relu"), node("Gemm", "relu w2", "out")],
            output: vec![untyped("out")],
            ..Default::default()
        };
        let mut conditional = node("If", "k", "either");
        conditional.attribute.push(branch("else_branch", inner));
        body.node.push(conditional);
        body.input.push(value("w2", 1, &[2, 4]));
        let whole = graph(body).expect("a valid graph");
        let check = |outputs: &[&str], expected: [&str; 5]| {
            let cut = whole.cut(outputs).expect("tensors of the graph");
            assert_eq!(parts(&cut), expected, "{outputs:?}");
            assert_eq!(cut.cut(outputs).expect("outputs of the cut"), cut, "cutting again changes nothing");
            assert!(Graph::parse(cut.to_bytes()).is_ok(), "{outputs:?}");
        };
        check(&["relu"], ["hidden relu", "w1", "x", "", "relu"]);
        check(&["hidden", "relu", "hidden"], ["hidden relu", "w1", "x", "", "hidden relu"]);
        check(&["relu", "hidden"], ["hidden relu", "w1", "x", "", "relu hidden"]);
        check(&["shifted"], ["hidden relu k shifted", "w1", "x", "relu", "shifted"]);
        check(&["y"], ["hidden relu k shifted logits y", "w1 w2", "x", "relu logits", "y"]);
        check(&["either"], ["hidden k either", "w1 w2", "x", "", "either"]);
        check(&["x"], ["", "", "x", "", "x"]);
        check(&["k"], ["k", "", "x", "", "k"]);
    }

    #[test]
    fn types_are_kept_where_they_are_known() {
        let whole = graph(classifier()).expect("a valid graph");
        let check = |name: &str, known: bool| {
            let outputs = whole.cut(&[name]).expect("a tensor of the graph").outputs();
            assert_eq!(outputs[0].shape.is_some(), known, "{name}");
        };
        check("logits", true);
        check("y", true);
        check("x", true);
        check("hidden", false);
    }

    #[test]
    fn old_models_keep_weights_as_inputs() {
        let mut body = classifier();
        body.input.extend(["w1", "w2", "unused"].map(untyped));
        let mut whole = graph(body).expect("a valid graph");
        assert_eq!(parts(&whole.cut(&["relu"]).expect("a tensor"))[2], "x");
        whole.header.ir_version = Some(3);
        assert_eq!(parts(&whole.cut(&["relu"]).expect("a tensor"))[2], "x w1");
    }

    #[test]
    fn unknown_tensors_are_named() {
        let whole = graph(classifier()).expect("a valid graph");
        for name in ["zz", "w1", ""] {
            assert!(matches!(whole.cut(&["relu", name]), Err(Error::UnknownTensor(found)) if found == name));
        }
        assert!(matches!(whole.cut(&[]), Err(Error::NoOutputs)));
    }

    #[test]
    fn real_models_can_be_cut_at_every_layer() {
        let Some(folder) = real("weights") else { return };
        for (name, nodes, affine) in [("googlenet.onnx", 142, "fl"), ("squeezenet_fp16.onnx", 66, "fire9/concat_2")] {
            let whole = Graph::read(&folder.join(name)).expect("a real file");
            let layers = whole.image_layers();
            assert_eq!(layers.len(), nodes);
            assert_eq!(whole.last_affine_input().as_deref(), Some(affine));
            for layer in layers {
                let cut = whole.cut(&[&layer.name]).expect("a layer");
                assert!(cut.body.node.len() <= layer.node_index + 1, "{}", layer.name);
                let mut checked = cut.body.clone();
                super::super::order::check(&mut checked).expect("a cut is whole");
                assert_eq!(checked, cut.body, "{}", layer.name);
            }
        }
    }
}
