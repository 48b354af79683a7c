//! Image bytes to RGB as Pillow's `Image.open(…).convert("RGB")` gives them, or a refusal by name.
//!
//! Each format's file owns its variants; this one tells formats apart, holds the limits, and guards against panics.
//! Headers are read by our own code from the first bytes; no decoder is opened, and nothing inflated, before the limits hold.
//! Alpha is dropped, not blended; colour profiles are not applied; only the first frame or page counts.

mod bmp;
mod gif;
mod guard;
mod jpeg;
mod lzw;
mod pixels;
mod png;
mod sniff;
mod tiff;
mod webp;

use super::{Decoded, Format, Header, ImageError, Limits, MAX_IMAGE_SIDE};
use guard::guarded;

/// Whether `bytes` begin as an image of a format that is decoded, or refused by name.
pub fn is_image(bytes: &[u8]) -> bool {
    !matches!(sniff::format(bytes), Err(ImageError::NotAnImage))
}

/// Reads format and size, and checks them against `limits`, without decoding a pixel.
///
/// # Errors
/// Any [`ImageError`] that shows before the pixels.
pub fn header(bytes: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let format = sniff::format(bytes)?;
    let (width, height) = guarded(format, || match format {
        Format::Jpeg => jpeg::size(bytes),
        Format::Png => png::size(bytes),
        Format::Bmp => bmp::size(bytes),
        Format::Gif => gif::size(bytes),
        Format::WebP => webp::size(bytes),
        Format::Tiff => tiff::size(bytes),
    })?;
    if width == 0 || height == 0 {
        return Err(broken(format, "it has no pixels"));
    }
    if u64::from(width) * u64::from(height) > limits.max_pixels || width.max(height) > MAX_IMAGE_SIDE {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    Ok(Header { format, width, height })
}

/// Decodes to RGB, as Pillow's `Image.open(…).convert("RGB")`.
///
/// # Errors
/// Any [`ImageError`]; what is too large is refused from its header, before anything of its size is allocated.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ImageError> {
    let header = header(bytes, limits)?;
    guarded(header.format, || match header.format {
        Format::Jpeg => jpeg::decode(bytes, &header, limits),
        Format::Png => png::decode(bytes, &header),
        Format::Bmp => bmp::decode(bytes, &header),
        Format::Gif => gif::decode(bytes, &header),
        Format::WebP => webp::decode(bytes, &header, limits),
        Format::Tiff => tiff::decode(bytes, &header, limits),
    })
}

impl Header {
    fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

fn broken(format: Format, detail: impl ToString) -> ImageError {
    ImageError::Broken { format, detail: detail.to_string() }
}

fn unsupported(format: Format, detail: impl ToString) -> ImageError {
    ImageError::UnsupportedPixels { format, detail: detail.to_string() }
}
