//! A decoded image to a model's input tensor: orientation, the fit rule, the filter, the numbers.

use super::{
    ChannelOrder, Decoded, Fit, Orientation, Preprocessing, Resize, Warning,
    normalize::{grey, normalize},
    opencv,
    orientation::View,
    resample::{BICUBIC, BILINEAR, resample},
    resize::nearest,
};
use crate::tensor::Tensor;

/// The part of a virtually resized image that is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Width of the whole.
    pub full_width: u64,
    /// Height of the whole.
    pub full_height: u64,
    /// First column.
    pub left: u64,
    /// First row.
    pub top: u64,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The tensor (channel, height, width) that a model with `spec` sees of `decoded`.
///
/// `spec` has passed [`Preprocessing::validate`]; `decoded` has at least one pixel and `height * width * 3` bytes.
pub fn prepare(mut decoded: Decoded, spec: &Preprocessing) -> (Tensor, Vec<Warning>) {
    let applied = match spec.orientation {
        Orientation::Ignore => 1,
        Orientation::Exif => decoded.orientation,
    };
    let warnings = match decoded.orientation {
        orientation @ 2..=8 if applied == 1 => vec![Warning::OrientationIgnored(orientation)],
        _ => Vec::new(),
    };
    if spec.channel_order == ChannelOrder::Grey {
        grey(&mut decoded.rgb);
    }
    let rgb = fit(&View::new(&decoded, applied), spec);
    let shape = vec![spec.channels(), spec.height as usize, spec.width as usize];
    (Tensor::new(shape, normalize(&rgb, spec)).expect("the window has the input's size"), warnings)
}

fn fit(view: &View<'_>, spec: &Preprocessing) -> Vec<u8> {
    let window = Window::new(view.width, view.height, spec);
    match spec.resize {
        Resize::Nearest => nearest(view, &window),
        Resize::Bilinear => resample(view, &window, &BILINEAR),
        Resize::Bicubic => resample(view, &window, &BICUBIC),
        Resize::OpencvBilinear => opencv::bilinear(view, &window),
    }
}

impl Window {
    /// Where `spec` cuts a `width` × `height` image.
    ///
    /// The crop is torchvision's `Resize(shorter_side)` (the longer side truncated) and `CenterCrop` (its offset rounded half
    /// to even).
    fn new(width: u32, height: u32, spec: &Preprocessing) -> Self {
        let (full_width, full_height) = match spec.fit {
            Fit::Stretch => (u64::from(spec.width), u64::from(spec.height)),
            Fit::CenterCrop { shorter_side } => {
                let (short, long) = (width.min(height), width.max(height));
                let longer_side = u64::from(shorter_side) * u64::from(long) / u64::from(short);
                if width <= height { (u64::from(shorter_side), longer_side) } else { (longer_side, u64::from(shorter_side)) }
            }
        };
        let offset = |full: u64, kept: u32| half_to_even(full.saturating_sub(u64::from(kept)));
        Self {
            full_width,
            full_height,
            left: offset(full_width, spec.width),
            top: offset(full_height, spec.height),
            width: spec.width,
            height: spec.height,
        }
    }
}

/// `round(twice / 2)` as Python rounds.
fn half_to_even(twice: u64) -> u64 {
    let half = twice / 2;
    if twice % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Mode;

    #[test]
    fn windows_are_torchvisions() {
        #[track_caller]
        fn check((width, height): (u32, u32), shorter_side: u32, (full_width, full_height, left, top): (u64, u64, u64, u64)) {
            let spec = Preprocessing { fit: Fit::CenterCrop { shorter_side }, ..Preprocessing::keras(Mode::Torch, 224, 224) };
            let expected = Window { full_width, full_height, left, top, width: 224, height: 224 };
            assert_eq!(Window::new(width, height, &spec), expected);
        }
        check((500, 375), 256, (341, 256, 58, 16));
        check((375, 500), 256, (256, 341, 16, 58));
        check((300, 300), 227, (227, 227, 2, 2));
        check((300, 300), 225, (225, 225, 0, 0));
        check((224, 224), 224, (224, 224, 0, 0));
        check((65_535, 1), 4096, (268_431_360, 4096, 134_215_568, 1936));
    }

    #[test]
    fn an_ignored_orientation_is_a_warning() {
        #[track_caller]
        fn check(orientation: u8, policy: Orientation, expected: &[Warning]) {
            let decoded = Decoded { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6], orientation };
            let spec = Preprocessing { orientation: policy, ..Preprocessing::keras(Mode::Tf, 3, 5) };
            let (tensor, warnings) = prepare(decoded, &spec);
            assert_eq!(warnings, expected);
            assert_eq!(tensor.shape(), [3, 3, 5]);
        }
        check(1, Orientation::Ignore, &[]);
        check(6, Orientation::Ignore, &[Warning::OrientationIgnored(6)]);
        check(6, Orientation::Exif, &[]);
        assert!(Warning::OrientationIgnored(6).to_string().contains("`orientation=exif`"));
    }
}
