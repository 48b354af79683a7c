//! The wire names of this module's enumerations, to and from text.

use std::{fmt, str::FromStr};

use super::{ChannelOrder, Format, Mode, Orientation, Resize};

/// A name that an enumeration does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`; use {}", .valid.join(", "))]
pub struct UnknownName {
    /// What was to be named.
    pub kind: &'static str,
    /// The name given.
    pub name: String,
    /// The names there are.
    pub valid: &'static [&'static str],
}

macro_rules! names {
    ($type:ident, $kind:literal, $($variant:ident = $name:literal),+) => {
        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownName { kind: $kind, name: name.to_owned(), valid: &[$($name),+] }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $name,)+ })
            }
        }
    };
}

names!(
    Resize,
    "resize filter",
    Nearest = "nearest",
    Bilinear = "bilinear",
    Bicubic = "bicubic",
    OpencvBilinear = "opencv_bilinear"
);
names!(Orientation, "orientation", Ignore = "ignore", Exif = "exif");
names!(ChannelOrder, "channel order", Rgb = "rgb", Bgr = "bgr", Grey = "grey");
names!(Mode, "preprocessing mode", None = "none", Caffe = "caffe", Tf = "tf", Torch = "torch");

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
    fn names_agree_with_serde() {
        fn check<T: FromStr<Err = UnknownName> + fmt::Display + serde::Serialize>(names: &[&str]) {
            for name in names {
                let value: T = name.parse().expect("a valid name");
                assert_eq!(value.to_string(), *name);
                assert_eq!(serde_json::to_value(&value).expect("serializes"), *name);
            }
            assert!("".parse::<T>().is_err());
        }
        check::<Resize>(&["nearest", "bilinear", "bicubic", "opencv_bilinear"]);
        check::<Orientation>(&["ignore", "exif"]);
        check::<ChannelOrder>(&["rgb", "bgr", "grey"]);
        check::<Mode>(&["none", "caffe", "tf", "torch"]);
    }

    #[test]
    fn an_unknown_name_lists_the_valid_ones() {
        let error = "lanczos".parse::<Resize>().expect_err("not a filter");
        assert_eq!(error.to_string(), "unknown resize filter `lanczos`; use nearest, bilinear, bicubic, opencv_bilinear");
    }
}
