//! Image bytes to model input, pure: decode, orient, resize and crop, normalise.
//!
//! Bit-exact with Pillow's JPEG decoder, resizers and `convert("RGB")`, and with `cv2.resize`; knows no model, queue or HTTP.

mod decode;
mod decoder;
mod error;
#[cfg(test)]
mod goldens;
mod integer;
mod names;
mod normalize;
mod opencv;
mod orientation;
mod prepare;
mod resample;
mod resize;
#[cfg(test)]
mod variants;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::ImagesConfig;

pub use decode::{decode, decode_unless, header, is_image};
pub use decoder::Decoder;
pub use error::{ImageError, PreprocessingError};
pub use integer::IntegerType;
pub use prepare::prepare;

/// Largest input side of a model, in pixels.
pub const MAX_INPUT_SIDE: u32 = 4096;

/// Largest side of an image, in pixels: JPEG's own bound, held for every format so that resizing needs bounded memory.
pub const MAX_IMAGE_SIDE: u32 = 65_535;

/// How a model wants its images; stored with every model version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preprocessing {
    /// Input height in pixels.
    pub height: u32,
    /// Input width in pixels.
    pub width: u32,
    /// The resampling filter.
    pub resize: Resize,
    /// How an image of another aspect ratio becomes `height` × `width`.
    pub fit: Fit,
    /// Order of the channels that the model sees.
    pub channel_order: ChannelOrder,
    /// Subtracted per channel from 0–255 values, in `channel_order`.
    pub mean: [f32; 3],
    /// Multiplied per channel after the subtraction, in `channel_order`.
    pub scale: [f32; 3],
    /// Whether EXIF orientation is applied.
    pub orientation: Orientation,
    /// The type of a model's input that holds whole numbers; `mean` and `scale` then give such. Absent for floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<IntegerType>,
}

/// The resampling filter, bit-exact with its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// `PIL.Image.NEAREST`, what Keras's `load_img` uses.
    Nearest,
    /// `PIL.Image.BILINEAR`, with antialiasing.
    Bilinear,
    /// `PIL.Image.BICUBIC`, with antialiasing.
    Bicubic,
    /// `cv2.resize` with its default `INTER_LINEAR`, without antialiasing.
    OpencvBilinear,
}

/// How an image of another aspect ratio becomes the input size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Fit {
    /// Resize both sides, changing the aspect ratio (Keras).
    Stretch,
    /// Resize the shorter side to `shorter_side`, then cut the centre out (Caffe, torchvision).
    CenterCrop {
        /// Length of the shorter side after resizing, in pixels.
        shorter_side: u32,
    },
}

/// Order of the channels that the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first (Caffe).
    Bgr,
    /// One channel: Pillow's `convert("L")`, before resizing as Keras's `load_img(color_mode="grayscale")`.
    Grey,
}

/// Whether EXIF orientation is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// Pixels as stored (Keras's `load_img`).
    Ignore,
    /// Rotated and mirrored as the EXIF tag says.
    Exif,
}

/// Channel order, mean and scale under the name that Keras's `imagenet_utils.preprocess_input` gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// RGB from 0 to 255, as `img_to_array` gives them: no `preprocess_input`.
    None,
    /// BGR minus ImageNet's mean, not scaled (VGG16).
    Caffe,
    /// RGB to [−1, 1] (InceptionV3).
    Tf,
    /// RGB to [0, 1], minus ImageNet's mean, over its standard deviation.
    Torch,
}

/// What an image may cost, checked before anything of that size is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Width × height. Besides, no side is longer than [`MAX_IMAGE_SIDE`].
    pub max_pixels: u64,
}

impl Limits {
    /// Bytes that decoding one image may hold: three of RGB and six of coefficients for every pixel that is allowed (a
    /// progressive JPEG keeps all its coefficients, two bytes each), and room for buffers that do not grow with the area.
    pub fn decoding_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(9).saturating_add(32 << 20)
    }

    /// Samples that decoding one image may visit ([`Cost::samples`]): three for every pixel that is allowed, ten times, which is more
    /// than the scans of any encoder's progressive JPEG do.
    pub fn decoding_samples(&self) -> u64 {
        self.max_pixels.saturating_mul(30).saturating_add(1 << 24)
    }
}

impl From<&ImagesConfig> for Limits {
    fn from(images: &ImagesConfig) -> Self {
        Self { max_bytes: images.max_bytes, max_pixels: images.max_pixels }
    }
}

/// An image format that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// Windows bitmap.
    Bmp,
    /// GIF; the first frame.
    Gif,
    /// WebP.
    WebP,
    /// TIFF; the first page.
    Tiff,
}

/// What an image's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format, told from the first bytes.
    pub format: Format,
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// What decoding it takes.
    pub cost: Cost,
}

/// What decoding an image takes, estimated from its header and from where its parts are, before anything is inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Samples that the decoder visits, scan after scan and pass after pass; some hundred million of them take a second.
    pub samples: u64,
    /// Bytes that are held at the most beside the file, the pixels included.
    pub bytes: u64,
}

