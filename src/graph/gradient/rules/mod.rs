//! One rule per operator: from the gradient of its output to those of its inputs, in plain operators.
//!
//! A rule writes only operators that its provider has kernels for; [`operators`] says which have a rule at all.

mod concat;
mod conv;
mod elementwise;
mod matrix;
mod normalization;
mod pool;
mod view;

use super::{error::Refusal, op::Op, tape::Tape};

/// Gives the tape the gradients of the inputs of the node, from that of its first output.
pub(super) type Rule = fn(&mut Tape, Op<'_>, &str) -> Result<(), Refusal>;

/// The rule of each operator that has one.
const RULES: &[(&str, Rule)] = &[
    ("Add", elementwise::add),
    ("AveragePool", pool::average),
    ("BatchNormalization", normalization::batch),
    ("Clip", elementwise::clip),
    ("Concat", concat::concat),
    ("Conv", conv::conv),
    ("Dropout", view::identity),
    ("Flatten", view::reshape),
    ("Gemm", matrix::gemm),
    ("GlobalAveragePool", pool::global_average),
    ("Identity", view::identity),
    ("MatMul", matrix::matmul),
    ("MaxPool", pool::max),
    ("Mul", elementwise::mul),
    ("ReduceMean", view::mean),
    ("Pad", view::pad),
    ("Relu", elementwise::relu),
    ("Reshape", view::reshape),
    ("Sigmoid", elementwise::sigmoid),
    ("Softmax", normalization::softmax),
    ("Squeeze", view::reshape),
    ("Sub", elementwise::sub),
    ("Transpose", view::transpose),
    ("Unsqueeze", view::reshape),
];

/// The rule of `operator`.
pub(super) fn rule(operator: &str) -> Option<Rule> {
    RULES.iter().find(|(name, _)| *name == operator).map(|(_, rule)| *rule)
}

/// Operators that have a rule.
pub(super) fn operators() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}
