//! Pixels to the numbers that a model sees: channel order, mean and scale.

use super::{ChannelOrder, Preprocessing};

/// Planes (channel, height, width) of `(value - mean) * scale` over interleaved `rgb`.
///
/// Each of the 256 values is computed once per channel, in float64, and rounded to float32 at the end.
pub(super) fn normalize(rgb: &[u8], spec: &Preprocessing) -> Vec<f32> {
    let source = match spec.channel_order {
        ChannelOrder::Rgb => [0, 1, 2],
        ChannelOrder::Bgr => [2, 1, 0],
    };
    let mut planes = Vec::with_capacity(rgb.len());
    for (channel, offset) in source.into_iter().enumerate() {
        let (mean, scale) = (f64::from(spec.mean[channel]), f64::from(spec.scale[channel]));
        let table: [f32; 256] = std::array::from_fn(|value| ((value as f64 - mean) * scale) as f32);
        planes.extend(rgb.chunks_exact(3).map(|pixel| table[usize::from(pixel[offset])]));
    }
    planes
}
