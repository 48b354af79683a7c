//! The graph's input as graft feeds it: floats, channels first. What a graph wants otherwise is put in front of it.
//!
//! Knows types and axes; which of them a user's graph means is decided by who imports it.

use std::collections::HashMap;

use super::{
    Dim, ElementType, Error, Graph,
    axes::{Effect, effect},
    inspect::{declared, shape},
    make,
    op::Op,
    order::producers,
    proto::{DimValue, GraphProto, OperatorSetIdProto, TypeProto, TypeValue, ValueInfoProto},
    proto::{Dimension, ModelProto, TensorShapeProto, TensorType},
    tensors::data_type,
};
use crate::preprocess::IntegerType;

/// What the tensors put behind the input are called, after it.
const ADAPTERS: [&str; 2] = ["/cast", "/channels_last"];

/// The graph's one input as it declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredInput {
    /// Name of its tensor.
    pub name: String,
    /// Its element type.
    pub kind: InputKind,
    /// Its dimensions, batch first; empty when the model does not say.
    pub shape: Vec<Dim>,
}

/// Element types that an image can be put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// float32 or float16, which are fed as they are.
    Float(ElementType),
    /// float64 or bfloat16: `TensorProto.DataType`.
    OtherFloat(i32),
    /// Whole numbers.
    Integer(IntegerType),
}

/// Where the channels of an input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputLayout {
    /// Channel, height, width, as PyTorch has it.
    Nchw,
    /// Height, width, channel, as TensorFlow has it.
    Nhwc,
}

/// What the first operator that looks at positions reads as channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstUse {
    /// Which axis of the input.
    pub axis: usize,
    /// How many channels its weights want; `None` without weights.
    pub channels: Option<u64>,
}

impl Graph {
    /// The one input that is no initializer, of whichever type an image can be put into.
    ///
    /// # Errors
    /// None or several of them, or another type.
    pub fn declared_input(&self) -> Result<DeclaredInput, Error> {
        let (info, found) = declared(&self.body)?;
        let name = info.name().to_owned();
        let kind = InputKind::of(found).ok_or_else(|| Error::InputType { name: name.clone(), found })?;
        Ok(DeclaredInput { name, kind, shape: shape(info).unwrap_or_default() })
    }

    /// A graph that takes floats of N × `channels` × height × width: a Cast and a Transpose come in front where it wants others.
    ///
    /// # Errors
    /// As [`Self::declared_input`]; a graph that calls a tensor of its own as these are called.
    pub fn fed(mut self, layout: InputLayout, channels: u64) -> Result<Self, Error> {
        let input = self.declared_input()?;
        let mut front = Vec::new();
        let mut last = input.name.clone();
        if let Some(to) = input.kind.cast() {
            let inner = format!("{}{}", input.name, ADAPTERS[0]);
            front.push(make::node("Cast", &[&last], &[&inner], vec![make::int("to", to.into())]));
            last = inner;
        }
        if layout == InputLayout::Nhwc {
            let inner = format!("{}{}", input.name, ADAPTERS[1]);
            front.push(make::node("Transpose", &[&last], &[&inner], vec![make::ints("perm", [0, 2, 3, 1])]));
            last = inner;
        }
        if !front.is_empty() {
            rename_uses(&mut self.body, &input.name, &last);
            self.body.node.splice(0..0, front);
            super::order::check(&mut self.body)?;
        }
        let info = self.body.input.iter_mut().find(|info| info.name() == input.name);
        if let Some(TypeValue::Tensor(tensor)) = info.and_then(|info| info.r#type.as_mut()).and_then(|kind| kind.value.as_mut()) {
            if input.kind.cast().is_some() {
                tensor.elem_type = Some(data_type::FLOAT);
            }
            if let Some(shape) = tensor.shape.as_mut().filter(|shape| shape.dim.len() == 4) {
                if layout == InputLayout::Nhwc {
                    shape.dim[1..].rotate_right(1);
                }
                shape.dim[1].value = Some(DimValue::Value(i64::try_from(channels).unwrap_or(i64::MAX)));
            }
        }
        Ok(self)
    }

    /// Whether `tensor` is what [`Self::fed`] put in: no layer of the user's.
    pub fn is_adapter(&self, tensor: &str) -> bool {
        let ends = |input: &ValueInfoProto| tensor.strip_prefix(input.name()).is_some_and(|end| ADAPTERS.contains(&end));
        self.body.input.iter().any(ends)
    }

