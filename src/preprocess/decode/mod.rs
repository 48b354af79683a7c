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
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Cost, Decoded, Format, Header, ImageError, Limits, MAX_IMAGE_SIDE};
use guard::guarded;

/// Width and height.
type Size = (u32, u32);

/// Whether `bytes` begin as an image of a format that is decoded, or refused by name.
pub fn is_image(bytes: &[u8]) -> bool {
    !matches!(sniff::format(bytes), Err(ImageError::NotAnImage))
}

/// Reads format, size and cost, and checks them against `limits`, without decoding a pixel; takes time in proportion to the
/// bytes at the most.
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
    guarded(format, || {
        let (width, height) = match format {
            Format::Jpeg => jpeg::size(bytes),
            Format::Png => png::size(bytes),
            Format::Bmp => bmp::size(bytes),
            Format::Gif => gif::size(bytes),
            Format::WebP => webp::size(bytes),
            Format::Tiff => tiff::size(bytes),
        }?;
        if width == 0 || height == 0 {
            return Err(broken(format, "it has no pixels"));
        }
        if u64::from(width) * u64::from(height) > limits.max_pixels || width.max(height) > MAX_IMAGE_SIDE {
            return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
        }
        let cost = match format {
            Format::Jpeg => jpeg::cost(bytes),
            Format::Png => png::cost(bytes),
            Format::Bmp => bmp::cost((width, height)),
            Format::Gif => gif::cost(bytes, (width, height)),
            Format::WebP => webp::cost(bytes, (width, height), limits.decoding_bytes()),
            Format::Tiff => tiff::cost(bytes, (width, height)),
        }?;
        let never = AtomicBool::new(false);
        Bounds::of(limits, &never).check(format, cost)?;
        Ok(Header { format, width, height, cost })
    })
}

/// Decodes to RGB, as Pillow's `Image.open(…).convert("RGB")`.
///
/// # Errors
/// Any [`ImageError`]; what is too large is refused from its header, before anything of its size is allocated.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded, ImageError> {
    decode_unless(bytes, limits, &AtomicBool::new(false))
}

/// [`decode`], which ends with [`ImageError::Cancelled`] soon after `cancelled` is set: at the next row, strip or block.
///
/// # Errors
/// As [`decode`].
pub fn decode_unless(bytes: &[u8], limits: &Limits, cancelled: &AtomicBool) -> Result<Decoded, ImageError> {
    let bounds = Bounds::of(limits, cancelled);
    bounds.go_on()?;
    let header = header(bytes, limits)?;
    guarded(header.format, || match header.format {
        Format::Jpeg => jpeg::decode(bytes, &bounds),
        Format::Png => png::decode(bytes, &header, &bounds),
        Format::Bmp => bmp::decode(bytes, &header, &bounds),
        Format::Gif => gif::decode(bytes, &header, &bounds),
        Format::WebP => webp::decode(bytes, &header, &bounds),
        Format::Tiff => tiff::decode(bytes, &header, &bounds),
    })
}

impl Header {
    fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

/// What decoding may take, and whether it is still wanted.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    /// Bytes beside the file.
    memory: u64,
    /// Samples that it visits.
    samples: u64,
    /// How many parts of one image share what is free for one, as the strips of a TIFF do.
    share: u64,
    cancelled: &'a AtomicBool,
}

impl<'a> Bounds<'a> {
    fn of(limits: &Limits, cancelled: &'a AtomicBool) -> Self {
        Self { memory: limits.decoding_bytes(), samples: limits.decoding_samples(), share: 1, cancelled }
    }

    fn check(&self, format: Format, cost: Cost) -> Result<(), ImageError> {
        if cost.bytes > self.memory {
            return Err(ImageError::TooMuchMemory { format, bytes: cost.bytes, limit: self.memory });
        }
        if cost.samples > self.samples {
            return Err(ImageError::TooMuchWork { format, samples: cost.samples, limit: self.samples });
        }
        Ok(())
    }

    /// Called between rows, or other steps of a few milliseconds.
    fn go_on(&self) -> Result<(), ImageError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(ImageError::Cancelled) } else { Ok(()) }
    }
}

/// Bytes that are inflated between two looks at whether decoding is still wanted.
const STEP: usize = 1 << 20;

/// Pixels of an image of this size.
fn area((width, height): Size) -> u64 {
    u64::from(width) * u64::from(height)
}

fn broken(format: Format, detail: impl ToString) -> ImageError {
    ImageError::Broken { format, detail: detail.to_string() }
}

fn unsupported(format: Format, detail: impl ToString) -> ImageError {
    ImageError::UnsupportedPixels { format, detail: detail.to_string() }
}
