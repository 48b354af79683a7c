//! Image bytes to RGB.

use super::{Decoded, Header, ImageError, Limits};

/// Reads format and size, and checks them against `limits`.
///
/// # Errors
/// Any [`ImageError`] that shows in the header.
pub fn header(bytes: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    Err(ImageError::NotAnImage)
}

/// Decodes to RGB, as Pillow's `Image.open(…).convert("RGB")`.
///
/// # Errors
/// Any [`ImageError`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ImageError> {
    header(bytes, limits)?;
    Err(ImageError::NotAnImage)
}
