//! Pools: the maximum's gradient goes where the maximum was, the average's to all of its window.
//!
//! Chooses the form by provider: CUDA has no MaxUnpool.

use super::{
    super::{error::Refusal, op::Op, tape::Tape, window::Window},
    conv::scatter,
};
use crate::{
    config::Provider,
    graph::make::{int, sizes, text},
};

/// By the indices that MaxPool gives as its second output.
pub(super) fn max(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let (x, y) = (tape.shape(op.input(0))?, tape.shape(op.output())?);
    let (window, input, output) = window(op, &x, &y)?;
    if window.dilations.iter().any(|&dilation| dilation != 1) && op.text("auto_pad").is_some_and(|pad| pad.starts_with(b"SAME")) {
        return Err(Refusal::Unsupported("it is dilated and pads by itself"));
    }
    if op.int("storage_order", 0) != 0 {
        return Err(Refusal::Unsupported("its indices are in column order"));
    }
    let indices = tape.second_output(op);
    // CUDA has no kernel for MaxUnpool. Where windows overlap, an input can be the maximum of several.
    let dx = if tape.provider == Provider::Cpu && window.is_disjoint() {
        let shape = tape.sizes(&x);
        // The padding that the windows use, so that the operator finds the given shape large enough.
        let pads = [window.begin.clone(), window.reach(&input, &output)].concat();
        let attributes = vec![sizes("kernel_shape", &window.kernel), sizes("strides", &window.strides), sizes("pads", &pads)];
        tape.emit("MaxUnpool", &[dy, &indices, &shape], attributes)
    } else {
        let elements = tape.sizes(&[x.iter().product()]);
        let zeros = tape.emit("ConstantOfShape", &[&elements], Vec::new());
        let count = y.iter().product();
        let [dy, indices] = [dy, &indices].map(|tensor| tape.reshape(tensor, &[count]));
        let mut attributes = vec![int("axis", 0)];
        // Without overlap no two values meet, and the result does not depend on their order.
        if !window.is_disjoint() {
            attributes.push(text("reduction", "add"));
        }
        let flat = tape.emit("ScatterElements", &[&zeros, &indices, &dy], attributes);
        tape.reshape(&flat, &x)
    };
    tape.give(op.input(0), dx);
    Ok(())
}

/// Each window's gradient, divided by what its mean was divided by, to all that the window covers.
pub(super) fn average(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let (x, y) = (tape.shape(op.input(0))?, tape.shape(op.output())?);
    let (window, input, output) = window(op, &x, &y)?;
    if window.dilations.iter().any(|&dilation| dilation != 1) {
        return Err(Refusal::Unsupported("its window is dilated"));
    }
    // The mean of ones is what lies on the input ÷ the divisor: the provider's own divisor, whatever it counts.
    let side = [1, 1, input[0], input[1]];
    let ones = tape.floats(&side, &vec![1.0; input[0] * input[1]]);
    let mean = tape.emit("AveragePool", &[&ones], op.node.attribute.clone());
    let covered = tape.floats(&[1, 1, output[0], output[1]], &window.coverage(&input, &output));
    let share = tape.emit("Div", &[&mean, &covered], Vec::new());
    let spare = |padding: &[usize]| [0, 1].map(|axis| window.kernel[axis].checked_sub(padding[axis] + 1));
    let dx = match (spare(&window.begin), spare(&window.end)) {
        ([Some(top), Some(left)], [Some(bottom), Some(right)]) if window.has_unit_strides() => {
            let attributes = vec![
                sizes("kernel_shape", &window.kernel),
                sizes("pads", &[top, left, bottom, right]),
                int("count_include_pad", 1),
            ];
            let taps = tape.scalar(window.taps() as f32);
            let share = tape.emit("Mul", &[&share, &taps], Vec::new());
            let part = tape.emit("Mul", &[dy, &share], Vec::new());
            tape.emit("AveragePool", &[&part], attributes)
        }
        _ => {
            let part = tape.emit("Mul", &[dy, &share], Vec::new());
            let planes = x[0] * x[1];
            let part = tape.reshape(&part, &[planes, 1, output[0], output[1]]);
            let kernel = tape.floats(&[1, 1, window.kernel[0], window.kernel[1]], &vec![1.0; window.taps()]);
            let spread = scatter(tape, &part, &kernel, 1, (&input, &output), &window);
            tape.reshape(&spread, &x)
        }
    };
    tape.give(op.input(0), dx);
    Ok(())
}

pub(super) fn global_average(tape: &mut Tape, op: Op<'_>, dy: &str) -> Result<(), Refusal> {
    let shape = tape.shape(op.input(0))?;
    let share = tape.scalar(1.0 / shape[2..].iter().map(|&side| side as f32).product::<f32>());
    let part = tape.emit("Mul", &[dy, &share], Vec::new());
    let shape = tape.sizes(&shape);
    let dx = tape.emit("Expand", &[&part, &shape], Vec::new());
    tape.give(op.input(0), dx);
    Ok(())
}

/// The window of a pool, and the spatial sides of its input and output.
fn window(op: Op<'_>, x: &[usize], y: &[usize]) -> Result<(Window, [usize; 2], [usize; 2]), Refusal> {
    let (&[_, _, height, width], &[_, _, rows, columns]) = (x, y) else {
        return Err(Refusal::Unsupported("it is not two-dimensional"));
    };
    let kernel = op.sizes("kernel_shape").unwrap_or_default();
    let window = Window::of(op, kernel, &[height, width]).ok_or(Refusal::Unsupported("its attributes do not fit"))?;
    Ok((window, [height, width], [rows, columns]))
}
