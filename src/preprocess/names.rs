//! The names of this module's enumerations as text: those that `serde` has for them.

use std::{fmt, str::FromStr};

use super::{ChannelOrder, Format, Mode, Orientation, Resize};
use crate::message::{UnknownWord, spelled, word};

macro_rules! names {
    ($($type:ident),+) => {$(
        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(name: &str) -> Result<Self, UnknownWord> {
                word(name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&spelled(self))
            }
        }
    )+};
}

names!(Resize, Orientation, ChannelOrder, Mode);

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_list_them() {
        for filter in [Resize::Nearest, Resize::Bilinear, Resize::Bicubic, Resize::OpencvBilinear] {
            assert_eq!(filter.to_string().parse(), Ok(filter));
        }
        let error = "lanczos".parse::<Resize>().expect_err("not a filter");
        assert_eq!(error.to_string(), "it may be `nearest`, `bilinear`, `bicubic`, `opencv_bilinear`");
    }
}
