//! Why a graph cannot be trained.
//!
//! Every message names the node and where to start instead.

use crate::graph;

/// Why a graph cannot be trained.
#[derive(Debug, thiserror::Error)]
pub enum GradientError {
    /// The graph is broken, or lacks a tensor that was named.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// Operators in a version that graft does not rewrite.
    #[error("the model uses opset {found}; training needs 13 to 21: convert it first")]
    Opset {
        /// Version of ONNX's own operators.
        found: i64,
    },
    /// Nothing to train.
    #[error("no parameter is trainable; name at least one stored tensor")]
    NothingToTrain,
    /// A name that is not a stored tensor which the logits depend on.
    #[error("`{name}` is not a stored tensor that `{logits}` depends on")]
    UnknownParameter {
        /// The name.
        name: String,
        /// The logits.
        logits: String,
    },
    /// A parameter or an input that is no float32.
    #[error("`{tensor}` is of ONNX type {found}; training needs float32 (1)")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// `TensorProto.DataType`.
        found: i32,
    },
    /// Cross-entropy needs one row of logits per sample.
    #[error("logits `{tensor}` have shape {shape:?}; training needs ({batch}, classes)")]
    LogitsShape {
        /// The tensor.
        tensor: String,
        /// What was found.
        shape: Vec<usize>,
        /// The batch size asked for.
        batch: usize,
    },
    /// The shape of an input or of the logits cannot be found out.
    #[error("the shape of tensor `{tensor}` is not known; training needs it{}", behind(.node))]
    NoShape {
        /// The tensor.
        tensor: String,
        /// Operator and name of the node whose output's shape is not known, though those of its inputs are.
        node: Option<String>,
    },
    /// A shape that a rule needs and that cannot be found out.
    #[error("the shape of tensor `{tensor}` is not known, but the gradient of {node} needs it{}", start_from(.start))]
    UnknownShape {
        /// The tensor.
        tensor: String,
        /// The node.
        node: String,
        /// A tensor behind which training is possible.
        start: String,
    },
    /// An operator without a rule.
    #[error("{node} has no gradient in graft{}", start_from(.start))]
    NoRule {
        /// The operator.
        operator: String,
        /// Operator and name of the node.
        node: String,
        /// A tensor behind which training is possible.
        start: String,
    },
    /// An operator with a rule that does not cover this use.
    #[error("the gradient of {node} is not supported: {problem}{}", start_from(.start))]
    Unsupported {
        /// Operator and name of the node.
        node: String,
        /// What is unusual about it.
        problem: &'static str,
        /// A tensor behind which training is possible.
        start: String,
    },
}

fn behind(node: &Option<String>) -> String {
    node.as_ref().map_or_else(String::new, |node| format!(": graft does not know the output shape of {node}; begin after it"))
}

fn start_from(tensor: &str) -> String {
    format!("; train only parameters after `{tensor}`")
}

impl GradientError {
    /// The tensor behind which training is possible, if one node stands in the way.
    pub fn start(&self) -> Option<&str> {
        match self {
            Self::UnknownShape { start, .. } | Self::NoRule { start, .. } | Self::Unsupported { start, .. } => Some(start),
            _ => None,
        }
    }
}

/// Why a rule gives no gradient; the pass adds which node it was.
#[derive(Debug)]
pub(super) enum Refusal {
    UnknownShape(String),
    Unsupported(&'static str),
}
