//! What a graph says of itself: its input, outputs, layers and weights.

use std::collections::HashSet;

use super::{
    Error, Graph, Span,
    order::{captured, inputs, outputs, uses},
    proto::{DimValue, GraphProto, NodeProto, TypeProto, TypeValue, ValueInfoProto},
    tensors::{self, EXTERNAL, byte_len, data_type, external_number},
};

/// The graph's one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputInfo {
    /// Name of its tensor.
    pub name: String,
    /// Its element type.
    pub elem: ElementType,
    /// Its dimensions, batch first; empty when the model does not say.
    pub shape: Vec<Dim>,
}

/// A tensor of which the model may say the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its element type; `None` when the model does not say, or says another.
    pub elem: Option<ElementType>,
    /// Its dimensions; `None` when the model does not say.
    pub shape: Option<Vec<Dim>>,
}

/// The element types that images and features have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// float32.
    F32,
    /// IEEE float16.
    F16,
}

/// One dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Known.
    Fixed(u64),
    /// Unknown, but equal wherever the name stands.
    Symbolic(String),
    /// Unknown.
    Unknown,
}

/// The first output of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutput {
    /// Name of the tensor.
    pub name: String,
    /// The node's operator, such as `Conv`.
    pub op_type: String,
    /// Position of the node in the graph.
    pub node_index: usize,
}

/// A stored tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initializer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type; `None` for others than float32 and float16.
    pub elem: Option<ElementType>,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Size of its data; 0 for types of unknown size.
    pub bytes: u64,
    /// Where its data lie, when not in the graph.
    pub external: Option<Span>,
}

/// A node that reads a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer<'a> {
    /// The node's operator.
    pub op_type: &'a str,
    /// Which of its inputs; `None` when a subgraph of the node reads it.
    pub input: Option<usize>,
}

impl Graph {
    /// The one input that is no initializer.
    ///
    /// # Errors
    /// None or several of them, or an element type other than float32 and float16.
    pub fn input(&self) -> Result<InputInfo, Error> {
        let (info, found) = declared(&self.body)?;
        let name = info.name().to_owned();
        let elem = ElementType::of(found).ok_or_else(|| Error::InputType { name: name.clone(), found })?;
        Ok(InputInfo { name, elem, shape: shape(info).unwrap_or_default() })
    }

    /// The graph's outputs, in order.
    pub fn outputs(&self) -> Vec<ValueInfo> {
        let value = |info: &ValueInfoProto| ValueInfo {
            name: info.name().to_owned(),
            elem: ElementType::of(elem_type(info)),
            shape: shape(info),
        };
        self.body.output.iter().map(value).collect()
    }

    /// Names of the tensors that a session can give: the graph's inputs, and what its nodes make.
    pub fn computed(&self) -> impl Iterator<Item = &str> {
        inputs(&self.body).chain(self.body.node.iter().flat_map(outputs))
    }

    /// The first output of every node that depends on the graph's input, in graph order; constants are no layers.
    pub fn image_layers(&self) -> Vec<NodeOutput> {
        let dependent = self.dependent();
        let layer = |(node_index, node): (usize, &NodeProto)| {
            let name = node.output.first().filter(|name| dependent.contains(name.as_str()))?;
            Some(NodeOutput { name: name.clone(), op_type: node.op_type().to_owned(), node_index })
        };
        self.body.node.iter().enumerate().filter_map(layer).collect()
    }

    /// The tensor that the last Gemm, MatMul or Conv reads as its data: the usual feature vector of a classifier.
    ///
    /// `None` when there is no such node, or when it reads the graph's input itself.
    pub fn last_affine_input(&self) -> Option<String> {
        let dependent = self.dependent();
        let data = |node: &NodeProto| node.input.iter().find(|name| dependent.contains(name.as_str())).cloned();
        let affine = |node: &&NodeProto| node.domain().is_empty() && matches!(node.op_type(), "Gemm" | "MatMul" | "Conv");
        let tensor = self.body.node.iter().rev().filter(affine).find_map(data)?;
        (!inputs(&self.body).any(|name| name == tensor)).then_some(tensor)
    }

