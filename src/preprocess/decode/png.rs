//! PNG, by `png`, which is handed the chunks that make pixels and no other: nothing else is inflated.
//!
//! As Pillow has it, checksums count up to the pixels alone, and the file may end with the pixels' last byte.

use std::{borrow::Cow, io::Cursor, io::Read};

use ::png::{DecodeOptions, Decoder, InterlaceInfo, Limits, Reader, expand_interlaced_row};
use flate2::{Crc, read::ZlibDecoder};

use super::{
    super::{Cost, Decoded, Format, Header, ImageError, orientation},
    Bounds, Size, area, broken,
    pixels::{self, Palette},
};

/// Room for the decoder's window and rows, in bytes.
const DECODER_BYTES: usize = 16 << 20;

/// What the decoder usually holds of that, and an XMP packet.
const WINDOW_BYTES: u64 = 4 << 20;

/// As much of a compressed XMP packet as Pillow inflates.
const XMP_BYTES: u64 = 1 << 20;

const XMP: &[u8] = b"XML:com.adobe.xmp\0";

/// An end chunk.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Width and height from the header.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    let layout = Layout::read(bytes)?;
    Ok((layout.width, layout.height))
}

/// What decoding costs: samples as they are stored, and the pixels as RGB beside a copy of their data.
pub(super) fn cost(bytes: &[u8]) -> Result<Cost, ImageError> {
    let layout = Layout::read(bytes)?;
    let channels = match layout.color {
        0 | 3 => 1,
        2 => 3,
        4 => 2,
        _ => 4,
    };
    let pixels = area((layout.width, layout.height));
    let samples = pixels * channels * u64::from(layout.bits.div_ceil(8));
    // Each pass is expanded to its place.
    let samples = if layout.interlaced { samples + pixels * 3 } else { samples };
    Ok(Cost { samples, bytes: pixels * 3 + bytes.len() as u64 + WINDOW_BYTES })
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header, bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let layout = Layout::read(bytes)?;
    let parts = Parts::of(bytes)?;
    let pixels = |end| {
        let mut options = DecodeOptions::default();
        options.set_ignore_crc(true);
        options.set_ignore_adler32(false);
        let mut decoder = Decoder::new_with_options(Cursor::new(layout.image(&parts.data, end)), options);
        decoder.set_limits(Limits { bytes: DECODER_BYTES });
        layout.rgb(decoder.read_info().map_err(refuse)?, &parts.palette, header, bounds)
    };
    // The decoder gives its last rows when it sees what follows them, and with an end it asks for every byte of the checksum.
    let rgb = match pixels(END) {
        Err(error) if error != ImageError::Cancelled => pixels(&[]),
        outcome => outcome,
    }?;
    let orientation = orientation::read(parts.exif, parts.xmp.as_deref());
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation })
}

fn refuse(error: impl ToString) -> ImageError {
    broken(Format::Png, error)
}

/// What the header chunk says.
struct Layout {
    width: u32,
    height: u32,
    bits: u8,
    color: u8,
    interlaced: bool,
}

