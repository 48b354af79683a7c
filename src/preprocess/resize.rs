//! Pillow's nearest neighbour (`Image.resize(…, NEAREST)`), reading only the pixels that it keeps.

use super::{orientation::View, prepare::Window};

/// The pixels of `window`, interleaved, of `view` resized as a whole to the window's virtual size.
pub(super) fn nearest(view: &View<'_>, window: &Window) -> Vec<u8> {
    let columns = sources(view.width, window.full_width, window.left, window.width);
    let rows = sources(view.height, window.full_height, window.top, window.height);
    let mut out = Vec::with_capacity(columns.len() * rows.len() * 3);
    for &y in &rows {
        for &x in &columns {
            out.extend_from_slice(view.pixel(x, y));
        }
    }
    out
}

/// Which input positions the outputs `first..first + count` of `full` take.
///
/// The position is accumulated in float64 from half a step and truncated, as Pillow's `ImagingScaleAffine` does: computing
/// it anew for each output would round differently.
fn sources(input: u32, full: u64, first: u64, count: u32) -> Vec<u32> {
    let step = f64::from(input) / full as f64;
    let mut position = step * 0.5;
    for _ in 0..first {
        position += step;
    }
    let mut sources = Vec::with_capacity(count as usize);
    for _ in 0..count {
        sources.push((position as u32).min(input - 1));
        position += step;
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_centred_and_truncated() {
        #[track_caller]
        fn check(input: u32, full: u64, expected: &[u32]) {
            assert_eq!(sources(input, full, 0, full as u32), expected);
        }
        check(4, 4, &[0, 1, 2, 3]);
        check(5, 2, &[1, 3]);
        check(2, 5, &[0, 0, 1, 1, 1]);
        check(1, 3, &[0, 0, 0]);
        check(7, 1, &[3]);
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        assert_eq!(sources(97, 300, 37, 41), sources(97, 300, 0, 300)[37..78]);
    }
}
