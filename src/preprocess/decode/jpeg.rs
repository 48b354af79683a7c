//! JPEG, by `zune-jpeg`; its markers are walked here first.
//!
//! The decoder fills what is missing of a truncated file with grey, where Pillow raises: so the end of the image is looked for
//! before anything is decoded, and bytes after it are not handed on.

use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{
    super::{Decoded, Format, Header, ImageError, MAX_IMAGE_SIDE, orientation},
    broken, unsupported,
};

const END_OF_IMAGE: u8 = 0xd9;
const APPLICATION_1: u8 = 0xe1;
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Width and height from the frame header.
pub(super) fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let mut markers = Markers::new(bytes);
    while let Some(segment) = markers.next()? {
        if let Some(size) = frame(&segment)? {
            return Ok(size);
        }
    }
    Err(broken(Format::Jpeg, "no frame header"))
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Decoded, ImageError> {
    let (mut exif, mut xmp) = (None, None);
    let mut markers = Markers::new(bytes);
    while let Some(segment) = markers.next()? {
        if segment.marker == APPLICATION_1 {
            if segment.data.starts_with(b"Exif\0\0") {
                exif = exif.or(Some(segment.data));
            } else if segment.data.starts_with(XMP) {
                xmp = xmp.or(Some(segment.data));
            }
        }
    }
    let side = MAX_IMAGE_SIDE as usize;
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(false)
        .set_max_width(side)
        .set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes[..markers.at]), options);
    let rgb = decoder.decode().map_err(|error| broken(Format::Jpeg, error))?;
    if rgb.len() != header.pixels() * 3 {
        return Err(broken(Format::Jpeg, "its frame headers disagree"));
    }
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: orientation::read(exif, xmp) })
}

/// Size of the image if `segment` is a frame header, of a kind that is decoded.
fn frame(segment: &Segment<'_>) -> Result<Option<(u32, u32)>, ImageError> {
    let kind = match segment.marker {
        0xc0..=0xc2 => None,
        0xc4 | 0xc8 | 0xcc => return Ok(None),
        0xc9 | 0xca => Some("arithmetic coding"),
        0xc3 | 0xc5..=0xcf => Some("lossless or hierarchical coding"),
        _ => return Ok(None),
    };
    if let Some(kind) = kind {
        return Err(unsupported(Format::Jpeg, kind));
    }
    let &[precision, h1, h0, w1, w0, components, ..] = segment.data else {
        return Err(broken(Format::Jpeg, "the frame header is cut short"));
    };
    if precision != 8 {
        return Err(unsupported(Format::Jpeg, format!("{precision}-bit samples")));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(unsupported(Format::Jpeg, format!("{components} components")));
    }
    Ok(Some((u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0])))))
}

struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
}

/// The segments from start to end of image, coded data skipped.
struct Markers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Markers<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// The next segment; `None` after the end of the image, where `at` then is.
    fn next(&mut self) -> Result<Option<Segment<'a>>, ImageError> {
        loop {
            let marker = self.marker().ok_or_else(|| broken(Format::Jpeg, "it ends before its end-of-image marker"))?;
            if marker == END_OF_IMAGE {
                return Ok(None);
            }
            if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
                continue;
            }
            return self.segment(marker).map(Some).ok_or_else(|| broken(Format::Jpeg, "a segment is cut short"));
        }
    }

    /// Skips to after the next marker: coded data holds none but restarts and stuffed zeros.
    fn marker(&mut self) -> Option<u8> {
        self.at += self.bytes.get(self.at..)?.iter().position(|&byte| byte == 0xff)?;
        self.at += self.bytes[self.at..].iter().position(|&byte| byte != 0xff)?;
        self.at += 1;
        Some(self.bytes[self.at - 1])
    }

    fn segment(&mut self, marker: u8) -> Option<Segment<'a>> {
        let rest = &self.bytes[self.at..];
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let data = rest.get(2..length)?;
        self.at += length;
        Some(Segment { marker, data })
    }
}