    /// Where the first operator that looks at positions has the channels of the input; `None` where none can be found.
    ///
    /// Transposes on the way are followed.
    pub fn first_use(&self) -> Option<FirstUse> {
        let (input, _) = declared(&self.body).ok()?;
        let mut orders: HashMap<&str, Vec<usize>> = HashMap::from([(input.name(), vec![0, 1, 2, 3])]);
        for node in &self.body.node {
            let op = Op { node };
            let Some(order) = op.inputs().find_map(|name| orders.get(name)).cloned() else { continue };
            let order = match effect(node.op_type()) {
                Some(Effect::Spatial) => return Some(FirstUse { axis: order[1], channels: self.channels_of(op) }),
                Some(Effect::Keep | Effect::Join | Effect::Gather | Effect::Concat) => order,
                Some(Effect::Transpose) => {
                    op.sizes("perm")?.into_iter().map(|axis| order.get(axis).copied()).collect::<Option<_>>()?
                }
                _ => continue,
            };
            orders.extend(node.output.first().filter(|_| order.len() == 4).map(|name| (name.as_str(), order)));
        }
        None
    }

    /// Channels that the kernel of a convolution reads, of all its groups.
    fn channels_of(&self, op: Op<'_>) -> Option<u64> {
        let position = match op.node.op_type() {
            "Conv" | "ConvInteger" | "FusedConv" => 1,
            "QLinearConv" => 3,
            _ => return None,
        };
        let mut name = op.input(position);
        // A quantised kernel comes through a node or two.
        for _ in 0..3 {
            if let Some(kernel) = self.body.initializer.iter().find(|tensor| tensor.name() == name) {
                let groups = u64::try_from(op.int("group", 1)).ok()?;
                return u64::try_from(*kernel.dims.get(1)?).ok()?.checked_mul(groups);
            }
            name = Op { node: &self.body.node[*producers(&self.body).get(name)?] }.input(0);
        }
        None
    }

    /// The smallest graph, one Relu over a vector: for finding out whether a provider works.
    pub fn smallest() -> Self {
        let value = |name: &str| ValueInfoProto { name: Some(name.to_owned()), r#type: Some(vector()), ..Default::default() };
        let body = GraphProto {
            name: Some("smallest".to_owned()),
            node: vec![make::node("Relu", &["input"], &["output"], Vec::new())],
            input: vec![value("input")],
            output: vec![value("output")],
            ..Default::default()
        };
        let opset = OperatorSetIdProto { version: Some(17), ..Default::default() };
        let header = ModelProto { ir_version: Some(8), opset_import: vec![opset], ..Default::default() };
        Self { header, body, dir: None }
    }
}

impl InputKind {
    fn of(data_type: i32) -> Option<Self> {
        const BFLOAT16: i32 = 16;
        let integer = |integer| Some(Self::Integer(integer));
        match data_type {
            data_type::DOUBLE | BFLOAT16 => Some(Self::OtherFloat(data_type)),
            2 => integer(IntegerType::Uint8),
            3 => integer(IntegerType::Int8),
            4 => integer(IntegerType::Uint16),
            5 => integer(IntegerType::Int16),
            data_type::INT32 => integer(IntegerType::Int32),
            data_type::INT64 => integer(IntegerType::Int64),
            12 => integer(IntegerType::Uint32),
            13 => integer(IntegerType::Uint64),
            _ => ElementType::of(data_type).map(Self::Float),
        }
    }

    /// The type to which floats are cast for it.
    fn cast(self) -> Option<i32> {
        match self {
            Self::Float(_) => None,
            Self::OtherFloat(to) => Some(to),
            Self::Integer(integer) => Some(match integer {
                IntegerType::Uint8 => 2,
                IntegerType::Int8 => 3,
                IntegerType::Uint16 => 4,
                IntegerType::Int16 => 5,
                IntegerType::Int32 => data_type::INT32,
                IntegerType::Int64 => data_type::INT64,
                IntegerType::Uint32 => 12,
                IntegerType::Uint64 => 13,
            }),
        }
    }
}

/// Lets every node that reads `from` read `to`, in subgraphs too: those of If and Loop see the tensors around them.
fn rename_uses(body: &mut GraphProto, from: &str, to: &str) {
    for node in &mut body.node {
        node.input.iter_mut().filter(|name| *name == from).for_each(|name| to.clone_into(name));
        let subgraphs = node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs));
        subgraphs.for_each(|graph| rename_uses(graph, from, to));
    }
}

