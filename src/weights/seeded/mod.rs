//! Weights from a seed, the same on every machine.
//!
//! The stream is SplitMix64's finalizer over a counter, so that any tensor can be had by itself and numpy can follow
//! (`tests/goldens/seeded.py`).

use super::{Error, WeightSource};
use crate::{
    arch::{Layer, LayerKind, WeightSpec},
    tensor::Tensor,
};

/// SplitMix64's increment (Steele, Lea and Flood 2014): 2^64 divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Random weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    seed: u64,
    perturbed: bool,
}

impl Seeded {
    /// Keras's `weights=None`: `glorot_uniform` kernels, zero biases, BatchNorm that does nothing yet.
    pub fn new(seed: u64) -> Self {
        Self { seed, perturbed: false }
    }

    /// Every tensor random, BatchNorm's statistics included, in ranges that keep activations at their scale
    /// through the depth of the architectures: for comparing implementations, where zeros and ones would hide errors.
    pub fn perturbed(seed: u64) -> Self {
        Self { seed, perturbed: true }
    }

    fn tensor(self, layer: &Layer, spec: &WeightSpec) -> Tensor {
        let (center, range) = if self.perturbed { perturbed_range(layer, spec) } else { initial_range(spec) };
        let key = mix(self.seed ^ mix((spec.position as u64).wrapping_add(1)));
        let value = |element: usize| {
            let bits = mix(key.wrapping_add((element as u64).wrapping_mul(GOLDEN_GAMMA)));
            // 24 bits are exact in a float32, and so is the division.
            let unit = (bits >> 40) as f32 / 16_777_216.0;
            center + (2.0 * unit - 1.0) * range
        };
        let elements = spec.elements();
        let data = if range == 0.0 { vec![center; elements] } else { (0..elements).map(value).collect() };
        Tensor::new(spec.shape.clone(), data).expect("as many elements as the shape has")
    }
}

impl WeightSource for Seeded {
    fn layer(&mut self, _index: usize, layer: &Layer) -> Result<Vec<Tensor>, Error> {
        Ok(layer.weights.iter().map(|spec| self.tensor(layer, spec)).collect())
    }
}

/// Centre and half width of Keras's initialisers.
fn initial_range(spec: &WeightSpec) -> (f32, f32) {
    match spec.name {
        "kernel" => {
            let (fan_in, fan_out) = fans(&spec.shape);
            (0.0, (6.0 / (fan_in + fan_out)).sqrt() as f32)
        }
        "gamma" | "moving_variance" => (1.0, 0.0),
        _ => (0.0, 0.0),
    }
}

/// Centre and half width of the perturbed ranges; kernels as `he_uniform`, by the inputs that an output really sums.
fn perturbed_range(layer: &Layer, spec: &WeightSpec) -> (f32, f32) {
    match (spec.name, &layer.kind) {
        // Keras counts the channels of a depthwise kernel, each of which reads itself alone.
        ("kernel", LayerKind::DepthwiseConv2D { .. }) => (0.0, (6.0 / fans(&spec.shape).1).sqrt() as f32),
        ("kernel", _) => (0.0, (6.0 / fans(&spec.shape).0).sqrt() as f32),
        ("gamma", _) => (1.0, 0.2),
        ("moving_variance", _) => (1.0, 0.3),
        _ => (0.0, 0.1),
    }
}

/// Keras's `compute_fans`: in- and output channels (or units) times the kernel's area; a depthwise kernel's last sides are its
/// channels and 1.
fn fans(shape: &[usize]) -> (f64, f64) {
    let Some((&[inputs, outputs], window)) = shape.split_last_chunk::<2>().map(|(window, channels)| (channels, window)) else {
        return (1.0, 1.0);
    };
    let area: usize = window.iter().product();
    ((inputs * area) as f64, (outputs * area) as f64)
}

/// SplitMix64's finalizer (Stafford's variant 13).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
