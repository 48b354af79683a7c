//! A graph's outputs: their types in words, and a float32 tensor of those that hold the same numbers in another type.
//!
//! Knows nothing of what the numbers mean.

use super::{
    Dim, Error, Graph,
    inspect::{elem_type, shape},
    make,
    order::producers,
    proto::{NodeProto, TypeValue, ValueInfoProto},
    tensors::data_type,
};

/// An output as the graph declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredOutput {
    /// Name of its tensor.
    pub name: String,
    /// Its type: `float32`, `int64`, `sequence`, …
    pub kind: String,
    /// Its dimensions, the batch first; `None` when the graph does not say.
    pub shape: Option<Vec<Dim>>,
    /// Operator that makes it; empty for an input.
    pub op_type: String,
    /// What that reads.
    pub inputs: Vec<String>,
}

/// Where quantised operators of ONNX and ONNX Runtime have scale and zero point of what they make.
const SCALES: [(&str, usize); 14] = [
    ("QuantizeLinear", 1),
    ("QLinearConcat", 0),
    ("QLinearSoftmax", 3),
    ("QLinearSigmoid", 3),
    ("QLinearLeakyRelu", 3),
    ("QLinearAveragePool", 3),
    ("QLinearGlobalAveragePool", 3),
    ("QLinearReduceMean", 3),
    ("QLinearAdd", 6),
    ("QLinearMul", 6),
    ("QLinearConv", 6),
    ("QLinearMatMul", 6),
    ("QGemm", 7),
    ("QLinearWhere", 7),
];

/// Operators that hand on quantised values as they are.
const HANDS_ON: [&str; 7] = ["Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool"];

impl Graph {
    /// The outputs as the graph declares them.
    pub fn declared_outputs(&self) -> Vec<DeclaredOutput> {
        let producers = producers(&self.body);
        let declared = |info: &ValueInfoProto| {
            let node = producers.get(info.name()).map(|&index| &self.body.node[index]);
            DeclaredOutput {
                name: info.name().to_owned(),
                kind: kind(info),
                shape: shape(info),
                op_type: node.map(|node| node.op_type().to_owned()).unwrap_or_default(),
                inputs: node.map(|node| node.input.clone()).unwrap_or_default(),
            }
        };
        self.body.output.iter().map(declared).collect()
    }

    /// Operator that makes the numbers of `tensor`, before others cast them and give them another shape.
    pub fn maker(&self, tensor: &str) -> Option<&str> {
        let producers = producers(&self.body);
        let mut node: &NodeProto = &self.body.node[*producers.get(tensor)?];
        while matches!(node.op_type(), "Cast" | "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose") {
            node = &self.body.node[*producers.get(node.input.first()?.as_str())?];
        }
        Some(node.op_type())
    }

    /// Whether the operator that makes `tensor` gives floats and nothing else, as those at the end of a classifier do.
    fn makes_floats(&self, tensor: &str) -> bool {
        let producer = producers(&self.body).get(tensor).map(|&index| self.body.node[index].op_type());
        producer
            .is_some_and(|op| matches!(op, "Softmax" | "LogSoftmax" | "Sigmoid" | "HardSigmoid" | "Gemm" | "DequantizeLinear"))
    }

    /// The graph with a float32 tensor of the numbers of output `name`, and that tensor's name: a node is added behind an output
    /// that is quantised or float of another size.
    ///
    /// `None` for an output whose type holds no such numbers, or whose scale the graph does not say.
    ///
    /// # Errors
    /// A name that the graph uses already.
    pub fn with_float_output(mut self, name: &str) -> Result<(Self, Option<String>), Error> {
        let elem = self.body.output.iter().find(|info| info.name() == name).map_or(0, elem_type);
        let made = format!("{name}/float32");
        let node = match elem {
            data_type::FLOAT | data_type::FLOAT16 => return Ok((self, Some(name.to_owned()))),
            // graft's own exports leave the type of a head's output to the operator that makes it.
            0 if self.makes_floats(name) => return Ok((self, Some(name.to_owned()))),
            data_type::DOUBLE | data_type::BFLOAT16 => {
                let to = make::int("to", data_type::FLOAT.into());
                make::node("Cast", &[name], &[&made], vec![to])
            }
            data_type::UINT8 | data_type::INT8 | data_type::INT16 | data_type::UINT16 => match self.scale(name) {
                Some([scale, zero]) => make::node("DequantizeLinear", &[name, &scale, &zero], &[&made], Vec::new()),
                None => return Ok((self, None)),
            },
            _ => return Ok((self, None)),
        };
        self.body.node.push(node);
        super::order::check(&mut self.body)?;
        Ok((self, Some(made)))
    }

