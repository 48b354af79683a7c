//! Pixels to the numbers that a model sees: channel order, mean and scale.

use super::{ChannelOrder, Preprocessing};

/// Planes (channel, height, width) of `(value - mean) * scale` over interleaved `rgb`.
///
/// Each of the 256 values is computed once per channel, in float64, and rounded to float32 at the end.
pub(super) fn normalize(rgb: &[u8], spec: &Preprocessing) -> Vec<f32> {
    let source: &[usize] = match spec.channel_order {
        ChannelOrder::Rgb => &[0, 1, 2],
        ChannelOrder::Bgr => &[2, 1, 0],
        ChannelOrder::Grey => &[0],
    };
    let mut planes = Vec::with_capacity(rgb.len() / 3 * source.len());
    for (channel, &offset) in source.iter().enumerate() {
        let table = table(spec, channel);
        planes.extend(rgb.chunks_exact(3).map(|pixel| table[usize::from(pixel[offset])]));
    }
    planes
}

/// What each of the 256 values becomes in `channel`.
pub(super) fn table(spec: &Preprocessing, channel: usize) -> [f32; 256] {
    let (mean, scale) = (f64::from(spec.mean[channel]), f64::from(spec.scale[channel]));
    std::array::from_fn(|value| ((value as f64 - mean) * scale) as f32)
}

/// The weighted mean of red, green and blue in the place of each of the three: Pillow's `convert("L")`, bit for bit.
///
/// Grey stays as it is, since the weights sum to 1.
pub(super) fn grey(rgb: &mut [u8]) {
    const ROUND: u32 = 0x8000;
    let (pixels, _) = rgb.as_chunks_mut::<3>();
    for pixel in pixels {
        let [red, green, blue] = pixel.map(u32::from);
        *pixel = [((red * 19_595 + green * 38_470 + blue * 7_471 + ROUND) >> 16) as u8; 3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Mode;

    /// A few units in the last place: Keras divides in float32 where this multiplies in float64.
    const CLOSE: f32 = 1e-6;

    #[test]
    fn modes_are_those_of_keras() {
        #[track_caller]
        fn check(mode: Mode, expected: [f32; 3]) {
            let planes = normalize(&[10, 128, 250], &Preprocessing::keras(mode, 1, 1));
            for (got, expected) in planes.iter().zip(expected) {
                assert!((got - expected).abs() <= CLOSE * expected.abs().max(1.0), "{mode}: {got} is not {expected}");
            }
        }
        // Keras 3's `preprocess_input` of one pixel (10, 128, 250).
        check(Mode::None, [10.0, 128.0, 250.0]);
        check(Mode::Caffe, [146.061, 11.221, -113.68]);
        check(Mode::Tf, [-0.921_568_6, 0.003_921_628, 0.960_784_3]);
        check(Mode::Torch, [-1.946_656_5, 0.205_182_2, 2.552_854_3]);
    }

    #[test]
    fn mean_and_scale_move_with_their_colour() {
        let caffe = Preprocessing::keras(Mode::Caffe, 1, 1);
        let mut blue_first = normalize(&[10, 128, 250], &caffe);
        let red_first = normalize(&[10, 128, 250], &caffe.clone().with_channel_order(ChannelOrder::Rgb));
        blue_first.reverse();
        assert_eq!(red_first, blue_first);
        assert_eq!(caffe.clone().with_channel_order(ChannelOrder::Bgr), caffe);
    }

    #[test]
    fn grey_is_one_plane() {
        let mut rgb = [10, 128, 250, 7, 7, 7, 255, 255, 255, 255, 0, 0];
        grey(&mut rgb);
        assert_eq!(rgb, [107, 107, 107, 7, 7, 7, 255, 255, 255, 76, 76, 76]);
        let spec = Preprocessing { channel_order: ChannelOrder::Grey, ..Preprocessing::keras(Mode::Tf, 2, 2) };
        let planes = normalize(&rgb, &spec);
        let expected = [107.0, 7.0, 255.0, 76.0_f32].map(|value| (value - 127.5) / 127.5);
        assert!(
            planes.len() == 4 && planes.iter().zip(expected).all(|(got, wanted)| (got - wanted).abs() <= CLOSE),
            "{planes:?}"
        );
        assert_eq!(spec.clone().with_mode(Mode::None).channels(), 1);
    }

    #[test]
    fn values_become_planes() {
        let spec = Preprocessing { mean: [1.0, 0.0, 0.0], scale: [1.0, 2.0, 1.0], ..Preprocessing::keras(Mode::Caffe, 1, 2) };
        assert_eq!(normalize(&[1, 2, 3, 4, 5, 6], &spec), [2.0, 5.0, 4.0, 10.0, 1.0, 4.0]);
    }
}