    /// The graph's stored tensors, in its order.
    pub fn initializers(&self) -> impl Iterator<Item = Initializer<'_>> {
        self.body.initializer.iter().map(|tensor| {
            let bytes = byte_len(tensor).ok().flatten().unwrap_or(0);
            let offset = external_number(tensor, "offset").ok().flatten().unwrap_or(0);
            Initializer {
                name: tensor.name(),
                elem: ElementType::of(tensor.data_type()),
                shape: tensor.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect(),
                bytes,
                external: (tensor.data_location() == EXTERNAL).then_some(Span { offset, length: bytes }),
            }
        })
    }

    /// Little-endian data of the stored tensor `name`; `None` when it does not exist or its data lie elsewhere.
    pub fn initializer_data(&self, name: &str) -> Option<bytes::Bytes> {
        let tensor = self.body.initializer.iter().find(|tensor| tensor.name() == name)?;
        if tensor.data_location() == EXTERNAL { None } else { tensors::raw(tensor) }
    }

    /// Nodes that read tensor `name`, in graph order; one entry per input.
    pub fn consumers(&self, name: &str) -> Vec<Consumer<'_>> {
        let of_node = |node: &'_ NodeProto| {
            let positions = node.input.iter().enumerate().filter(|(_, input)| *input == name);
            let inner = captured(node).contains(&name).then_some(None);
            positions.map(|(position, _)| Some(position)).chain(inner).collect::<Vec<_>>()
        };
        let consumer = |node| of_node(node).into_iter().map(|input| Consumer { op_type: node.op_type(), input });
        self.body.node.iter().flat_map(consumer).collect()
    }

    /// Names of all tensors that depend on the graph's inputs, these included.
    pub(super) fn dependent(&self) -> HashSet<&str> {
        let mut dependent: HashSet<&str> = inputs(&self.body).collect();
        for node in &self.body.node {
            if uses(node).iter().any(|name| dependent.contains(name)) {
                dependent.extend(outputs(node));
            }
        }
        dependent
    }
}

impl InputInfo {
    /// The dimensions as N×3×224×224.
    pub fn describe(&self) -> String {
        self.shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×")
    }
}

impl Dim {
    /// The size when it is known.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Symbolic(_) | Self::Unknown => None,
        }
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(formatter),
            Self::Symbolic(name) => name.fmt(formatter),
            Self::Unknown => formatter.write_str("?"),
        }
    }
}

impl ElementType {
    pub(super) fn of(data_type: i32) -> Option<Self> {
        match data_type {
            data_type::FLOAT => Some(Self::F32),
            data_type::FLOAT16 => Some(Self::F16),
            _ => None,
        }
    }

    /// Size of one element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// The one input that is no initializer, and its `TensorProto.DataType`.
pub(super) fn declared(body: &GraphProto) -> Result<(&ValueInfoProto, i32), Error> {
    let names: Vec<&str> = inputs(body).collect();
    let name = match names.as_slice() {
        [] => return Err(Error::NoInput),
        [name] => *name,
        _ => return Err(Error::SeveralInputs(names.into_iter().map(str::to_owned).collect())),
    };
    let info = body.input.iter().find(|input| input.name() == name).ok_or(Error::NoInput)?;
    Ok((info, elem_type(info)))
}

/// `TensorProto.DataType` of a value, 0 when it is not said or no dense tensor.
pub(super) fn elem_type(info: &ValueInfoProto) -> i32 {
    match &info.r#type {
        Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), .. }) => tensor.elem_type(),
        _ => 0,
    }
}

