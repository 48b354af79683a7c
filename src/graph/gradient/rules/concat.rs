//! Concatenation: each input gets its slice.
//!
//! Needs the sizes along the axis alone.

use super::super::{error::Refusal, op::Op, tape::Tape};
use crate::graph::make::{dim, int};

pub(super) fn concat(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let inputs: Vec<&str> = op.inputs().collect();
    let rank = tape.shape(op.output())?.len();
    let axis = op.axis("axis", 1, rank).ok_or(Refusal::Unsupported("its axis is out of range"))?;
    let sides: Vec<usize> = inputs.iter().map(|input| Ok(tape.shape(input)?[axis])).collect::<Result<_, _>>()?;
    let sizes = tape.sizes(&sides);
    let parts = tape.emit_several("Split", &[dy, &sizes], inputs.len(), vec![int("axis", dim(axis))]);
    for (input, part) in inputs.into_iter().zip(parts) {
        tape.give(input, part);
    }
    Ok(())
}
