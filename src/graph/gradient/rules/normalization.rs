//! Batch normalisation with frozen statistics, and softmax inside a graph.
//!
//! Statistics never train here: a model that is served must answer as it was trained.

use super::super::{error::Refusal, op::Op, tape::Tape};
use crate::graph::make::int;

/// Y = (X − mean) · scale ÷ √(variance + ε) + shift; mean and variance are constants.
pub(super) fn batch(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let (x, scale, shift, mean, variance) = (op.input(0), op.input(1), op.input(2), op.input(3), op.input(4));
    if op.int("training_mode", 0) != 0 || op.int("spatial", 1) == 0 || tape.wants(mean) || tape.wants(variance) {
        return Err(Refusal::Unsupported("its statistics are not frozen per channel"));
    }
    let rank = tape.shape(x)?.len();
    let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    let mut column = vec![1; rank];
    column[1] = tape.shape(scale)?[0];
    let epsilon = tape.scalar(op.float("epsilon", 1e-5));
    let variance = tape.emit("Add", &[variance, &epsilon], Vec::new());
    let deviation = tape.emit("Sqrt", &[&variance], Vec::new());
    if tape.wants(x) {
        let slope = tape.emit("Div", &[scale, &deviation], Vec::new());
        let slope = tape.reshape(&slope, &column);
        let dx = tape.emit("Mul", &[dy, &slope], Vec::new());
        tape.give(x, dx);
    }
    if tape.wants(scale) {
        let [mean, deviation] = [mean, &deviation].map(|vector| tape.reshape(vector, &column));
        let centred = tape.emit("Sub", &[x, &mean], Vec::new());
        let normalized = tape.emit("Div", &[&centred, &deviation], Vec::new());
        let product = tape.emit("Mul", &[dy, &normalized], Vec::new());
        let sum = tape.sum(&product, &axes, false);
        tape.give(scale, sum);
    }
    if tape.wants(shift) {
        let sum = tape.sum(dy, &axes, false);
        tape.give(shift, sum);
    }
    Ok(())
}

/// dX = Y · (dY − Σ dY · Y).
pub(super) fn softmax(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let rank = tape.shape(op.output())?.len();
    let axis = op.axis("axis", -1, rank).ok_or(Refusal::Unsupported("its axis is out of range"))?;
    let product = tape.emit("Mul", &[dy, op.output()], Vec::new());
    let axes = tape.sizes(&[axis]);
    let sum = tape.emit("ReduceSum", &[&product, &axes], vec![int("keepdims", 1)]);
    let rest = tape.emit("Sub", &[dy, &sum], Vec::new());
    let dx = tape.emit("Mul", &[&rest, op.output()], Vec::new());
    tape.give(op.input(0), dx);
    Ok(())
}
