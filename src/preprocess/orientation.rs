//! EXIF orientation: read from metadata, and applied as Pillow's `ImageOps.exif_transpose` does.
//!
//! Nothing is moved: an orientation is another order of walking over the same pixels.

use super::Decoded;

/// An image as it is to be seen.
pub(super) struct View<'a> {
    /// Width after orientation.
    pub width: u32,
    /// Height after orientation.
    pub height: u32,
    rgb: &'a [u8],
    origin: isize,
    step_x: isize,
    step_y: isize,
}

impl<'a> View<'a> {
    /// `decoded` under `orientation` (1 to 8; anything else is 1).
    pub(super) fn new(decoded: &'a Decoded, orientation: u8) -> Self {
        let (width, height) = (decoded.width as isize, decoded.height as isize);
        let (right, down) = (3, 3 * width);
        let (last_column, last_row) = ((width - 1) * right, (height - 1) * down);
        let (origin, step_x, step_y) = match orientation {
            2 => (last_column, -right, down),
            3 => (last_column + last_row, -right, -down),
            4 => (last_row, right, -down),
            5 => (0, down, right),
            6 => (last_row, -down, right),
            7 => (last_column + last_row, -down, -right),
            8 => (last_column, down, -right),
            _ => (0, right, down),
        };
        let turned = (5..=8).contains(&orientation);
        let (width, height) = if turned { (decoded.height, decoded.width) } else { (decoded.width, decoded.height) };
        Self { width, height, rgb: &decoded.rgb, origin, step_x, step_y }
    }

    /// The pixel in column `x` of row `y`.
    #[inline]
    pub(super) fn pixel(&self, x: u32, y: u32) -> &[u8; 3] {
        let at = (self.origin + x as isize * self.step_x + y as isize * self.step_y) as usize;
        self.rgb[at..].first_chunk().expect("within the image")
    }

    /// The pixels in this view's order, interleaved.
    pub(super) fn to_rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..self.height {
            for x in 0..self.width {
                rgb.extend_from_slice(self.pixel(x, y));
            }
        }
        rgb
    }
}

/// The orientation that `exif` (with or without its `Exif` prefix), or else `xmp`, names; 1 when neither does.
///
/// Pillow's `getexif`: XMP counts only where EXIF has no orientation.
pub(super) fn read(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> u8 {
    let value = exif.and_then(from_exif).or_else(|| xmp.and_then(from_xmp)).unwrap_or(1);
    if (1..=8).contains(&value) { value as u8 } else { 1 }
}

/// Tag 274 of the first directory of a TIFF structure.
fn from_exif(mut exif: &[u8]) -> Option<u16> {
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|index| directory + 2 + index * 12).find(|&at| short(at) == Some(274))?;
    match (short(entry + 2)?, long(entry + 4)?) {
        (1, 1) => exif.get(entry + 8).map(|&value| u16::from(value)),
        (3, 1) => short(entry + 8),
        (4, 1) => long(entry + 8).and_then(|value| u16::try_from(value).ok()),
        _ => None,
    }
}

/// The digit after the first `tiff:Orientation="` or `tiff:Orientation>`.
fn from_xmp(xmp: &[u8]) -> Option<u16> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut starts = (0..xmp.len().saturating_sub(NAME.len())).filter(|&at| xmp[at..].starts_with(NAME));
    starts.find_map(|at| {
        let rest = &xmp[at + NAME.len()..];
        let digit = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| u16::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_are_exif_transposes() {
        #[track_caller]
        fn check(orientation: u8, expected: &[&[u8]]) {
            let rgb = (1..=6).flat_map(|value| [value; 3]).collect();
            let decoded = Decoded { width: 3, height: 2, rgb, orientation };
            let view = View::new(&decoded, orientation);
            assert_eq!((view.height as usize, view.width as usize), (expected.len(), expected[0].len()));
            let seen: Vec<u8> = view.to_rgb().chunks_exact(3).map(|pixel| pixel[0]).collect();
            assert_eq!(seen, expected.concat());
        }
        check(1, &[&[1, 2, 3], &[4, 5, 6]]);
        check(2, &[&[3, 2, 1], &[6, 5, 4]]);
        check(3, &[&[6, 5, 4], &[3, 2, 1]]);
        check(4, &[&[4, 5, 6], &[1, 2, 3]]);
        check(5, &[&[1, 4], &[2, 5], &[3, 6]]);
        check(6, &[&[4, 1], &[5, 2], &[6, 3]]);
        check(7, &[&[6, 3], &[5, 2], &[4, 1]]);
        check(8, &[&[3, 6], &[2, 5], &[1, 4]]);
    }

    #[test]
    fn metadata_names_the_orientation() {
        #[track_caller]
        fn check(exif: Option<&[u8]>, xmp: Option<&[u8]>, expected: u8) {
            assert_eq!(read(exif, xmp), expected);
        }
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
        let attribute = b"<x tiff:Orientation=\"3\"/>";
        check(Some(big), None, 6);
        check(Some(little), Some(attribute), 8);
        check(None, Some(attribute), 3);
        check(None, Some(b"<tiff:Orientation>5</tiff:Orientation>"), 5);
        check(Some(b"MM\0*"), Some(attribute), 3);
        check(None, Some(b"tiff:Orientation=\"9\""), 1);
        check(None, None, 1);
        for length in 0..big.len() - 12 {
            check(Some(&big[..length]), None, 1);
        }
    }
}