fn vector() -> TypeProto {
    let dim = Dimension { value: Some(DimValue::Param("batch".to_owned())), denotation: None };
    let tensor = TensorType { elem_type: Some(data_type::FLOAT), shape: Some(TensorShapeProto { dim: vec![dim] }) };
    TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{fixture, proto::AttributeProto};

    /// `smallest` with an input of `dims`; 0 is open.
    fn graph(elem: i32, dims: [i64; 4]) -> Graph {
        let mut graph = Graph::smallest();
        graph.body.input[0] = fixture::value("input", elem, &dims);
        graph
    }

    #[test]
    fn what_a_graph_wants_otherwise_comes_in_front() {
        #[track_caller]
        fn check(elem: i32, dims: [i64; 4], layout: InputLayout, channels: u64, expected: &str, nodes: &[&str]) {
            let fed = graph(elem, dims).fed(layout, channels).expect("one input");
            assert_eq!(fed.input().expect("floats").describe(), expected);
            let found: Vec<&str> = fed.body.node.iter().map(|node| node.op_type()).collect();
            assert_eq!(found, nodes, "{dims:?}");
            let adapters = fed.body.node.iter().filter(|node| fed.is_adapter(&node.output[0])).count();
            assert_eq!(adapters, nodes.len() - 1);
            assert!(!fed.is_adapter("other/cast"));
            Graph::parse(fed.to_bytes()).expect("the fed graph is whole");
        }
        let (first, last) = (InputLayout::Nchw, InputLayout::Nhwc);
        check(1, [1, 224, 200, 3], last, 3, "1×3×224×200", &["Transpose", "Relu"]);
        check(1, [1, 3, 224, 200], first, 3, "1×3×224×200", &["Relu"]);
        check(1, [0, 0, 28, 28], first, 1, "batch×1×28×28", &["Relu"]);
        check(2, [1, 28, 28, 1], last, 1, "1×1×28×28", &["Cast", "Transpose", "Relu"]);
        check(11, [1, 3, 9, 9], first, 3, "1×3×9×9", &["Cast", "Relu"]);
        assert!(matches!(graph(9, [1, 3, 9, 9]).declared_input(), Err(Error::InputType { found: 9, .. })));
    }

    #[test]
    fn names_that_the_graph_has_already_are_named() {
        let mut graph = graph(1, [1, 224, 200, 3]);
        graph.body.node.push(make::node("Relu", &["input"], &["input/channels_last"], Vec::new()));
        let error = graph.fed(InputLayout::Nhwc, 3).expect_err("it is taken").to_string();
        assert!(error.contains("tensor `input/channels_last` is defined twice"), "{error}");
    }

    #[test]
    fn subgraphs_read_the_turned_input_too() {
        let mut graph = graph(1, [1, 224, 200, 3]);
        let inside = GraphProto { node: graph.body.node.clone(), ..Default::default() };
        graph.body.node[0].attribute.push(AttributeProto { g: Some(inside), ..Default::default() });
        let turned = graph.fed(InputLayout::Nhwc, 3).expect("one input");
        let relu = &turned.body.node[1];
        let inside = relu.attribute[0].g.as_ref().expect("the branch is still there");
        assert_eq!((relu.input[0].as_str(), inside.node[0].input[0].as_str()), ("input/channels_last", "input/channels_last"));
    }

    #[test]
    fn the_first_convolution_has_the_channels() {
        let mut graph = graph(1, [0, 0, 0, 0]);
        graph.body.initializer.push(fixture::zeros("w", &[8, 3, 2, 2]));
        graph.body.node = vec![
            make::node("Mul", &["input", "half"], &["scaled"], Vec::new()),
            make::node("Transpose", &["scaled"], &["first"], vec![make::ints("perm", [0, 3, 1, 2])]),
            make::node("Conv", &["first", "w"], &["output"], Vec::new()),
        ];
        assert_eq!(graph.first_use(), Some(FirstUse { axis: 3, channels: Some(3) }));
        graph.body.node[0] = make::node("Flatten", &["input"], &["scaled"], Vec::new());
        assert_eq!(graph.first_use(), None);
    }
}
