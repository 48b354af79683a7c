//! Products of matrices.
//!
//! Knows nothing of convolutions, which make their own.

use super::super::{error::Refusal, op::Op, tape::Tape};
use crate::graph::{
    make::{float, int},
    proto::AttributeProto,
};

/// Y = α · A′ · B′ + β · C, where ′ may transpose.
pub(super) fn gemm(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let (a, b) = (op.input(0), op.input(1));
    let (turned_a, turned_b) = (op.int("transA", 0) != 0, op.int("transB", 0) != 0);
    let alpha = op.float("alpha", 1.0);
    let attributes = |turn_left: bool, turn_right: bool| -> Vec<AttributeProto> {
        vec![float("alpha", alpha), int("transA", i64::from(turn_left)), int("transB", i64::from(turn_right))]
    };
    if tape.wants(a) {
        // dA = α · dY · B′ᵀ, itself transposed where A was.
        let da = if turned_a {
            tape.emit("Gemm", &[b, dy], attributes(turned_b, true))
        } else {
            tape.emit("Gemm", &[dy, b], attributes(false, !turned_b))
        };
        tape.give(a, da);
    }
    if tape.wants(b) {
        let db = if turned_b {
            tape.emit("Gemm", &[dy, a], attributes(true, turned_a))
        } else {
            tape.emit("Gemm", &[a, dy], attributes(!turned_a, false))
        };
        tape.give(b, db);
    }
    let Some(c) = op.optional(2).filter(|c| tape.wants(c)) else { return Ok(()) };
    let (from, to) = (tape.shape(op.output())?, tape.shape(c)?);
    let mut dc = tape.unbroadcast(dy, &from, &to);
    let beta = op.float("beta", 1.0);
    if (beta - 1.0).abs() > 0.0 {
        let beta = tape.scalar(beta);
        dc = tape.emit("Mul", &[&dc, &beta], Vec::new());
    }
    tape.give(c, dc);
    Ok(())
}

/// Products of the last two axes; the others are broadcast.
pub(super) fn matmul(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let (a, b) = (op.input(0), op.input(1));
    let (left, right, output) = (tape.shape(a)?, tape.shape(b)?, tape.shape(op.output())?);
    if left.len() < 2 || right.len() < 2 {
        return Err(Refusal::Unsupported("one of its operands is a vector"));
    }
    // Broadcast operands have gradients of the broadcast batch, which is then summed.
    let whole = |own: &[usize]| [&output[..output.len() - 2], &own[own.len() - 2..]].concat();
    if tape.wants(a) {
        let turned = swap_last(tape, b, right.len());
        let da = tape.emit("MatMul", &[dy, &turned], Vec::new());
        let da = tape.unbroadcast(&da, &whole(&left), &left);
        tape.give(a, da);
    }
    if tape.wants(b) {
        let turned = swap_last(tape, a, left.len());
        let db = tape.emit("MatMul", &[&turned, dy], Vec::new());
        let db = tape.unbroadcast(&db, &whole(&right), &right);
        tape.give(b, db);
    }
    Ok(())
}

fn swap_last(tape: &mut Tape, tensor: &str, rank: usize) -> String {
    let mut perm: Vec<i64> = (0..).take(rank).collect();
    perm.swap(rank - 2, rank - 1);
    tape.transpose(tensor, &perm)
}
