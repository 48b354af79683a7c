//! What an output's numbers are, told from the operators that make it: the walk goes back until they are settled.
//!
//! Pure: where operators say nothing, neither does this, and a run has to tell. Follows bounds and sums of values, so that a
//! softmax or a sigmoid is known however it is written.

mod node;
mod value;
mod written_out;

use std::collections::HashMap;

use self::value::{Form, Value};
use super::{Graph, order::producers, proto::NodeProto};

/// Shapes of tensors in a run of one batch, the batch first.
pub type Shapes = HashMap<String, Vec<usize>>;

/// What an output's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// Sums of products, which no operator has bounded.
    Logits,
    /// Shares of 1.
    Probabilities,
    /// Logarithms of these.
    LogProbabilities,
    /// Each within 0 … 1, for itself.
    Independent,
}

/// Nodes that the walk goes back at most; graphs settle within a dozen.
const MAX_DEPTH: usize = 100;

impl Graph {
    /// What the numbers of `tensor` are, of which there are `values` for an image; `None` where the operators do not tell.
    ///
    /// A softmax counts if it runs over the classes; where `shapes` lacks its tensor it is believed.
    pub fn scores(&self, tensor: &str, values: usize, shapes: &Shapes) -> Option<Scores> {
        let producers = producers(&self.body).into_iter().map(|(name, index)| (name, &self.body.node[index])).collect();
        let mut walk = Walk { graph: self, producers, values, shapes, known: HashMap::new() };
        let Value { form, low, high } = walk.value(tensor, MAX_DEPTH);
        match form {
            Form::Shares { total } if (total - 1.0).abs() < 1e-6 => Some(Scores::Probabilities),
            Form::Shares { .. } => Some(Scores::Independent),
            Form::Logarithms => Some(Scores::LogProbabilities),
            Form::Unbounded => Some(Scores::Logits),
            Form::Other if low >= 0.0 && high <= 1.0 => Some(Scores::Independent),
            Form::Other => None,
        }
    }

    /// Whether a node scales by what the whole batch holds, so that an image's numbers depend on those beside it.
    pub fn quantizes_by_batch(&self) -> bool {
        self.body.node.iter().any(|node| node.op_type().starts_with("DynamicQuantize"))
    }

    /// Version of ONNX's own operators.
    fn opset(&self) -> i64 {
        let own = |domain: &str| matches!(domain, "" | "ai.onnx");
        self.header.opset_import.iter().find(|opset| own(opset.domain())).map_or(1, |opset| opset.version())
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    producers: HashMap<&'a str, &'a NodeProto>,
    /// Values of the output for an image.
    values: usize,
    shapes: &'a Shapes,
    known: HashMap<&'a str, Value>,
}

#[cfg(test)]
mod tests;
