//! Element by element: sums, products and activations, with ONNX's broadcasting.
//!
//! What was broadcast is summed back to the shape that it had.

use super::super::{error::Refusal, op::Op, tape::Tape};
use crate::graph::{make::int, tensors::data_type};

pub(super) fn add(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    spread(tape, op, op.input(0), dy)?;
    spread(tape, op, op.input(1), dy)
}

pub(super) fn sub(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    spread(tape, op, op.input(0), dy)?;
    if tape.wants(op.input(1)) {
        let negative = tape.emit("Neg", &[dy], Vec::new());
        spread(tape, op, op.input(1), &negative)?;
    }
    Ok(())
}

pub(super) fn mul(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    for (own, other) in [(0, 1), (1, 0)] {
        if tape.wants(op.input(own)) {
            let product = tape.emit("Mul", &[dy, op.input(other)], Vec::new());
            spread(tape, op, op.input(own), &product)?;
        }
    }
    Ok(())
}

/// Where the output is positive.
pub(super) fn relu(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let zero = tape.scalar(0.0);
    let dx = within(tape, dy, "Greater", op.output(), &zero);
    tape.give(op.input(0), dx);
    Ok(())
}

/// Where the output lies strictly between the bounds.
pub(super) fn clip(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let mut dx = dy.to_owned();
    for (bound, comparison) in [(1, "Greater"), (2, "Less")] {
        let Some(bound) = op.optional(bound) else { continue };
        dx = within(tape, &dx, comparison, op.output(), bound);
    }
    tape.give(op.input(0), dx);
    Ok(())
}

/// `dy` where the comparison of `y` with `bound` holds, 0 elsewhere.
fn within(tape: &mut Tape, dy: &str, comparison: &str, y: &str, bound: &str) -> String {
    let holds = tape.emit(comparison, &[y, bound], Vec::new());
    let slope = tape.emit("Cast", &[&holds], vec![int("to", i64::from(data_type::FLOAT))]);
    tape.emit("Mul", &[dy, &slope], Vec::new())
}

/// Y′ = Y · (1 − Y).
pub(super) fn sigmoid(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let one = tape.scalar(1.0);
    let rest = tape.emit("Sub", &[&one, op.output()], Vec::new());
    let slope = tape.emit("Mul", &[op.output(), &rest], Vec::new());
    let dx = tape.emit("Mul", &[dy, &slope], Vec::new());
    tape.give(op.input(0), dx);
    Ok(())
}

/// Gives `gradient`, of the output's shape, to an input that may have been broadcast.
fn spread(tape: &mut Tape, op: Op<'_>, input: &str, gradient: &str) -> Result<(), Refusal> {
    if tape.wants(input) {
        let (from, to) = (tape.shape(op.output())?, tape.shape(input)?);
        let gradient = tape.unbroadcast(gradient, &from, &to);
        tape.give(input, gradient);
    }
    Ok(())
}
