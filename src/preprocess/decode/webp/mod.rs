//! WebP, by `image-webp`: the first frame on the canvas, as Pillow shows it.
//!
//! The decoder is handed that frame's picture as a file of its own: no alpha, profile or later frame is read, and a picture
//! larger than its frame, or with more prefix codes than memory allows, is refused before it is decoded.

mod codes;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{
    super::{Cost, Decoded, Format, Header, ImageError, orientation},
    Bounds, Size, area, broken, pixels,
};

/// Bytes of a RIFF header and a chunk's header.
const CONTAINER: usize = 12;
const CHUNK: usize = 8;

/// Bytes that a pixel takes to decode: four of samples, three of RGB, and less than one of what describes transforms.
const PIXEL_BYTES: u64 = 8;

/// Width and height from the first chunk.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    let (kind, data) = chunks(bytes.get(CONTAINER..).unwrap_or_default()).next().ok_or_else(|| refuse("it has no chunk"))?;
    if kind == *b"VP8X" {
        let (Some(width), Some(height)) = (triple(data, 4), triple(data, 7)) else {
            return Err(refuse("its header is cut short"));
        };
        return Ok((width + 1, height + 1));
    }
    picture_size(kind, data)
}

/// What decoding costs: the first frame, its prefix codes, counted up to `limit` bytes, and the canvas.
pub(super) fn cost(bytes: &[u8], size: Size, limit: u64) -> Result<Cost, ImageError> {
    let frame = Frame::first(whole(bytes)?, size)?;
    let picture = area((frame.width, frame.height));
    let mut held = picture * PIXEL_BYTES;
    if (frame.width, frame.height) != size {
        held = held.max((picture + area(size)) * 3);
    }
    let transforms = if frame.kind == *b"VP8L" {
        let codes = codes::bytes(frame.data, (frame.width, frame.height), limit.saturating_sub(held));
        held += codes.ok_or_else(|| refuse("its prefix codes are damaged or cut short"))?;
        2
    } else {
        1
    };
    Ok(Cost { samples: picture * 4 * transforms + area(size), bytes: held + bytes.len() as u64 })
}

/// Decodes to RGB. Outside of the first frame is black.
pub(super) fn decode(bytes: &[u8], header: &Header, bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let whole = whole(bytes)?;
    let frame = Frame::first(whole, (header.width, header.height))?;
    let mut rgb = frame.decode()?;
    bounds.go_on()?;
    if (frame.width, frame.height) != (header.width, header.height) {
        let picture = std::mem::replace(&mut rgb, vec![0; header.pixels() * 3]);
        let (row, left) = (frame.width as usize * 3, frame.left as usize * 3);
        let lines = rgb.chunks_exact_mut(header.width as usize * 3).skip(frame.top as usize);
        for (line, picture) in lines.zip(picture.chunks_exact(row)) {
            line[left..left + row].copy_from_slice(picture);
        }
    }
    let find = |wanted: &[u8; 4]| chunks(whole).find(|(kind, _)| kind == wanted).map(|(_, data)| data);
    let orientation = orientation::read(find(b"EXIF"), find(b"XMP "));
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation })
}

fn refuse(error: impl ToString) -> ImageError {
    broken(Format::WebP, error)
}

/// The chunks of a file that is not cut short.
fn whole(bytes: &[u8]) -> Result<&[u8], ImageError> {
    let declared =
        bytes.get(4..8).and_then(|length| length.first_chunk()).map_or(0, |length| u32::from_le_bytes(*length) as usize);
    bytes.get(CONTAINER..declared.saturating_add(8)).ok_or_else(|| refuse("it is cut short"))
}

/// Where the first picture lies on the canvas, and its chunk.
struct Frame<'a> {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    kind: [u8; 4],
    data: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Of the chunks `whole`, on a canvas of `size`.
    fn first(whole: &'a [u8], size: Size) -> Result<Self, ImageError> {
        let is_frame = |(kind, _): &([u8; 4], &[u8])| matches!(kind, b"VP8 " | b"VP8L" | b"ANMF");
        let missing = || refuse("it has no picture");
        let (kind, data) = chunks(whole).find(is_frame).ok_or_else(missing)?;
        let frame = if kind == *b"ANMF" {
            let place = [0, 3, 6, 9].map(|at| triple(data, at));
            let [Some(left), Some(top), Some(width), Some(height)] = place else { return Err(refuse("its frame is cut short")) };
            let (kind, data) = chunks(data.get(16..).unwrap_or_default()).find(is_frame).ok_or_else(missing)?;
            Self { left: left * 2, top: top * 2, width: width + 1, height: height + 1, kind, data }
        } else {
            Self { left: 0, top: 0, width: size.0, height: size.1, kind, data }
        };
        if frame.left + frame.width > size.0 || frame.top + frame.height > size.1 {
            return Err(refuse("its first frame does not lie on the canvas"));
        }
        if picture_size(frame.kind, frame.data)? != (frame.width, frame.height) {
            return Err(refuse("its picture is not of the size that its header says"));
        }
        Ok(frame)
    }

    fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    fn decode(&self) -> Result<Vec<u8>, ImageError> {
        let length = self.data.len() as u32;
        let mut file = Vec::with_capacity(CONTAINER + CHUNK + self.data.len() + 1);
        file.extend_from_slice(b"RIFF");
        file.extend_from_slice(&(length + 12).next_multiple_of(2).to_le_bytes());
        file.extend_from_slice(b"WEBP");
        file.extend_from_slice(&self.kind);
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(self.data);
        if !length.is_multiple_of(2) {
            file.push(0);
        }
        let pixels = self.pixels();
        let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(refuse)?;
        decoder.set_memory_limit(pixels * 4);
        let channels = if decoder.has_alpha() { 4 } else { 3 };
        let mut samples = vec![0; pixels * channels];
        decoder.read_image(&mut samples).map_err(refuse)?;
        if channels == 3 {
            return Ok(samples);
        }
        let mut rgb = vec![0; pixels * 3];
        pixels::pick(&samples, 4, [0, 1, 2], &mut rgb);
        Ok(rgb)
    }
}

/// Width and height that a picture's own chunk says.
fn picture_size(kind: [u8; 4], data: &[u8]) -> Result<Size, ImageError> {
    let size = match (&kind, data) {
        (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) => {
            let side = |low: &u8, high: &u8| u32::from(u16::from_le_bytes([*low, *high]) & 0x3fff);
            Some((side(w0, w1), side(h0, h1)))
        }
        (b"VP8L", [0x2f, b0, b1, b2, b3, ..]) => {
            let packed = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1))
        }
        _ => None,
    };
    size.ok_or_else(|| refuse("its header is damaged"))
}

/// The chunks in `rest`; the data of one that is cut short end with it.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (data, after) = after.split_at(length.min(after.len()));
        rest = after.get(length % 2..).unwrap_or_default();
        Some((*kind, data))
    })
}

fn triple(data: &[u8], at: usize) -> Option<u32> {
    let &[low, middle, high] = data.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes([low, middle, high, 0]))
}