    /// Scale and zero point of the quantised tensor `name`.
    fn scale(&self, name: &str) -> Option<[String; 2]> {
        let producers = producers(&self.body);
        let mut node: &NodeProto = &self.body.node[*producers.get(name)?];
        while HANDS_ON.contains(&node.op_type()) {
            node = &self.body.node[*producers.get(node.input.first()?.as_str())?];
        }
        let (_, position) = SCALES.iter().find(|(op, _)| *op == node.op_type())?;
        let input = |position: usize| node.input.get(position).cloned().unwrap_or_default();
        Some([input(*position), input(position + 1)])
    }
}

/// ONNX's name of a value's type.
fn kind(info: &ValueInfoProto) -> String {
    let value = info.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    match value {
        None => "of unknown type".to_owned(),
        Some(TypeValue::Tensor(_)) => element(elem_type(info)),
        Some(TypeValue::Sequence(sequence)) => {
            let of = sequence.elem_type.as_ref().and_then(|of| of.value.as_ref());
            if matches!(of, Some(TypeValue::Map(_))) { "a sequence of maps" } else { "a sequence" }.to_owned()
        }
        Some(TypeValue::Map(_)) => "a map".to_owned(),
        Some(TypeValue::Optional(_)) => "optional".to_owned(),
        Some(TypeValue::SparseTensor(_)) => "a sparse tensor".to_owned(),
        Some(TypeValue::Opaque(_)) => "opaque".to_owned(),
    }
}

/// numpy's name of `TensorProto.DataType`.
fn element(data_type: i32) -> String {
    const NAMES: [&str; 17] = [
        "of unknown type",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
    ];
    let name = usize::try_from(data_type).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("of type {data_type}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        fixture::{graph, node, untyped, value, zeros},
        make,
        proto::{GraphProto, SequenceType, TypeProto},
    };

    /// A graph of `nodes` whose output `y` is of the ONNX type `elem`.
    fn typed(nodes: Vec<NodeProto>, elem: i32) -> Graph {
        let body = GraphProto {
            node: nodes,
            initializer: vec![zeros("s", &[]), make::integers("z", &[], &[0]), zeros("t", &[])],
            input: vec![value("x", 1, &[0, 3])],
            output: vec![value("y", elem, &[0, 4])],
            ..Default::default()
        };
        graph(body).expect("a valid graph")
    }

    #[test]
    fn quantised_outputs_get_their_own_scale() {
        let check = |nodes: Vec<NodeProto>, elem, expected: Option<&str>, reads: &str| {
            let (graph, found) = typed(nodes, elem).with_float_output("y").expect("the name is free");
            assert_eq!(found.as_deref(), expected, "{reads}");
            let last = graph.body.node.last().expect("a node");
            assert_eq!(format!("{} {}", last.op_type(), last.input.join(" ")), reads);
        };
        let quantize = || node("QuantizeLinear", "x s z", "q");
        check(vec![node("Relu", "x", "y")], 1, Some("y"), "Relu x");
        check(vec![node("Relu", "x", "y")], 10, Some("y"), "Relu x");
        check(vec![node("Relu", "x", "y")], 11, Some("y/float32"), "Cast y");
        check(vec![node("QuantizeLinear", "x s z", "y")], 2, Some("y/float32"), "DequantizeLinear y s z");
        check(vec![quantize(), node("Reshape", "q t", "y")], 3, Some("y/float32"), "DequantizeLinear y s z");
        check(vec![quantize(), node("QLinearSoftmax", "q s z t z", "y")], 2, Some("y/float32"), "DequantizeLinear y t z");
        check(vec![node("Cast", "x", "y")], 2, None, "Cast x");
        check(vec![node("ArgMax", "x", "y")], 7, None, "ArgMax x");
    }

    #[test]
    fn types_are_named() {
        let mut graph = typed(vec![node("ArgMax", "x", "y"), node("ZipMap", "x", "maps")], 7);
        let map = TypeProto { value: Some(TypeValue::Map(Box::default())), denotation: None };
        let sequence = TypeValue::Sequence(Box::new(SequenceType { elem_type: Some(Box::new(map)) }));
        let mut maps = untyped("maps");
        maps.r#type = Some(TypeProto { value: Some(sequence), denotation: None });
        graph.body.output.extend([maps, untyped("x")]);
        let kinds: Vec<_> = graph.declared_outputs().into_iter().map(|output| (output.kind, output.op_type)).collect();
        let expected = [("int64", "ArgMax"), ("a sequence of maps", "ZipMap"), ("of unknown type", "")];
        assert_eq!(kinds, expected.map(|(kind, op)| (kind.to_owned(), op.to_owned())));
    }
}
