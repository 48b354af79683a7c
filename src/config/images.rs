//! `[images]`: bounds on one uploaded image.

use super::{
    error::ConfigError,
    key::{Key, Values, integer},
};

/// `[images]`: bounds on one uploaded image.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Largest encoded image in bytes; default 32 MiB; `GRAFT__IMAGES__MAX_BYTES`.
    pub max_bytes: usize,
    /// Most pixels of one image (width × height); default 50 million; `GRAFT__IMAGES__MAX_PIXELS`. What decoding may cost follows from it.
    pub max_pixels: u64,
    /// Memory that images may take together while they are decoded, in bytes; one image always may what `max_pixels` lets it take;
    /// default 1 GiB; `GRAFT__IMAGES__DECODING_BYTES`.
    pub decoding_bytes: u64,
}

pub(super) const KEYS: &[Key] = &[
    integer("images.max_bytes", 1 << 10, 1 << 32),
    integer("images.max_pixels", 1000, 1 << 30),
    integer("images.decoding_bytes", 1 << 20, 1 << 48),
];

impl ImagesConfig {
    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        values.at_most("images.max_bytes", "server.max_body_bytes", "no body could hold such an image")?;
        Ok(Self {
            max_bytes: values.size("images.max_bytes"),
            max_pixels: values.integer("images.max_pixels"),
            decoding_bytes: values.integer("images.decoding_bytes"),
        })
    }
}
