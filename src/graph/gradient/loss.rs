//! The loss: cross-entropy of softmax in one with its gradient, weighted per sample, plus L2 terms.
//!
//! Knows nothing of data sets: classes are numbers, weights are the caller's.

use super::{Labels, TrainingSpec, error::GradientError, tape::Tape};
use crate::graph::{
    make::{self, dim, int},
    proto::ValueInfoProto,
    tensors::data_type,
};

/// Input: the labels, see [`Labels`].
pub const LABELS: &str = "training/labels";
/// Input: float32 `(batch)`, the weight of each sample in the loss; 0 for padding.
pub const SAMPLE_WEIGHTS: &str = "training/sample_weights";
/// Output: the loss of this batch, before the update.
pub const LOSS: &str = "training/loss";

/// Adds the loss and gives its gradient with respect to the logits, times the scalar `factor`, to the tape.
///
/// The answer is the labels' type.
pub(super) fn add(
    tape: &mut Tape,
    spec: &TrainingSpec,
    logits: &str,
    factor: Option<&str>,
) -> Result<ValueInfoProto, GradientError> {
    let shape = tape.known().of(logits).map(<[usize]>::to_vec);
    let shape = shape.ok_or_else(|| GradientError::NoShape { tensor: logits.to_owned(), node: None })?;
    let &[batch, classes] = shape.as_slice() else { return Err(bad_shape(spec, logits, shape)) };
    if batch != spec.batch {
        return Err(bad_shape(spec, logits, shape));
    }
    tape.enter("training");
    let (labels, target) = match spec.labels {
        Labels::Classes => (make::value(LABELS, data_type::INT64, &[batch]), one_hot(tape, batch, classes)),
        Labels::Probabilities => (make::value(LABELS, data_type::FLOAT, &shape), LABELS.to_owned()),
    };
    let weights = tape.reshape(SAMPLE_WEIGHTS, &[batch, 1]);
    let logarithms = tape.emit("LogSoftmax", &[logits], vec![int("axis", 1)]);
    let products = tape.emit("Mul", &[&target, &logarithms], Vec::new());
    let weighted = tape.emit("Mul", &[&products, &weights], Vec::new());
    let sum = tape.sum(&weighted, &[0, 1], false);
    let entropy = tape.emit("Neg", &[&sum], Vec::new());
    let mut terms = vec![entropy];
    for trainable in spec.trainable.iter().filter(|trainable| trainable.l2 > 0.0) {
        terms.push(penalty(tape, &trainable.name, trainable.l2));
    }
    let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
    tape.emit_as(LOSS, "Sum", &terms, Vec::new());

    // d/dz of −Σ t · ln softmax(z) is softmax(z) − t, as the targets' sum is 1.
    let probabilities = tape.emit("Softmax", &[logits], vec![int("axis", 1)]);
    let difference = tape.emit("Sub", &[&probabilities, &target], Vec::new());
    let weights = factor.map_or(weights.clone(), |factor| tape.emit("Mul", &[&weights, factor], Vec::new()));
    let gradient = tape.emit("Mul", &[&difference, &weights], Vec::new());
    tape.give(logits, gradient);
    Ok(labels)
}

/// The gradient of the L2 term, times the scalar `factor`, added to `gradient`.
pub(super) fn decay(tape: &mut Tape, parameter: &str, l2: f32, gradient: String, factor: Option<&str>) -> String {
    if l2 <= 0.0 {
        return gradient;
    }
    let shape = tape.known().of(parameter).unwrap_or_default().to_vec();
    let mut strength = tape.scalar(2.0 * l2);
    if let Some(factor) = factor {
        strength = tape.emit("Mul", &[&strength, factor], Vec::new());
    }
    let pull = tape.with_scalar("Mul", parameter, &strength, &shape);
    tape.emit("Add", &[&gradient, &pull], Vec::new())
}

fn penalty(tape: &mut Tape, parameter: &str, l2: f32) -> String {
    let rank = tape.known().of(parameter).map_or(0, <[usize]>::len);
    let squares = tape.emit("Mul", &[parameter, parameter], Vec::new());
    let axes: Vec<usize> = (0..rank).collect();
    let sum = tape.sum(&squares, &axes, false);
    let factor = tape.scalar(l2);
    tape.emit("Mul", &[&sum, &factor], Vec::new())
}

fn one_hot(tape: &mut Tape, batch: usize, classes: usize) -> String {
    let indices: Vec<i64> = (0..dim(classes)).collect();
    let indices = tape.integers(&indices);
    let labels = tape.reshape(LABELS, &[batch, 1]);
    let equal = tape.emit("Equal", &[&labels, &indices], Vec::new());
    tape.emit("Cast", &[&equal], vec![int("to", i64::from(data_type::FLOAT))])
}

fn bad_shape(spec: &TrainingSpec, logits: &str, shape: Vec<usize>) -> GradientError {
    GradientError::LogitsShape { tensor: logits.to_owned(), shape, batch: spec.batch }
}
