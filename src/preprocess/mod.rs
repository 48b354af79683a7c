//! Image bytes to model input, pure: decode, orient, resize and crop, normalise.
//!
//! Bit-exact with Pillow's resizers and `convert("RGB")`; knows no model, queue or HTTP.

use serde::{Deserialize, Serialize};

/// How a model wants its images; stored with every model version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
}

/// The resampling filter, bit-exact with Pillow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// `PIL.Image.NEAREST`, what Keras's `load_img` uses.
    Nearest,
    /// `PIL.Image.BILINEAR`, with antialiasing.
    Bilinear,
    /// `PIL.Image.BICUBIC`, with antialiasing.
    Bicubic,
}

/// How an image of another aspect ratio becomes the input size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first (Caffe).
    Bgr,
}

/// Whether EXIF orientation is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// Pixels as stored (Keras's `load_img`).
    Ignore,
    /// Rotated and mirrored as the EXIF tag says.
    Exif,
}

/// Something about an image that its sender should know; the answer carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The image carries an EXIF orientation that was not applied (2 to 8).
    OrientationIgnored(u8),
}

/// Why an image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Zero bytes.
    #[error("the image is empty (zero bytes)")]
    Empty,
}
