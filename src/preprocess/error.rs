//! Why an image or a preprocessing cannot be used.

use super::{Format, IntegerType, MAX_IMAGE_SIDE, MAX_INPUT_SIDE};

/// Why an image cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Zero bytes.
    #[error("the image is empty (zero bytes)")]
    Empty,
    /// The first bytes are those of no image format known.
    #[error("the bytes are no image; send JPEG, PNG, BMP, GIF, WebP or TIFF")]
    NotAnImage,
    /// A format that is recognised but not decoded.
    #[error("{0} is not supported; send JPEG, PNG, BMP, GIF, WebP or TIFF{way_out}", way_out = way_out(.0))]
    UnsupportedFormat(&'static str),
    /// A variant of a supported format that is not decoded as Pillow would, and so is refused.
    #[error("{format} with {detail} is not supported; send it as 8-bit RGB")]
    UnsupportedPixels {
        /// The format.
        format: Format,
        /// What is not supported about it.
        detail: String,
    },
    /// Truncated or corrupt.
    #[error("the {format} is truncated or corrupt: {detail}")]
    Broken {
        /// The format.
        format: Format,
        /// What the decoder said.
        detail: String,
    },
    /// More encoded bytes than allowed.
    #[error("the image has {bytes} bytes, more than the {limit} allowed; send a smaller one")]
    TooManyBytes {
        /// Encoded bytes.
        bytes: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More pixels than allowed, by the header.
    #[error(
        "the image has {width} × {height} pixels, more than the {limit} allowed (or a side over {MAX_IMAGE_SIDE}); send a smaller one"
    )]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// How many pixels are allowed.
        limit: u64,
    },
    /// Scans that visit more samples than the image's size and the file's bytes justify, by their headers.
    #[error("the JPEG's scans ({scans}) visit {samples} samples, more than the {limit} allowed for its size; save it {way_out}")]
    TooManyScans {
        /// How many scans the file has.
        scans: u32,
        /// Samples that they visit together.
        samples: u64,
        /// How many are allowed.
        limit: u64,
        /// How to save it instead.
        way_out: &'static str,
    },
    /// Pixels, and what the decoder keeps beside them, that take more memory than allowed, by the headers.
    #[error("decoding the {format} takes {bytes} bytes or more, and {limit} are allowed; save it {}", smaller(*.format))]
    TooMuchMemory {
        /// The format.
        format: Format,
        /// Bytes of pixels and coefficients, codes or strips, as far as they were counted.
        bytes: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Samples to visit, weighted by what each takes, that would keep a thread for longer than any usual image of the size allowed.
    #[error("decoding the {format} takes {samples} steps, and {limit} are allowed; save it {}", smaller(*.format))]
    TooMuchWork {
        /// The format.
        format: Format,
        /// Steps, as many as a plain image has samples.
        samples: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// Values that are not what the model takes.
    #[error("the tensor has shape {shape:?}, and the model takes {wanted:?} (channels, height, width)")]
    Shape {
        /// What it has.
        shape: Vec<usize>,
        /// What it must have.
        wanted: [usize; 3],
    },
    /// A value that is NaN or infinite.
    #[error("the tensor holds values that are NaN or infinite")]
    NotFinite,
    /// Nobody waits for it any more.
    #[error("decoding was cancelled")]
    Cancelled,
}

impl ImageError {
    /// The error's name on the wire, from a closed list.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotAnImage => "not_an_image",
            Self::UnsupportedFormat(_) => "unsupported_format",
            Self::UnsupportedPixels { .. } => "unsupported_pixels",
            Self::Broken { .. } => "broken",
            Self::TooManyBytes { .. } => "too_many_bytes",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooManyScans { .. } => "too_many_scans",
            Self::TooMuchMemory { .. } => "too_much_memory",
            Self::TooMuchWork { .. } => "too_much_work",
            Self::Shape { .. } => "shape",
            Self::NotFinite => "not_finite",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How to save an image of a format so that decoding it takes less memory.
fn smaller(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "smaller, or as baseline",
        Format::Tiff => "smaller, or in strips of fewer rows",
        _ => "smaller, or in another format",
    }
}

/// How to turn an image of the format `name` into one that is read, where phones and browsers make them.
fn way_out(name: &str) -> &'static str {
    match name {
        "HEIC" => {
            ": `heif-convert photo.heic photo.jpg` of libheif converts it, or in Python `pillow_heif.register_heif_opener()` and \
             then `Image.open(\"photo.heic\").convert(\"RGB\").save(\"photo.png\")`"
        }
        "AVIF" => {
            ": `avifdec photo.avif photo.png` of libavif converts it, or in Python with Pillow 11.3 or later \
             `Image.open(\"photo.avif\").convert(\"RGB\").save(\"photo.png\")`"
        }
        _ => "",
    }
}

