//! JPEG, by libjpeg-turbo as Pillow drives it: what Pillow reads is read to the same bytes, and what it refuses is refused.
//!
//! The markers are walked first, and say what the file costs: nothing is decoded that goes beyond the limits.

mod libjpeg;
mod markers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{
    super::{Cost, Decoded, Format, ImageError, orientation},
    Bounds, Size, broken, pixels,
};
use libjpeg::{Failure, Order};
use markers::{Head, Scans};

/// Samples that scans may visit beyond what pixels and bytes pay for, and what they cost a scan in a small image.
const FREE_SAMPLES: u64 = 1 << 20;
/// How many times all scans together may visit every sample: `jpeg_simple_progression` visits it 5 to 6 times, and the scripts
/// that mozjpeg and jpegrescan search through up to 7, whatever the content.
const VISITS: u64 = 10;
/// Samples that each byte of the file pays for beyond that.
const SAMPLES_PER_BYTE: u64 = 64;
/// Arithmetic coding takes no bytes for what it expects, and up to 30 decisions for a sample: nothing but bytes pays for it.
const FREE_ARITHMETIC_SAMPLES: u64 = 1 << 22;
const ARITHMETIC_SAMPLES_PER_BYTE: u64 = 32;
/// How many times as long as one of Huffman's an arithmetic sample takes.
const ARITHMETIC: u64 = 16;

/// Width and height from the frame header.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    Head::read(bytes).map(|head| head.size())
}

/// What decoding to RGB costs, by the markers.
pub(super) fn cost(bytes: &[u8]) -> Result<Cost, ImageError> {
    let head = Head::read(bytes)?;
    let cost = head.cost(bytes, 1)?;
    let pixels = u64::from(head.frame.width) * u64::from(head.frame.height);
    // Grey and CMYK are RGB in a buffer of their own, when the coefficients are gone.
    let converted = if head.frame.components.len() == 3 { 0 } else { pixels * (head.frame.components.len() as u64 + 3) };
    Ok(Cost { bytes: cost.bytes.max(converted), ..cost })
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let head = Head::read(bytes)?;
    let mut samples = head.samples(bytes, bounds)?;
    let (width, height) = head.size();
    let converted = |fill: &dyn Fn(&mut [u8])| {
        let mut rgb = vec![0; width as usize * height as usize * 3];
        fill(&mut rgb);
        rgb
    };
    let rgb = match head.frame.components.len() {
        3 => samples,
        1 => converted(&|rgb| pixels::grey(samples.iter().copied(), rgb)),
        _ => {
            // Pillow takes every CMYK as Adobe's, where 255 is no ink.
            samples.iter_mut().for_each(|sample| *sample = !*sample);
            converted(&|rgb| pixels::cmyk(&samples, 4, [0, 1, 2, 3], rgb))
        }
    };
    Ok(Decoded { width, height, rgb, orientation: head.orientation() })
}

/// Decodes to grey, RGB or four samples a pixel, as many as the file's components.
pub(super) fn samples(bytes: &[u8], bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
    Head::read(bytes)?.samples(bytes, bounds)
}

impl Head<'_> {
    fn size(&self) -> Size {
        (self.frame.width, self.frame.height)
    }

    /// What decoding to samples costs, if that is not out of proportion to the image and its bytes; `share` images have what is
    /// free together.
    fn cost(&self, bytes: &[u8], share: u64) -> Result<Cost, ImageError> {
        let own = self.frame.samples();
        let scans = self.scans().unwrap_or(Scans { count: 1, samples: own, bytes: 0 });
        let paid = bytes.len() as u64;
        let (limit, way_out) = if self.frame.arithmetic {
            (FREE_ARITHMETIC_SAMPLES / share + paid * ARITHMETIC_SAMPLES_PER_BYTE, "with Huffman coding")
        } else {
            (FREE_SAMPLES / share + own * VISITS + paid * SAMPLES_PER_BYTE, "with fewer scans, or as baseline")
        };
        if scans.samples > limit {
            return Err(ImageError::TooManyScans { scans: scans.count, samples: scans.samples, limit, way_out });
        }
        let pixels = u64::from(self.frame.width) * u64::from(self.frame.height);
        let samples = scans.samples * if self.frame.arithmetic { ARITHMETIC } else { 1 };
        Ok(Cost { samples, bytes: pixels * self.frame.components.len() as u64 + scans.bytes })
    }

    /// The samples of the file `bytes`, whose head this is.
    fn samples(&self, bytes: &[u8], bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
        bounds.check(Format::Jpeg, self.cost(bytes, bounds.share)?)?;
        let (width, height) = self.size();
        let components = self.frame.components.len() as u32;
        let scans = self.scans().map_or(1, |scans| scans.count);
        let mut order = Order { width, height, components, scans, memory: 0, cancelled: bounds.cancelled };
        let memory = bounds.memory.saturating_sub(order.samples() as u64);
        order.memory = usize::try_from(memory).unwrap_or(usize::MAX).clamp(1, isize::MAX as usize);
        order.decode(bytes).map_err(|failure| match failure {
            Failure::Truncated => broken(Format::Jpeg, "it ends before its last row"),
            Failure::Failed(message) => broken(Format::Jpeg, message),
            Failure::Misread => broken(Format::Jpeg, "its headers disagree"),
            Failure::Cancelled => ImageError::Cancelled,
        })
    }

    fn orientation(&self) -> u8 {
        let exif = match self.exif[..] {
            [] => None,
            [only] => Some(Cow::from(only)),
            ref parts => Some(Cow::from(parts.concat())),
        };
        orientation::read(exif.as_deref(), self.xmp)
    }
}