impl Layout {
    fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let first = chunks(bytes).next().filter(|chunk| chunk.kind == *b"IHDR");
        let chunk = first.ok_or_else(|| refuse("it does not start with a header chunk"))?;
        chunk.check()?;
        let &[w3, w2, w1, w0, h3, h2, h1, h0, bits, color, _, filter, interlace, ..] = chunk.data else {
            return Err(refuse("the header is cut short"));
        };
        let known = match color {
            0 => matches!(bits, 1 | 2 | 4 | 8 | 16),
            3 => matches!(bits, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(bits, 8 | 16),
            _ => false,
        };
        if !known || filter != 0 {
            return Err(refuse(format!("no such colour type: {color} of {bits} bits, filter method {filter}")));
        }
        let (width, height) = (u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]));
        Ok(Self { width, height, bits, color, interlaced: interlace != 0 })
    }

    /// A PNG of this layout with the pixels in `data`, and `end` behind them.
    fn image(&self, data: &[&[u8]], end: &[u8]) -> Vec<u8> {
        let size = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        let rest = [self.bits, self.color, 0, 0, u8::from(self.interlaced)];
        let stored: usize = data.iter().map(|data| data.len() + 12).sum();
        let mut image = Vec::with_capacity(stored + 64);
        image.extend_from_slice(b"\x89PNG\r\n\x1a\n");
        let header = [&size[..], &rest].concat();
        for (kind, data) in [(b"IHDR", &header[..])].into_iter().chain(data.iter().map(|data| (b"IDAT", *data))) {
            image.extend_from_slice(&(data.len() as u32).to_be_bytes());
            image.extend_from_slice(kind);
            image.extend_from_slice(data);
            image.extend_from_slice(&[0; 4]);
        }
        image.extend_from_slice(end);
        image
    }

    fn rgb(
        &self,
        mut reader: Reader<Cursor<Vec<u8>>>,
        palette: &Palette,
        header: &Header,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<u8>, ImageError> {
        let width = header.width as usize * 3;
        let mut rgb = vec![0; header.pixels() * 3];
        let length = reader.output_line_size(self.width).ok_or_else(|| refuse("its rows are too long"))?;
        let mut row = vec![0; length];
        if !self.interlaced {
            for out in rgb.chunks_exact_mut(width) {
                bounds.go_on()?;
                reader.read_row(&mut row).map_err(refuse)?.ok_or_else(|| refuse("it has too few rows"))?;
                self.convert(&row, palette, out);
            }
            return Ok(rgb);
        }
        let mut part = vec![0; width];
        for _ in 0..Self::passes(header) {
            bounds.go_on()?;
            let pass = reader.read_row(&mut row).map_err(refuse)?;
            let Some(InterlaceInfo::Adam7(pass)) = pass else { return Err(refuse("it has too few rows")) };
            self.convert(&row, palette, &mut part);
            expand_interlaced_row(&mut rgb, width, &part, &pass, 24);
        }
        Ok(rgb)
    }

    /// Rows of all passes of an interlaced image.
    fn passes(header: &Header) -> u32 {
        let passes = [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];
        let rows = |(left, top, step)| if left < header.width { header.height.saturating_sub(top).div_ceil(step) } else { 0 };
        passes.into_iter().map(rows).sum()
    }

    fn convert(&self, row: &[u8], palette: &Palette, out: &mut [u8]) {
        match (self.color, self.bits) {
            (0, 16) => pixels::grey(row.as_chunks().0.iter().map(|&value| pixels::clip(u16::from_be_bytes(value))), out),
            (0, bits) => pixels::grey(pixels::unpack(row, bits).map(|value| value * pixels::scale(bits)), out),
            (2, 8) => out.copy_from_slice(&row[..out.len()]),
            (2, _) => pixels::pick(row, 6, [0, 2, 4], out),
            (3, bits) => palette.colors(pixels::unpack(row, bits), out),
            (4, 8) => pixels::pick(row, 2, [0; 3], out),
            (4, _) => pixels::pick(row, 4, [0; 3], out),
            (_, 8) => pixels::pick(row, 4, [0, 1, 2], out),
            (_, _) => pixels::pick(row, 8, [0, 2, 4], out),
        }
    }
}

/// What of a file is used.
struct Parts<'a> {
    palette: Palette,
    data: Vec<&'a [u8]>,
    exif: Option<&'a [u8]>,
    xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut parts = Self { palette: Palette::new(std::iter::empty()), data: Vec::new(), exif: None, xmp: None };
        let (mut after, mut xmp) = (false, None);
        for chunk in chunks(bytes) {
            match &chunk.kind {
                b"IEND" => break,
                b"PLTE" if parts.data.is_empty() => {
                    chunk.check()?;
                    parts.palette = Palette::new(chunk.data.as_chunks().0.iter().copied());
                }
                b"IDAT" if !after => parts.data.push(chunk.data),
                b"eXIf" => parts.exif = Some(chunk.data),
                b"iTXt" => xmp = chunk.data.strip_prefix(XMP).or(xmp),
                _ => {}
            }
            // Pillow reads the chunks that follow one another.
            after = !parts.data.is_empty() && chunk.kind != *b"IDAT";
        }
        if parts.data.is_empty() {
            return Err(refuse("it has no pixel data"));
        }
        parts.xmp = xmp.and_then(packet);
        Ok(parts)
    }
}

/// The text after an XMP chunk's keyword.
fn packet(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (&[compressed, _], text) = text.split_first_chunk()?;
    let mut fields = text.splitn(3, |&byte| byte == 0);
    let text = fields.nth(2)?;
    if compressed == 0 {
        return Some(Cow::Borrowed(text));
    }
    let mut inflated = Vec::new();
    ZlibDecoder::new(text).take(XMP_BYTES).read_to_end(&mut inflated).ok()?;
    Some(Cow::Owned(inflated))
}

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    /// As stored; `None` where the file ends before it.
    crc: Option<u32>,
}

impl Chunk<'_> {
    fn check(&self) -> Result<(), ImageError> {
        let mut crc = Crc::new();
        crc.update(&self.kind);
        crc.update(self.data);
        if self.crc == Some(crc.sum()) { Ok(()) } else { Err(refuse("a checksum is wrong")) }
    }
}

/// The chunks of a file, up to its end; the last one's data may be cut short.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let length = (u32::from_be_bytes(*length) as usize).min(after.len());
        let (data, after) = after.split_at(length);
        let crc = after.first_chunk().map(|crc| u32::from_be_bytes(*crc));
        rest = after.get(4..).unwrap_or_default();
        Some(Chunk { kind: *kind, data, crc })
    })
}