pub(super) fn shape(info: &ValueInfoProto) -> Option<Vec<Dim>> {
    let Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), .. }) = &info.r#type else { return None };
    let dim = |value: &Option<DimValue>| match value {
        Some(DimValue::Value(size)) => u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed),
        Some(DimValue::Param(name)) if !name.is_empty() => Dim::Symbolic(name.clone()),
        Some(DimValue::Param(_)) | None => Dim::Unknown,
    };
    Some(tensor.shape.as_ref()?.dim.iter().map(|dimension| dim(&dimension.value)).collect())
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Dim, ElementType, InputInfo};
    use crate::graph::{
        Error, Graph,
        fixture::{branch, classifier, graph, node, untyped, value, zeros},
        proto::GraphProto,
    };

    fn changed(change: impl Fn(&mut GraphProto)) -> Graph {
        let mut body = classifier();
        change(&mut body);
        graph(body).expect("a valid graph")
    }

    #[test]
    fn the_input_is_what_is_no_initializer() {
        let check = |change: &dyn Fn(&mut GraphProto), expected: Result<InputInfo, &str>| {
            let found = changed(change).input().map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        let input = |elem, shape: &[Dim]| Ok(InputInfo { name: "x".to_owned(), elem, shape: shape.to_vec() });
        let batch = || Dim::Symbolic("batch".to_owned());
        check(&|_| {}, input(ElementType::F32, &[batch(), Dim::Fixed(3)]));
        check(&|body| body.input.push(value("w1", 1, &[3, 2])), input(ElementType::F32, &[batch(), Dim::Fixed(3)]));
        check(&|body| body.input[0] = value("x", 10, &[1, -1]), input(ElementType::F16, &[Dim::Fixed(1), Dim::Unknown]));
        check(
            &|body| body.input[0] = value("x", 7, &[0]),
            Err("input `x` is of ONNX type 7; graft feeds images as floats (1, 10, 11, 16) or whole numbers (2 to 7, 12, 13)"),
        );
        check(
            &|body| body.input[0] = untyped("x"),
            Err("input `x` is of ONNX type 0; graft feeds images as floats (1, 10, 11, 16) or whole numbers (2 to 7, 12, 13)"),
        );
        check(
            &|body| body.input.push(value("z", 1, &[0])),
            Err("the graph has 2 inputs (`x`, `z`); graft needs exactly one, the image"),
        );
        check(
            &|body| body.initializer.push(zeros("x", &[1, 3])),
            Err("the graph has no input besides its weights; graft needs exactly one, the image"),
        );
    }

    #[test]
    fn layers_are_what_depends_on_the_input() {
        let check = |change: &dyn Fn(&mut GraphProto), expected: &[&str], affine: Option<&str>| {
            let graph = changed(change);
            let layers: Vec<String> = graph.image_layers().into_iter().map(|layer| layer.name).collect();
            assert_eq!(layers, expected);
            assert_eq!(graph.last_affine_input().as_deref(), affine);
        };
        let all = ["hidden", "relu", "shifted", "logits", "y"];
        check(&|_| {}, &all, Some("shifted"));
        check(&|body| body.node[4] = node("MatMul", "w2 shifted", "logits"), &all, Some("shifted"));
        check(&|body| body.node[4] = node("Add", "w2 shifted", "logits"), &all, None);
        check(&|body| body.node.push(node("MatMul", "k w2", "aside")), &all, Some("shifted"));
        check(&|body| body.node[0].output.push("extra".to_owned()), &all, Some("shifted"));
        let inner = GraphProto { node: vec![node("Neg", "hidden", "n")], output: vec![untyped("n")], ..Default::default() };
        let conditional = |body: &mut GraphProto| {
            body.node[3] = node("If", "k", "shifted");
            body.node[3].attribute.push(branch("then_branch", inner.clone()));
        };
        check(&conditional, &all, Some("shifted"));
    }

    #[test]
    fn consumers_name_operator_and_position() {
        let inner = GraphProto { node: vec![node("Neg", "w1", "n")], output: vec![untyped("n")], ..Default::default() };
        let graph = changed(|body| {
            body.node[1].attribute.push(branch("body", inner.clone()));
            body.node[4] = node("Gemm", "shifted w2 w2", "logits");
        });
        let consumer = |op_type, input| Consumer { op_type, input };
        assert_eq!(graph.consumers("w1"), [consumer("Gemm", Some(1)), consumer("Relu", None)]);
        assert_eq!(graph.consumers("w2"), [consumer("Gemm", Some(1)), consumer("Gemm", Some(2))]);
        assert_eq!(graph.consumers("unused"), []);
    }

    #[test]
    fn outputs_and_initializers_say_their_types() {
        let graph = changed(|body| body.output.push(untyped("relu")));
        let outputs = graph.outputs();
        assert_eq!((outputs[0].name.as_str(), outputs[0].elem), ("y", Some(ElementType::F32)));
        assert_eq!(outputs[0].shape, Some(vec![Dim::Symbolic("batch".to_owned()), Dim::Fixed(4)]));
        assert_eq!((outputs[1].name.as_str(), outputs[1].elem, &outputs[1].shape), ("relu", None, &None));
        let weights: Vec<_> = graph.initializers().map(|weight| (weight.name.to_owned(), weight.shape, weight.bytes)).collect();
        let expected = [("w1", vec![3, 2], 24), ("w2", vec![2, 4], 32), ("unused", vec![5], 20)];
        assert_eq!(weights, expected.map(|(name, shape, bytes)| (name.to_owned(), shape, bytes)));
        assert!(matches!(graph.cut(&["w1"]), Err(Error::UnknownTensor(_))), "weights are no layers");
    }
}
