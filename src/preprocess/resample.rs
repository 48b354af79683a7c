//! Pillow's antialiased bilinear and bicubic filters for 8-bit channels, bit for bit.
//!
//! Formulas from Pillow's `Resample.c`: the filter's support grows with the downscale factor, weights are 22-bit integers,
//! the horizontal pass comes first and is rounded to 8 bits. A pass that keeps its size has the weights 0, 1, 0, so that
//! skipping it (as Pillow does) changes nothing.

use super::{orientation::View, prepare::Window};

/// Bits of a weight's fraction (Pillow's `PRECISION_BITS`).
const PRECISION: u32 = 32 - 8 - 2;

/// A filter's kernel: its radius and its value at a distance.
pub(super) struct Kernel {
    radius: f64,
    weight: fn(f64) -> f64,
}

/// The triangle filter.
pub(super) const BILINEAR: Kernel = Kernel { radius: 1.0, weight: triangle };

/// Keys's cubic with a = −0.5.
pub(super) const BICUBIC: Kernel = Kernel { radius: 2.0, weight: cubic };

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The inputs that one output is a weighted sum of.
struct Taps {
    first: u32,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> u32 {
        self.first + self.weights.len() as u32
    }
}

/// The pixels of `window`, interleaved, of `view` resized as a whole to the window's virtual size.
///
/// Input rows are filtered one by one and added to every output row that they belong to: beside the output, memory is one
/// accumulator per output value and one row, however tall the image.
pub(super) fn resample(view: &View<'_>, window: &Window, kernel: &Kernel) -> Vec<u8> {
    let columns = taps(view.width, window.full_width, window.left, window.width, kernel);
    let rows = taps(view.height, window.full_height, window.top, window.height, kernel);
    let stride = columns.len() * 3;
    let mut sums = vec![1_i32 << (PRECISION - 1); rows.len() * stride];
    let mut filtered = vec![0_u8; stride];
    let (mut low, mut high) = (0, 0);
    let last = rows.iter().map(Taps::end).max().unwrap_or(0);
    for y in rows.first().map_or(0, |row| row.first)..last {
        while high < rows.len() && rows[high].first <= y {
            high += 1;
        }
        while low < high && rows[low].end() <= y {
            low += 1;
        }
        if low == high {
            continue;
        }
        filter_row(view, y, &columns, &mut filtered);
        for (row, sums) in rows[low..high].iter().zip(sums[low * stride..].chunks_exact_mut(stride)) {
            let Some(&weight) = row.weights.get((y - row.first) as usize) else { continue };
            for (sum, &value) in sums.iter_mut().zip(&filtered) {
                *sum += weight * i32::from(value);
            }
        }
    }
    sums.into_iter().map(round).collect()
}

fn filter_row(view: &View<'_>, y: u32, columns: &[Taps], out: &mut [u8]) {
    for (taps, out) in columns.iter().zip(out.chunks_exact_mut(3)) {
        let mut sums = [1_i32 << (PRECISION - 1); 3];
        for (x, &weight) in (taps.first..).zip(&taps.weights) {
            let pixel = view.pixel(x, y);
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(value);
            }
        }
        out.copy_from_slice(&sums.map(round));
    }
}

fn round(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// The taps of the outputs `first..first + count` of `full` (Pillow's `precompute_coeffs`).
fn taps(input: u32, full: u64, first: u64, count: u32, kernel: &Kernel) -> Vec<Taps> {
    let scale = f64::from(input) / full as f64;
    let filter_scale = scale.max(1.0);
    let support = kernel.radius * filter_scale;
    let inverse = 1.0 / filter_scale;
    (first..first + u64::from(count))
        .map(|output| {
            let center = (output as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as u32;
            let end = ((center + support + 0.5) as u32).min(input);
            let mut weights: Vec<f64> =
                (start..end).map(|position| (kernel.weight)((f64::from(position) - center + 0.5) * inverse)).collect();
            let mut total = 0.0;
            for weight in &weights {
                total += weight;
            }
            if total != 0.0 {
                weights.iter_mut().for_each(|weight| *weight /= total);
            }
            Taps { first: start, weights: weights.into_iter().map(fixed_point).collect() }
        })
        .collect()
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1_u32 << PRECISION) + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}
