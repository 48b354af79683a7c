//! Parts of a graph in the making: nodes, attributes, stored tensors and typed values.
//!
//! Knows ONNX's enumerations of attribute types; what the parts mean is their makers' business.

use super::{
    proto::{
        AttributeProto, DimValue, Dimension, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue,
        ValueInfoProto,
    },
    tensors::data_type,
};

/// `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const INTS: i32 = 7;

/// A node, called as its first output.
pub(super) fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        input: names(inputs),
        output: names(outputs),
        name: outputs.first().map(|&name| name.to_owned()),
        op_type: Some(op.to_owned()),
        attribute,
        ..Default::default()
    }
}

/// An attribute that is a list of whole numbers.
pub(super) fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> AttributeProto {
    let ints = values.into_iter().collect();
    AttributeProto { name: Some(name.to_owned()), r#type: Some(INTS), ints, ..Default::default() }
}

/// An attribute that is a list of sizes.
pub(super) fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    ints(name, values.iter().map(|&value| dim(value)))
}

/// An attribute that is a whole number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(INT), i: Some(value), ..Default::default() }
}

/// An attribute that is a number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(FLOAT), f: Some(value), ..Default::default() }
}

/// An attribute that is a word.
pub(super) fn text(name: &str, value: &'static str) -> AttributeProto {
    let s = Some(bytes::Bytes::from_static(value.as_bytes()));
    AttributeProto { name: Some(name.to_owned()), r#type: Some(STRING), s, ..Default::default() }
}

/// A stored float32 tensor.
pub(super) fn floats(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    stored(name, data_type::FLOAT, shape, raw)
}

/// min(max(`input`, 0), 6), and the bounds that it reads, which are called `OUTPUT/min` and `OUTPUT/max`.
pub(super) fn relu6(input: &str, output: &str) -> (NodeProto, [TensorProto; 2]) {
    let [min, max] = ["min", "max"].map(|bound| format!("{output}/{bound}"));
    let clip = node("Clip", &[input, &min, &max], &[output], Vec::new());
    (clip, [floats(&min, &[], &[0.0]), floats(&max, &[], &[6.0])])
}

/// A stored int64 tensor.
pub(super) fn integers(name: &str, shape: &[usize], values: &[i64]) -> TensorProto {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    stored(name, data_type::INT64, shape, raw)
}

fn stored(name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: shape.iter().map(|&side| dim(side)).collect(),
        data_type: Some(data_type),
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

/// A value of type `elem` (`TensorProto.DataType`) whose sizes are all known.
pub(super) fn value(name: &str, elem: i32, shape: &[usize]) -> ValueInfoProto {
    typed(name, elem, shape.iter().map(|&side| DimValue::Value(dim(side))))
}

/// A float32 value with a batch dimension before `shape`.
pub(super) fn batched(name: &str, shape: &[usize]) -> ValueInfoProto {
    let batch = DimValue::Param("batch".to_owned());
    typed(name, data_type::FLOAT, std::iter::once(batch).chain(shape.iter().map(|&side| DimValue::Value(dim(side)))))
}

fn typed(name: &str, elem: i32, dims: impl Iterator<Item = DimValue>) -> ValueInfoProto {
    let dim = dims.map(|value| Dimension { value: Some(value), denotation: None }).collect();
    let tensor = TensorType { elem_type: Some(elem), shape: Some(TensorShapeProto { dim }) };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..Default::default() }
}

/// A size as ONNX stores it.
pub(super) fn dim(size: usize) -> i64 {
    i64::try_from(size).expect("sizes of tensors in memory fit in 63 bits")
}
