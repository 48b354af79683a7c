//! Small models for tests.

use prost::Message;

use super::{
    Graph,
    proto::{
        AttributeProto, DimValue, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
        TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
    },
};
use crate::{arch::Layer, tensor::Tensor, weights};

/// A node from names separated by spaces.
pub(super) fn node(op: &str, inputs: &str, outputs: &str) -> NodeProto {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    NodeProto { op_type: Some(op.to_owned()), input: names(inputs), output: names(outputs), ..Default::default() }
}

/// A float32 tensor of zeros.
pub(super) fn zeros(name: &str, dims: &[i64]) -> TensorProto {
    let bytes = 4 * dims.iter().product::<i64>() as usize;
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(1),
        raw_data: Some(vec![0; bytes].into()),
        ..Default::default()
    }
}

/// A value of the ONNX type `elem`; dimension 0 stands for a named one.
pub(super) fn value(name: &str, elem: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |&dim: &i64| match dim {
        0 => DimValue::Param("batch".to_owned()),
        size => DimValue::Value(size),
    };
    let dim = dims.iter().map(|size| Dimension { value: Some(dim(size)), denotation: None }).collect();
    let tensor = TensorType { elem_type: Some(elem), shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}

/// A value of which only the name is known.
pub(super) fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), ..Default::default() }
}

/// An attribute that is a subgraph.
pub(super) fn branch(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(5), g: Some(graph), ..Default::default() }
}

/// An attribute that is a tensor.
pub(super) fn tensor(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(4), t: Some(tensor), ..Default::default() }
}

/// `body` as a model of IR version 8.
pub(super) fn model(body: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(body),
        ..Default::default()
    }
}

/// `x` → Gemm `hidden` → Relu `relu`; Add of the constant `k` → `shifted`; Gemm `logits` → Softmax `y`; weights `w1 w2 unused`.
pub(super) fn classifier() -> GraphProto {
    let mut constant = node("Constant", "", "k");
    constant.attribute.push(tensor("value", zeros("", &[2])));
    GraphProto {
        node: vec![
            node("Gemm", "x w1", "hidden"),
            node("Relu", "hidden", "relu"),
            constant,
            node("Add", "relu k", "shifted"),
            node("Gemm", "shifted w2", "logits"),
            node("Softmax", "logits", "y"),
        ],
        initializer: vec![zeros("w1", &[3, 2]), zeros("w2", &[2, 4]), zeros("unused", &[5])],
        input: vec![value("x", 1, &[0, 3])],
        output: vec![value("y", 1, &[0, 4])],
        value_info: vec![value("relu", 1, &[0, 2]), value("logits", 1, &[0, 4])],
        ..Default::default()
    }
}

/// Weights of any layer: every value is a half.
pub(super) fn halves(_: usize, layer: &Layer) -> Result<Vec<Tensor>, weights::Error> {
    let halves = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.5; shape.iter().product()]);
    Ok(layer.weights.iter().map(|spec| halves(&spec.shape).expect("as many as the shape says")).collect())
}

/// Writes and reads `body`.
pub(super) fn graph(body: GraphProto) -> Result<Graph, super::Error> {
    Graph::parse(model(body).encode_to_vec().into())
}
