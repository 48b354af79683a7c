//! Keras's rules for output shapes and weight shapes, from hyperparameters and input shapes.
//!
//! The rules are those of `compute_conv_output_shape` and of the layers' `build` methods in Keras 3.

use super::{LayerKind, Padding};

/// Shape of a layer's output, without the batch dimension, in height, width, channel order.
///
/// Hyperparameters are the architectures' own: a window always fits its input.
pub(super) fn output_shape(kind: &LayerKind, inputs: &[&[usize]]) -> Vec<usize> {
    let input = inputs[0];
    match *kind {
        LayerKind::InputLayer
        | LayerKind::BatchNormalization { .. }
        | LayerKind::Activation(_)
        | LayerKind::Add
        | LayerKind::Dropout { .. } => input.to_vec(),
        LayerKind::Conv2D { filters, kernel, strides, padding, .. } => windows(input, kernel, strides, padding, filters),
        LayerKind::DepthwiseConv2D { kernel, strides, padding, .. } => windows(input, kernel, strides, padding, channels(input)),
        LayerKind::ZeroPadding2D { padding: [[top, bottom], [left, right]] } => {
            vec![top + input[0] + bottom, left + input[1] + right, channels(input)]
        }
        LayerKind::MaxPooling2D { pool, strides, padding } | LayerKind::AveragePooling2D { pool, strides, padding } => {
            windows(input, pool, strides, padding, channels(input))
        }
        LayerKind::Concatenate => {
            let mut shape = input.to_vec();
            if let Some(last) = shape.last_mut() {
                *last = inputs.iter().map(|input| channels(input)).sum();
            }
            shape
        }
        LayerKind::GlobalAveragePooling2D => vec![channels(input)],
        LayerKind::Flatten => vec![input.iter().product()],
        LayerKind::Dense { units, .. } => vec![units],
    }
}

/// Names and shapes of a layer's weights, in the order of Keras's `layer.weights`.
pub(super) fn weights(kind: &LayerKind, inputs: &[&[usize]]) -> Vec<(&'static str, Vec<usize>)> {
    let channels = channels(inputs[0]);
    let present = |present: bool, name, shape: Vec<usize>| present.then_some((name, shape));
    let candidates = match *kind {
        LayerKind::Conv2D { filters, kernel: [height, width], use_bias, .. } => {
            vec![Some(("kernel", vec![height, width, channels, filters])), present(use_bias, "bias", vec![filters])]
        }
        LayerKind::DepthwiseConv2D { kernel: [height, width], use_bias, .. } => {
            vec![Some(("kernel", vec![height, width, channels, 1])), present(use_bias, "bias", vec![channels])]
        }
        LayerKind::Dense { units, use_bias, .. } => {
            vec![Some(("kernel", vec![channels, units])), present(use_bias, "bias", vec![units])]
        }
        LayerKind::BatchNormalization { scale, center, .. } => vec![
            present(scale, "gamma", vec![channels]),
            present(center, "beta", vec![channels]),
            Some(("moving_mean", vec![channels])),
            Some(("moving_variance", vec![channels])),
        ],
        LayerKind::InputLayer
        | LayerKind::Activation(_)
        | LayerKind::MaxPooling2D { .. }
        | LayerKind::AveragePooling2D { .. }
        | LayerKind::ZeroPadding2D { .. }
        | LayerKind::Concatenate
        | LayerKind::Add
        | LayerKind::Dropout { .. }
        | LayerKind::GlobalAveragePooling2D
        | LayerKind::Flatten => Vec::new(),
    };
    candidates.into_iter().flatten().collect()
}

fn channels(shape: &[usize]) -> usize {
    *shape.last().expect("every layer's output has at least one dimension")
}

fn windows(input: &[usize], window: [usize; 2], strides: [usize; 2], padding: Padding, channels: usize) -> Vec<usize> {
    let side = |axis: usize| match padding {
        Padding::Same => input[axis].div_ceil(strides[axis]),
        Padding::Valid => {
            let room = input[axis].checked_sub(window[axis]).expect("a window fits its input");
            room / strides[axis] + 1
        }
    };
    vec![side(0), side(1), channels]
}

#[cfg(test)]
mod tests {
    use super::output_shape;
    use crate::arch::{LayerKind, Padding};

    #[test]
    fn windows_follow_keras() {
        let check = |input: [usize; 3], pool, strides, padding, expected: [usize; 3]| {
            let kind = LayerKind::MaxPooling2D { pool, strides, padding };
            assert_eq!(output_shape(&kind, &[&input]), expected, "{kind:?} of {input:?}");
        };
        check([7, 8, 3], [2, 3], [2, 1], Padding::Valid, [3, 6, 3]);
        check([7, 8, 3], [2, 3], [2, 3], Padding::Same, [4, 3, 3]);
        check([3, 3, 1], [3, 3], [2, 2], Padding::Valid, [1, 1, 1]);
        check([1, 1, 1], [3, 3], [2, 2], Padding::Same, [1, 1, 1]);
    }
}
