//! From an architecture and its weights to an ONNX graph, one layer's weights in memory at a time.
//!
//! Every layer's output is a tensor of the layer's name, channels first; helper tensors are called `LAYER/…`.
//! Opset 17 and IR version 8, which ONNX Runtime 1.20 and later read.

mod assembly;
mod layers;
mod values;

use std::io::{self, Write};

use crate::{
    arch::{Architecture, Layer},
    tensor::Tensor,
    weights::{self, WeightSource},
};

use self::assembly::Assembly;
use super::{
    Error, ExternalData, Graph, order,
    proto::{GraphProto, ModelProto, OperatorSetIdProto},
};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// Why an architecture and weights do not make a graph.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The weights cannot be had.
    #[error("no weights for layer `{layer}`")]
    Weights {
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: weights::Error,
    },
    /// The source gave another number of tensors than the layer has.
    #[error("layer `{layer}` has {expected} weight tensors, its source has {found}")]
    Count {
        /// The layer.
        layer: String,
        /// What the architecture says.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The source gave a tensor of another shape.
    #[error("`{layer}/{weight}` has shape {expected:?}, its source has {found:?}")]
    Shape {
        /// The layer.
        layer: String,
        /// Keras's name of the tensor.
        weight: &'static str,
        /// What the architecture says.
        expected: Vec<usize>,
        /// What came.
        found: Vec<usize>,
    },
    /// An architecture that graft cannot express.
    #[error("layer `{layer}` cannot be built: {problem}")]
    Layer {
        /// The layer.
        layer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Weights cannot be written.
    #[error("cannot write the weights of layer `{layer}`")]
    Write {
        /// The layer.
        layer: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The layers do not make one graph, or that which they sit on is none.
    #[error(transparent)]
    Graph(#[from] Error),
}

/// The graph of `architecture`, its weights of 1 KiB and more in `data`, its last layer as the output.
///
/// The input is float32, `(batch, channel, height, width)`, and has the input layer's name.
/// Rank-3 outputs are `(batch, channel, height, width)`, vectors `(batch, units)`; `Flatten` is in Keras's order:
/// height, width, channel.
///
/// # Errors
/// Weights that cannot be had or do not fit, an architecture that is not a graph, a write that fails.
pub fn build<W: Write>(
    architecture: &Architecture,
    weights: &mut dyn WeightSource,
    data: &mut ExternalData<W>,
) -> Result<Graph, BuildError> {
    let body = GraphProto { name: Some(architecture.name.clone()), ..Default::default() };
    let body = assembled(Assembly::new(body, &architecture.layers, Some(data)), weights)?;
    Ok(Graph { header: header(), body, dir: None })
}

/// `body` with `layers` on it, of which the first stands for a tensor that `body` has; the last becomes the only output.
///
/// Their weights lie in the graph itself.
///
/// # Errors
/// As [`build`]; a layer of a name that `body` has already.
pub(super) fn build_on(body: GraphProto, layers: &[Layer], weights: &mut dyn WeightSource) -> Result<GraphProto, BuildError> {
    assembled(Assembly::<io::Sink>::new(body, layers, None), weights)
}

fn assembled<W: Write>(mut assembly: Assembly<'_, W>, weights: &mut dyn WeightSource) -> Result<GraphProto, BuildError> {
    for (index, layer) in assembly.layers.iter().enumerate() {
        let tensors = layer_weights(weights, index, layer)?;
        assembly.add(layer, &tensors)?;
    }
    let mut body = assembly.finish();
    order::check(&mut body)?;
    Ok(body)
}

/// What graft writes into the models that it makes.
pub(super) fn header() -> ModelProto {
    ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        producer_name: Some("graft".to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..Default::default()
    }
}

/// The tensors of one layer, as many and of the shapes that it says.
fn layer_weights(weights: &mut dyn WeightSource, index: usize, layer: &Layer) -> Result<Vec<Tensor>, BuildError> {
    if layer.weights.is_empty() {
        return Ok(Vec::new());
    }
    let name = || layer.name.clone();
    let tensors = weights.layer(index, layer).map_err(|source| BuildError::Weights { layer: name(), source })?;
    if tensors.len() != layer.weights.len() {
        return Err(BuildError::Count { layer: name(), expected: layer.weights.len(), found: tensors.len() });
    }
    for (spec, tensor) in layer.weights.iter().zip(&tensors) {
        if spec.shape != tensor.shape() {
            let (expected, found) = (spec.shape.clone(), tensor.shape().to_vec());
            return Err(BuildError::Shape { layer: name(), weight: spec.name, expected, found });
        }
        // Its root is taken: every answer would be NaN.
        if spec.name == "moving_variance" && tensor.data().iter().any(|&value| value < 0.0) {
            return Err(BuildError::Layer { layer: name(), problem: "its moving variance is negative; the weights are damaged" });
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests;
