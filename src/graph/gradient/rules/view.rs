//! Operators that move values or leave them alone, and the mean.
//!
//! Computes nothing but the mean's share.

use super::super::{error::Refusal, op::Op, tape::Tape};
use crate::graph::make::dim;

pub(super) fn identity(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    tape.give(op.input(0), dy.to_owned());
    Ok(())
}

/// Flatten, Reshape, Squeeze and Unsqueeze.
pub(super) fn reshape(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let shape = tape.shape(op.input(0))?;
    let dx = tape.reshape(dy, &shape);
    tape.give(op.input(0), dx);
    Ok(())
}

pub(super) fn transpose(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let rank = tape.shape(op.input(0))?.len();
    let turned: Vec<usize> = op.sizes("perm").unwrap_or_else(|| (0..rank).rev().collect());
    let back = |axis| turned.iter().position(|&from| from == axis).and_then(|position| i64::try_from(position).ok());
    let perm: Option<Vec<i64>> = (0..rank).map(back).collect();
    let dx = tape.transpose(dy, &perm.ok_or(Refusal::Unsupported("its permutation is not one"))?);
    tape.give(op.input(0), dx);
    Ok(())
}

/// Pad with a constant: what was added has no gradient, and what was cut off gets none.
pub(super) fn pad(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    if !matches!(op.text("mode"), None | Some(b"constant")) || op.optional(3).is_some() {
        return Err(Refusal::Unsupported("it does not pad all axes with a constant"));
    }
    let (shape, rank) = (tape.shape(op.output())?, tape.shape(op.input(0))?.len());
    let pads = tape.known().integers(op.input(1)).filter(|pads| pads.len() == 2 * rank);
    let pads = pads.ok_or(Refusal::Unsupported("its sides are not given as constants"))?;
    let mut dx = dy.to_owned();
    if pads.iter().any(|&side| side > 0) {
        let starts: Vec<i64> = pads[..rank].iter().map(|&side| side.max(0)).collect();
        let ends: Vec<i64> = (0..rank).map(|axis| dim(shape[axis]) - pads[rank + axis].max(0)).collect();
        let axes: Vec<usize> = (0..rank).collect();
        let (starts, ends, axes) = (tape.integers(&starts), tape.integers(&ends), tape.sizes(&axes));
        dx = tape.emit("Slice", &[&dx, &starts, &ends, &axes], Vec::new());
    }
    if pads.iter().any(|&side| side < 0) {
        let back: Vec<i64> = pads.iter().map(|&side| (-side).max(0)).collect();
        let back = tape.integers(&back);
        dx = tape.emit("Pad", &[&dx, &back], Vec::new());
    }
    tape.give(op.input(0), dx);
    Ok(())
}

/// ReduceMean: every element gets an equal share.
pub(super) fn mean(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let shape = tape.shape(op.input(0))?;
    let axes = tape.known().axes(op, 1, shape.len());
    let axes = axes.ok_or(Refusal::Unsupported("its axes are not given as constants"))?;
    let kept: Vec<usize> = (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
    let share = tape.scalar(1.0 / axes.iter().map(|&axis| shape[axis] as f32).product::<f32>());
    let part = tape.emit("Mul", &[dy, &share], Vec::new());
    let part = tape.reshape(&part, &kept);
    let shape = tape.sizes(&shape);
    let dx = tape.emit("Expand", &[&part, &shape], Vec::new());
    tape.give(op.input(0), dx);
    Ok(())
}