/// Why a [`Preprocessing`](super::Preprocessing) cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessingError {
    /// A side out of range.
    #[error("`{name}` is {pixels}; it must be 1 to {MAX_INPUT_SIDE} pixels")]
    Side {
        /// Which one.
        name: &'static str,
        /// Its value.
        pixels: u32,
    },
    /// A crop larger than what is cropped.
    #[error(
        "`shorter_side` is {shorter_side}, too short to cut {height} × {width} (height × width) out of; make it at least {}",
        .height.max(.width)
    )]
    Crop {
        /// Length of the shorter side after resizing.
        shorter_side: u32,
        /// Input height.
        height: u32,
        /// Input width.
        width: u32,
    },
    /// NaN or infinity among the means or scales.
    #[error("`{name}` is {values:?}; every value must be finite")]
    NotFinite {
        /// `mean` or `scale`.
        name: &'static str,
        /// Its values.
        values: [f32; 3],
    },
    /// Zero among the scales, or what is zero in 32 bits.
    #[error("`scale` is {values:?}; with 0 every image would be the same to the model")]
    ZeroScale {
        /// Its values.
        values: [f32; 3],
    },
    /// Several means or scales for one channel.
    #[error("`{name}` is {values:?}, but the model takes one channel, grey; give one value, or `none` or `tf` as mode")]
    SeveralForGrey {
        /// `mean` or `scale`.
        name: &'static str,
        /// Its values.
        values: [f32; 3],
    },
    /// Numbers that the input's type does not hold, which would be rounded or wrapped around.
    #[error(
        "the model's input is {integer}, but this preprocessing gives other numbers than the whole ones from {} to {}; \
         use the mode `none`, or a whole `mean` and a `scale` of 1",
        .integer.range().start(),
        .integer.range().end()
    )]
    NotWhole {
        /// The input's type.
        integer: IntegerType,
    },
}

#[cfg(test)]
mod tests {
    use super::super::{ChannelOrder, Fit, IntegerType, Mode, Preprocessing};

    #[test]
    fn specifications_are_checked() {
        #[track_caller]
        fn check(spec: Preprocessing, expected: Option<&str>) {
            assert_eq!(spec.validate().err().map(|error| error.to_string()).as_deref(), expected);
        }
        let spec = || Preprocessing::keras(Mode::Caffe, 224, 200);
        check(spec(), None);
        check(Preprocessing { fit: Fit::CenterCrop { shorter_side: 224 }, ..spec() }, None);
        check(Preprocessing { height: 4097, ..spec() }, Some("`height` is 4097; it must be 1 to 4096 pixels"));
        check(Preprocessing { width: 0, ..spec() }, Some("`width` is 0; it must be 1 to 4096 pixels"));
        check(
            Preprocessing { fit: Fit::CenterCrop { shorter_side: 223 }, ..spec() },
            Some("`shorter_side` is 223, too short to cut 224 × 200 (height × width) out of; make it at least 224"),
        );
        check(
            Preprocessing { scale: [1.0, f32::NAN, 1.0], ..spec() },
            Some("`scale` is [1.0, NaN, 1.0]; every value must be finite"),
        );
        check(
            Preprocessing { scale: [1.0, 1.0, -0.0], ..spec() },
            Some("`scale` is [1.0, 1.0, -0.0]; with 0 every image would be the same to the model"),
        );
        let grey = || Preprocessing { channel_order: ChannelOrder::Grey, ..Preprocessing::keras(Mode::Tf, 28, 28) };
        check(grey(), None);
        check(
            Preprocessing { mean: [1.0, 2.0, 1.0], ..grey() },
            Some("`mean` is [1.0, 2.0, 1.0], but the model takes one channel, grey; give one value, or `none` or `tf` as mode"),
        );
        let whole = |mode, integer| Preprocessing { integer: Some(integer), ..Preprocessing::keras(mode, 28, 28) };
        check(whole(Mode::None, IntegerType::Uint8), None);
        check(Preprocessing { mean: [128.0; 3], ..whole(Mode::None, IntegerType::Int8) }, None);
        check(
            whole(Mode::Torch, IntegerType::Uint8),
            Some(
                "the model's input is uint8, but this preprocessing gives other numbers than the whole ones from 0 to 255; \
                 use the mode `none`, or a whole `mean` and a `scale` of 1",
            ),
        );
        assert!(whole(Mode::None, IntegerType::Int8).validate().is_err(), "255 does not fit");
    }
}
