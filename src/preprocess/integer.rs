//! Inputs of whole numbers: which types there are, and whether a preprocessing gives what they hold.
//!
//! Knows no graphs: which type an input has is the import's to find.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Preprocessing, normalize::table};

/// The element type of an input that holds whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntegerType {
    /// 0 to 255.
    Uint8,
    /// −128 to 127.
    Int8,
    /// 0 to 65,535.
    Uint16,
    /// −32,768 to 32,767.
    Int16,
    /// 32 bits, signed.
    Int32,
    /// 32 bits.
    Uint32,
    /// 64 bits, signed.
    Int64,
    /// 64 bits.
    Uint64,
}

impl IntegerType {
    /// What it holds, as far as float32 counts in whole numbers.
    pub fn range(self) -> RangeInclusive<i32> {
        const LARGEST: i32 = 1 << 24;
        match self {
            Self::Uint8 => 0..=255,
            Self::Int8 => -128..=127,
            Self::Uint16 => 0..=65_535,
            Self::Int16 => -32_768..=32_767,
            Self::Int32 | Self::Int64 => -LARGEST..=LARGEST,
            Self::Uint32 | Self::Uint64 => 0..=LARGEST,
        }
    }

    /// Whether `spec` makes whole numbers within the range of all 256 values.
    pub(super) fn holds(self, spec: &Preprocessing) -> bool {
        let range = self.range();
        let [low, high] = [*range.start(), *range.end()].map(|bound| bound as f32);
        let fits = |value: &f32| value.fract() == 0.0 && (low..=high).contains(value);
        (0..spec.channels()).all(|channel| table(spec, channel).iter().all(fits))
    }
}

impl std::fmt::Display for IntegerType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
        })
    }
}
