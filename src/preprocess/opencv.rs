//! OpenCV's `cv2.resize` with `INTER_LINEAR` for 8-bit channels, bit for bit.
//!
//! The reference is PyPI package `opencv-python-headless` 5.0.0.93 on x86-64 (4.13.0.92 gives the same); the formulas are those
//! of its `resize.cpp`. Unlike Pillow's bilinear filter it never averages: however much an image shrinks, an output is a
//! weighted sum of the four inputs around it. The exception is exact halving of both sides, which is the mean of 2 × 2 inputs.

use super::{orientation::View, prepare::Window};

/// One of a weight (`INTER_RESIZE_COEF_SCALE`): weights have 11 bits.
const ONE: f32 = 2048.0;

/// The two inputs of one output along one axis, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    inputs: [u32; 2],
    weights: [i32; 2],
}

/// What a pair does where one of its inputs is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// The input at the edge counts alone, as along rows.
    Alone,
    /// Both weights stay and go to the input at the edge, as down columns: they round one by one.
    Repeated,
}

/// The pixels of `window`, interleaved, of `view` resized as a whole to the window's virtual size.
pub(super) fn bilinear(view: &View<'_>, window: &Window) -> Vec<u8> {
    let is_half = |input: u32, full: u64| u64::from(input) == 2 * full;
    if is_half(view.width, window.full_width) && is_half(view.height, window.full_height) {
        return halved(view, window);
    }
    let columns = pairs(view.width, window.full_width, window.left, window.width, Edge::Alone);
    let rows = pairs(view.height, window.full_height, window.top, window.height, Edge::Repeated);
    let mut lines = Lines::default();
    let mut out = Vec::with_capacity(columns.len() * rows.len() * 3);
    for Pair { inputs: [first, second], weights } in rows {
        lines.hold(view, &columns, first, second);
        let pairs = lines.of(first).iter().zip(lines.of(second));
        out.extend(pairs.map(|(&first, &second)| round(weights[0] * (first >> 4), weights[1] * (second >> 4))));
    }
    out
}

/// `INTER_AREA` for a factor of two, which OpenCV takes for `INTER_LINEAR` there.
fn halved(view: &View<'_>, window: &Window) -> Vec<u8> {
    let mut out = Vec::with_capacity(window.width as usize * window.height as usize * 3);
    for row in 0..window.height {
        // Half of a side is below the largest side.
        let y = (window.top as u32 + row) * 2;
        for column in 0..window.width {
            let x = (window.left as u32 + column) * 2;
            let four = [view.pixel(x, y), view.pixel(x + 1, y), view.pixel(x, y + 1), view.pixel(x + 1, y + 1)];
            let sum = |channel: usize| four.iter().map(|pixel| u32::from(pixel[channel])).sum::<u32>();
            out.extend([0, 1, 2].map(|channel| ((sum(channel) + 2) >> 2) as u8));
        }
    }
    out
}

/// Each product loses its lower 16 bits before the sum, as OpenCV's vector instructions do.
fn round(first: i32, second: i32) -> u8 {
    (((first >> 16) + (second >> 16) + 2) >> 2).clamp(0, 255) as u8
}

/// Two filtered input rows, kept from one output row to the next.
#[derive(Default)]
struct Lines {
    held: [(Option<u32>, Vec<i32>); 2],
}

impl Lines {
    fn hold(&mut self, view: &View<'_>, columns: &[Pair], first: u32, second: u32) {
        for y in [first, second] {
            if self.held.iter().any(|(held, _)| *held == Some(y)) {
                continue;
            }
            let unused = self.held.iter_mut().find(|(held, _)| *held != Some(first) && *held != Some(second));
            let (held, line) = unused.expect("one of two lines is free while one of two rows is missing");
            *held = Some(y);
            line.clear();
            for Pair { inputs, weights } in columns {
                let [first, second] = inputs.map(|x| view.pixel(x, y));
                line.extend([0, 1, 2].map(|at| weights[0] * i32::from(first[at]) + weights[1] * i32::from(second[at])));
            }
        }
    }

    fn of(&self, y: u32) -> &[i32] {
        let (_, line) = self.held.iter().find(|(held, _)| *held == Some(y)).expect("it is held");
        line
    }
}

/// The pairs of the outputs `first..first + count` of `full`.
///
/// The position is computed in float64 and rounded to float32 before it is split.
fn pairs(input: u32, full: u64, first: u64, count: u32, edge: Edge) -> Vec<Pair> {
    let scale = 1.0 / (full as f64 / f64::from(input));
    let last = i64::from(input) - 1;
    (first..first + u64::from(count))
        .map(|output| {
            let position = ((output as f64 + 0.5) * scale - 0.5) as f32;
            let below = position.floor();
            let at = below as i64;
            let is_outside = at < 0 || at >= last;
            let fraction = if edge == Edge::Alone && is_outside { 0.0 } else { position - below };
            Pair {
                inputs: [at, at + 1].map(|at| at.clamp(0, last) as u32),
                weights: [1.0 - fraction, fraction].map(|weight| (weight * ONE).round_ties_even() as i32),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_in_float32_and_clamped() {
        #[track_caller]
        fn check(input: u32, full: u64, edge: Edge, expected: &[([u32; 2], [i32; 2])]) {
            let found: Vec<_> = pairs(input, full, 0, full as u32, edge).iter().map(|pair| (pair.inputs, pair.weights)).collect();
            assert_eq!(found, expected);
        }
        check(2, 1, Edge::Alone, &[([0, 1], [1024, 1024])]);
        check(1, 2, Edge::Alone, &[([0, 0], [2048, 0]), ([0, 0], [2048, 0])]);
        check(1, 2, Edge::Repeated, &[([0, 0], [512, 1536]), ([0, 0], [1536, 512])]);
        check(3, 2, Edge::Alone, &[([0, 1], [1536, 512]), ([1, 2], [512, 1536])]);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        assert_eq!(pairs(97, 300, 37, 41, Edge::Alone), pairs(97, 300, 0, 300, Edge::Alone)[37..78]);
    }
}