/// Images whose decoding visits more samples are heavy. A plain photo of 33 megapixels has as many.
const HEAVY_SAMPLES: u64 = 100_000_000;

/// What decoding so many samples takes, about, on one thread.
const HEAVY_TIME: Duration = Duration::from_millis(500);

impl Cost {
    /// Whether decoding takes half a second or more.
    pub fn is_heavy(self) -> bool {
        self.samples > HEAVY_SAMPLES
    }

    /// How long decoding takes, about.
    pub fn time(self) -> Duration {
        HEAVY_TIME.mul_f64(self.samples as f64 / HEAVY_SAMPLES as f64)
    }
}

/// An image in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// Rows from the top, three bytes per pixel: `height * width * 3` bytes.
    pub rgb: Vec<u8>,
    /// EXIF orientation, 1 to 8; 1 when the image has none.
    pub orientation: u8,
}

/// Something about an image that its sender should know; the answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The image carries an EXIF orientation that was not applied (2 to 8).
    #[error(
        "the image's EXIF orientation {0} was ignored, so the model saw it as stored; ask for `orientation=exif` to apply it"
    )]
    OrientationIgnored(u8),
}

impl Mode {
    /// Channel order, mean and scale, in that order.
    pub fn values(self) -> (ChannelOrder, [f32; 3], [f32; 3]) {
        const TORCH_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
        const TORCH_STD: [f64; 3] = [0.229, 0.224, 0.225];
        match self {
            Self::None => (ChannelOrder::Rgb, [0.0; 3], [1.0; 3]),
            Self::Caffe => (ChannelOrder::Bgr, [103.939, 116.779, 123.68], [1.0; 3]),
            Self::Tf => (ChannelOrder::Rgb, [127.5; 3], [1.0 / 127.5; 3]),
            Self::Torch => (
                ChannelOrder::Rgb,
                TORCH_MEAN.map(|mean| (255.0 * mean) as f32),
                TORCH_STD.map(|std| (1.0 / (255.0 * std)) as f32),
            ),
        }
    }
}

impl Preprocessing {
    /// Keras's `load_img(target_size=(height, width))` followed by `preprocess_input(mode=…)`.
    pub fn keras(mode: Mode, height: u32, width: u32) -> Self {
        let (channel_order, mean, scale) = mode.values();
        Self {
            height,
            width,
            resize: Resize::Nearest,
            fit: Fit::Stretch,
            channel_order,
            mean,
            scale,
            orientation: Orientation::Ignore,
            integer: None,
        }
    }

    /// Channels of the input: 3, or 1 in grey.
    pub fn channels(&self) -> usize {
        if self.channel_order == ChannelOrder::Grey { 1 } else { 3 }
    }

    /// The same, with `mode`'s channel order, mean and scale; grey stays grey.
    pub fn with_mode(self, mode: Mode) -> Self {
        let (order, mean, scale) = mode.values();
        let channel_order = if self.channel_order == ChannelOrder::Grey { ChannelOrder::Grey } else { order };
        Self { channel_order, mean, scale, ..self }
    }

    /// The same numbers, in the order `channel_order`: mean and scale belong to a colour and move with it.
    pub fn with_channel_order(mut self, channel_order: ChannelOrder) -> Self {
        if self.channel_order != channel_order {
            self.mean.reverse();
            self.scale.reverse();
        }
        Self { channel_order, ..self }
    }

    /// Checks that this can be prepared; [`prepare`] expects that it was called.
    ///
    /// # Errors
    /// A side out of range, a mean or scale that is not finite, a crop larger than what is cropped; several means or scales for
    /// one channel; numbers that the input's type does not hold.
    pub fn validate(&self) -> Result<(), PreprocessingError> {
        let range = 1..=MAX_INPUT_SIDE;
        let side = |name, pixels| if range.contains(&pixels) { Ok(()) } else { Err(PreprocessingError::Side { name, pixels }) };
        side("height", self.height)?;
        side("width", self.width)?;
        if let Fit::CenterCrop { shorter_side } = self.fit {
            side("shorter_side", shorter_side)?;
            if shorter_side < self.height.max(self.width) {
                return Err(PreprocessingError::Crop { shorter_side, height: self.height, width: self.width });
            }
        }
        for (name, values) in [("mean", self.mean), ("scale", self.scale)] {
            if values.iter().any(|value| !value.is_finite()) {
                return Err(PreprocessingError::NotFinite { name, values });
            }
            if name == "scale" && values.contains(&0.0) {
                return Err(PreprocessingError::ZeroScale { values });
            }
            if self.channels() == 1 && values.iter().any(|value| *value != values[0]) {
                return Err(PreprocessingError::SeveralForGrey { name, values });
            }
        }
        match self.integer {
            Some(integer) if !integer.holds(self) => Err(PreprocessingError::NotWhole { integer }),
            _ => Ok(()),
        }
    }
}
