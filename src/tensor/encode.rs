//! Float32 values as little-endian bytes, in the width that the client asked for.

use half::f16;
use serde::Deserialize;
use utoipa::ToSchema;

/// Width of the numbers in an answer or file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum Dtype {
    /// IEEE 754 binary32.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// IEEE 754 binary16; at most 65504.
    #[serde(rename = "float16")]
    F16,
}

impl Dtype {
    /// Bytes per number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// `float32` or `float16`, NumPy's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }
}

/// A value that cannot be answered: NaN, infinite, or too large for float16.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("value {index} is {value}{}", if .value.is_finite() { ", too large for float16 (65504 at most)" } else { "" })]
pub struct NotFinite {
    /// Position of the first such value.
    pub index: usize,
    /// The value; finite when only float16 cannot hold it.
    pub value: f32,
}

/// `values` as little-endian bytes, rounded to nearest even for float16.
///
/// # Errors
/// The first value that is NaN or infinite, or becomes infinite in float16.
pub fn little_endian(dtype: Dtype, values: &[f32]) -> Result<Vec<u8>, NotFinite> {
    let mut bytes = Vec::with_capacity(values.len() * dtype.size());
    for (index, &value) in values.iter().enumerate() {
        let finite = match dtype {
            Dtype::F32 => {
                bytes.extend_from_slice(&value.to_le_bytes());
                value.is_finite()
            }
            Dtype::F16 => {
                let rounded = f16::from_f32(value);
                bytes.extend_from_slice(&rounded.to_le_bytes());
                rounded.is_finite()
            }
        };
        if !finite {
            return Err(NotFinite { index, value });
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_or_names_the_first_bad_value() {
        let check = |dtype, values: &[f32], expected: Result<&[u8], usize>| {
            let found = little_endian(dtype, values);
            assert_eq!(found.as_deref().map_err(|error| error.index), expected, "{dtype:?} {values:?}");
        };
        check(Dtype::F32, &[1.0, -2.5], Ok(&[0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]));
        check(Dtype::F16, &[1.0, -2.5, 65504.0], Ok(&[0, 0x3c, 0, 0xc1, 0xff, 0x7b]));
        // Halfway between 65504 and 65536 rounds to infinity; anything below, to 65504.
        check(Dtype::F16, &[65519.9], Ok(&[0xff, 0x7b]));
        check(Dtype::F16, &[0.0, 65520.0, f32::NAN], Err(1));
        check(Dtype::F32, &[0.0, 1.0, f32::NAN], Err(2));
        check(Dtype::F32, &[f32::NEG_INFINITY], Err(0));
        check(Dtype::F16, &[], Ok(&[]));
    }

    #[test]
    fn says_why_a_value_is_refused() {
        let check = |value: f32, expected: &str| {
            assert_eq!(little_endian(Dtype::F16, &[value]).unwrap_err().to_string(), expected);
        };
        check(70000.0, "value 0 is 70000, too large for float16 (65504 at most)");
        check(f32::NAN, "value 0 is NaN");
    }
}
