//! The backward pass: nodes in reverse, each by its operator's rule, as far as a trainable parameter lies before them.
//!
//! Knows no operator itself.

use super::{
    TrainingSpec,
    error::{GradientError, Refusal},
    loss,
    op::Op,
    rules,
    tape::Tape,
};
use crate::graph::{order::describe, proto::GraphProto};

/// The names of the gradients of the trainable parameters, in their order, L2 terms included.
///
/// They come times the scalar `factor`, as the gradient of the logits that the tape has.
pub(super) fn sweep(
    tape: &mut Tape,
    body: &GraphProto,
    spec: &TrainingSpec,
    logits: &str,
    factor: Option<&str>,
) -> Result<Vec<String>, GradientError> {
    for node in body.node.iter().rev() {
        let op = Op { node };
        if !tape.wants(op.output()) {
            continue;
        }
        tape.enter(op.output());
        let Some(dy) = tape.gradient(op.output()) else { continue };
        apply(tape, op, &dy)?;
    }
    let mut gradients = Vec::with_capacity(spec.trainable.len());
    for trainable in &spec.trainable {
        tape.enter(&trainable.name);
        let gradient = tape
            .gradient(&trainable.name)
            .ok_or_else(|| GradientError::UnknownParameter { name: trainable.name.clone(), logits: logits.to_owned() })?;
        gradients.push(loss::decay(tape, &trainable.name, trainable.l2, gradient, factor));
    }
    Ok(gradients)
}

fn apply(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), GradientError> {
    let (node, start) = (describe(op.node), op.output().to_owned());
    let Some(rule) = rules::rule(op.kind()) else {
        return Err(GradientError::NoRule { operator: op.node.op_type().to_owned(), node, start });
    };
    rule(tape, op, dy).map_err(|refusal| match refusal {
        Refusal::UnknownShape(tensor) => GradientError::UnknownShape { tensor, node, start },
        Refusal::Unsupported(problem) => GradientError::Unsupported { node, problem, start },
    })
}
