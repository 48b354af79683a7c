//! JPEG, by libjpeg-turbo as Pillow drives it: what Pillow reads is read to the same bytes, and what it refuses is refused.
//!
//! The markers are walked first, and say what the file costs: nothing is decoded that goes beyond the limits.

mod libjpeg;
mod markers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use super::{
    super::{Decoded, Format, Header, ImageError, Limits, orientation},
    broken, pixels,
};
use libjpeg::{Failure, Order};
use markers::Head;

/// Width and height from the frame header.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    Head::read(bytes).map(|head| (head.frame.width, head.frame.height))
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Decoded, ImageError> {
    let head = Head::read(bytes)?;
    let mut samples = head.samples(bytes, header, limits)?;
    let rgb = match head.frame.components.len() {
        3 => samples,
        1 => converted(header, |rgb| pixels::grey(samples.iter().copied(), rgb)),
        _ => {
            // Pillow takes every CMYK as Adobe's, where 255 is no ink.
            samples.iter_mut().for_each(|sample| *sample = !*sample);
            converted(header, |rgb| pixels::cmyk(&samples, 4, [0, 1, 2, 3], rgb))
        }
    };
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: head.orientation() })
}

/// Decodes to grey, RGB or four samples a pixel, as many as the file's components.
pub(super) fn samples(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    Head::read(bytes)?.samples(bytes, header, limits)
}

fn converted(header: &Header, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut rgb = vec![0; header.pixels() * 3];
    fill(&mut rgb);
    rgb
}

impl Head<'_> {
    /// The samples of the file `bytes`, whose head this is.
    fn samples(&self, bytes: &[u8], header: &Header, limits: &Limits) -> Result<Vec<u8>, ImageError> {
        let components = self.frame.components.len() as u32;
        let mut order = Order { width: header.width, height: header.height, components, scans: 1, memory: 0 };
        let samples = order.samples() as u64;
        let limit = limits.decoding_bytes();
        if let Some(scans) = self.scans() {
            let allowed = limits.scan_samples();
            if scans.samples > allowed {
                return Err(ImageError::TooManyScans { scans: scans.count, samples: scans.samples, limit: allowed });
            }
            if samples + scans.bytes > limit {
                return Err(ImageError::TooMuchMemory { format: Format::Jpeg, bytes: samples + scans.bytes, limit });
            }
            order.scans = scans.count;
        }
        order.memory = usize::try_from(limit.saturating_sub(samples)).unwrap_or(usize::MAX).clamp(1, isize::MAX as usize);
        order.decode(bytes).map_err(|failure| match failure {
            Failure::Truncated => broken(Format::Jpeg, "it ends before its last row"),
            Failure::Failed(message) => broken(Format::Jpeg, message),
            Failure::Misread => broken(Format::Jpeg, "its headers disagree"),
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
