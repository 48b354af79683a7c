//! A graph in the making: nodes, stored tensors and the types of layer outputs.

use std::io::Write;

use crate::{
    arch::{Layer, LayerKind},
    graph::{
        ExternalData,
        make::{self, dim},
        order,
        proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto},
        tensors::data_type,
    },
};

use super::{BuildError, values::Values};

/// Tensors of fewer bytes lie in the graph itself.
const MIN_EXTERNAL_BYTES: usize = 1024;

/// The graph in the making.
pub(super) struct Assembly<'a, W> {
    pub(super) layers: &'a [Layer],
    body: GraphProto,
    /// Where large tensors go; `None` to keep all in the graph.
    data: Option<&'a mut ExternalData<W>>,
}

impl<'a, W: Write> Assembly<'a, W> {
    /// `layers` on what `body` has, with their large tensors in `data`.
    pub(super) fn new(body: GraphProto, layers: &'a [Layer], data: Option<&'a mut ExternalData<W>>) -> Self {
        Self { layers, body, data }
    }

    /// Adds a layer: its type, its stored tensors and its nodes.
    pub(super) fn add(&mut self, layer: &Layer, weights: &[crate::tensor::Tensor]) -> Result<(), BuildError> {
        let info = value_info(layer)?;
        if layer.kind == LayerKind::InputLayer {
            if !self.has(&layer.name) {
                self.body.input.push(info);
            }
            return Ok(());
        }
        self.body.value_info.push(info);
        self.layer_nodes(layer, weights)
    }

    /// Whether the graph has the tensor that an input stands for.
    fn has(&self, name: &str) -> bool {
        let mut inputs = self.body.input.iter().map(|input| input.name());
        inputs.any(|input| input == name) || self.body.node.iter().flat_map(order::outputs).any(|made| made == name)
    }

    /// The graph, with the last layer as its output.
    pub(super) fn finish(mut self) -> GraphProto {
        self.body.output.extend(self.body.value_info.pop());
        self.body
    }

    /// Adds a node, called as its output.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.body.node.push(make::node(op, inputs, &[output], attribute));
    }

    /// Adds a node with the small tensors that it reads, which lie in the graph itself.
    pub(super) fn push(&mut self, node: NodeProto, stored: impl IntoIterator<Item = TensorProto>) {
        self.body.node.push(node);
        self.body.initializer.extend(stored);
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
        let written = match self.data.as_mut().filter(|_| length >= MIN_EXTERNAL_BYTES) {
            Some(data) => {
                let span = data.append(length as u64, |out| values.write(out));
                span.map(|span| data.refer(&mut tensor, span))
            }
            None => {
                let mut raw = Vec::with_capacity(length);
                values.write(&mut raw).map(|()| tensor.raw_data = Some(raw.into()))
            }
        };
        written.map_err(|source| BuildError::Write { layer: layer.name.clone(), source })?;
        self.body.initializer.push(tensor);
        Ok(name)
    }
}

/// The layer's output as ONNX types it: batch and channels first.
fn value_info(layer: &Layer) -> Result<ValueInfoProto, BuildError> {
    let sides = match *layer.output_shape.as_slice() {
        [height, width, channels] => vec![channels, height, width],
        [units] => vec![units],
        _ => return Err(BuildError::Layer { layer: layer.name.clone(), problem: "its output is neither a map nor a vector" }),
    };
    Ok(make::batched(&layer.name, &sides))
}
