//! A graph in the making: nodes, stored tensors and the types of layer outputs.

use std::io::Write;

use crate::{
    arch::{Architecture, Layer, LayerKind},
    graph::{
        ExternalData,
        proto::{
            AttributeProto, DimValue, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TensorType, TypeProto,
            TypeValue, ValueInfoProto,
        },
        tensors::data_type,
    },
};

use super::{BuildError, values::Values};

/// Tensors of fewer bytes lie in the graph itself.
const MIN_EXTERNAL_BYTES: usize = 1024;

/// `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const INTS: i32 = 7;

/// The graph in the making.
pub(super) struct Assembly<'a, W> {
    pub(super) layers: &'a [Layer],
    body: GraphProto,
    data: &'a mut ExternalData<W>,
}

impl<'a, W: Write> Assembly<'a, W> {
    pub(super) fn new(architecture: &'a Architecture, data: &'a mut ExternalData<W>) -> Self {
        let body = GraphProto { name: Some(architecture.name.clone()), ..Default::default() };
        Self { layers: &architecture.layers, body, data }
    }

    /// Adds a layer: its type, its stored tensors and its nodes.
    pub(super) fn add(&mut self, layer: &Layer, weights: &[crate::tensor::Tensor]) -> Result<(), BuildError> {
        let info = value_info(layer)?;
        if layer.kind == LayerKind::InputLayer {
            self.body.input.push(info);
            return Ok(());
        }
        self.body.value_info.push(info);
        self.layer_nodes(layer, weights)
    }

    /// The graph, with the last layer as its output.
    pub(super) fn finish(mut self) -> GraphProto {
        self.body.output.extend(self.body.value_info.pop());
        self.body
    }

    /// Adds a node, called as its output.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.body.node.push(NodeProto {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(op.to_owned()),
            attribute,
            ..Default::default()
        });
    }

    /// Adds the stored tensor `layer/role` and gives its name back.
    pub(super) fn constant(
        &mut self,
        layer: &Layer,
        role: &str,
        shape: &[usize],
        values: Values<'_>,
    ) -> Result<String, BuildError> {
        let name = format!("{}/{role}", layer.name);
        let mut tensor = TensorProto {
            name: Some(name.clone()),
            dims: shape.iter().map(|&side| dim(side)).collect(),
            data_type: Some(data_type::FLOAT),
            ..Default::default()
        };
        let length = values.byte_len();
        let written = if length < MIN_EXTERNAL_BYTES {
            let mut raw = Vec::with_capacity(length);
            values.write(&mut raw).map(|()| tensor.raw_data = Some(raw.into()))
        } else {
            let span = self.data.append(length as u64, |out| values.write(out));
            span.map(|span| self.data.refer(&mut tensor, span))
        };
        written.map_err(|source| BuildError::Write { layer: layer.name.clone(), source })?;
        self.body.initializer.push(tensor);
        Ok(name)
    }
}

/// An attribute that is a list of whole numbers.
pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| dim(value)).collect();
    AttributeProto { name: Some(name.to_owned()), r#type: Some(INTS), ints, ..Default::default() }
}

/// An attribute that is a whole number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(INT), i: Some(value), ..Default::default() }
}

/// An attribute that is a number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(FLOAT), f: Some(value), ..Default::default() }
}

/// The layer's output as ONNX types it: batch and channels first.
fn value_info(layer: &Layer) -> Result<ValueInfoProto, BuildError> {
    let sides = match *layer.output_shape.as_slice() {
        [height, width, channels] => vec![channels, height, width],
        [units] => vec![units],
        _ => return Err(BuildError::Layer { layer: layer.name.clone(), problem: "its output is neither a map nor a vector" }),
    };
    let batch = DimValue::Param("batch".to_owned());
    let values = std::iter::once(batch).chain(sides.into_iter().map(|side| DimValue::Value(dim(side))));
    let shape = TensorShapeProto { dim: values.map(|value| Dimension { value: Some(value), denotation: None }).collect() };
    let tensor = TensorType { elem_type: Some(data_type::FLOAT), shape: Some(shape) };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None };
    Ok(ValueInfoProto { name: Some(layer.name.clone()), r#type: Some(r#type), ..Default::default() })
}

fn dim(size: usize) -> i64 {
    i64::try_from(size).expect("sizes of tensors in memory fit in 63 bits")
}
