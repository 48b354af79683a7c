//! BMP, as Pillow reads it: every header, 1 to 32 bits a pixel, run lengths, and the masks that it knows.
//!
//! Rows and runs are read here, with Pillow's own scaling of 5 and 6 bits.

use super::{
    super::{Cost, Decoded, Format, Header, ImageError},
    Bounds, Size, area, broken,
    pixels::{self, Palette},
    unsupported,
};

/// Bytes before the header proper.
const FILE_HEADER: usize = 14;

/// Width and height from the header.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    let layout = Layout::read(bytes)?;
    Ok((layout.width, layout.height))
}

/// What decoding costs: RGB, and an index for each pixel where they are run lengths.
pub(super) fn cost(size: Size) -> Result<Cost, ImageError> {
    Ok(Cost { samples: area(size) * 3, bytes: area(size) * 4 })
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header, bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let layout = Layout::read(bytes)?;
    let samples = layout.samples(bytes)?;
    let row = header.width as usize * 3;
    let mut rgb = vec![0; header.pixels() * 3];
    if layout.compression == Compression::None {
        let (used, data) = (layout.row_bytes(), bytes.get(layout.data..).unwrap_or_default());
        // The last row need not be padded.
        let mut rows = data.chunks(used.next_multiple_of(4)).map_while(|row| row.get(..used));
        let mut read = |out: &mut [u8]| rows.next().map(|row| samples.convert(row, out)).ok_or_else(|| refuse("it is cut short"));
        layout.each_row(&mut rgb, row, &mut read, bounds)?;
    } else {
        let indices = layout.runs(bytes)?;
        let mut rows = indices.chunks_exact(header.width as usize);
        let mut read =
            |out: &mut [u8]| rows.next().map(|row| samples.convert(row, out)).ok_or_else(|| refuse("it has too few pixels"));
        layout.each_row(&mut rgb, row, &mut read, bounds)?;
    }
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: 1 })
}

fn refuse(error: impl ToString) -> ImageError {
    broken(Format::Bmp, error)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Runs8,
    Runs4,
}

/// What the header says.
struct Layout {
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    compression: Compression,
    /// Red, green, blue and alpha, if the header has masks.
    masks: Option<[u32; 4]>,
    /// How many colours there are, and where: in 3 bytes each, or 4.
    colors: (usize, usize, usize),
    /// Where the pixels start.
    data: usize,
}

impl Layout {
    fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::parse(bytes).ok_or_else(|| refuse("its header is cut short"))?
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, ImageError>> {
        let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = long(FILE_HEADER)?;
        let core = header == 12;
        if !matches!(header, 12 | 40 | 52 | 56 | 64 | 108 | 124) {
            return Some(Err(refuse(format!("no such header: {header} bytes long"))));
        }
        let end = FILE_HEADER + header as usize;
        bytes.get(..end)?;
        let (width, height) = if core { (short(18)?.into(), short(20)?.into()) } else { (long(18)?, long(22)?) };
        let top_down = !core && bytes[25] == 0xff;
        let (bits, method) = if core { (short(24)?, 0) } else { (short(28)?, long(30)?) };
        let (compression, masked) = match method {
            0 => (Compression::None, false),
            1 if bits <= 8 => (Compression::Runs8, false),
            2 if bits <= 8 => (Compression::Runs4, false),
            3 => (Compression::None, true),
            _ => return Some(Err(unsupported(Format::Bmp, format!("compression {method}")))),
        };
        let masks = if masked { Some([long(54)?, long(58)?, long(62)?, if header >= 56 { long(66)? } else { 0 }]) } else { None };
        let after = if masked { end.max(66) } else { end };
        let entry = if core { 3 } else { 4 };
        let declared = if core { 0 } else { long(46)? as usize };
        let count = if bits > 8 {
            0
        } else if declared == 0 {
            1 << bits
        } else {
            declared
        };
        let data = match long(10)? as usize {
            0 => after + entry * count,
            // Some writers leave the colours out of the offset.
            offset if offset == end => end + entry * count,
            offset => offset,
        };
        let height = if top_down { height.wrapping_neg() } else { height };
        Some(Ok(Self { width, height, top_down, bits, compression, masks, colors: (count, after, entry), data }))
    }

    fn row_bytes(&self) -> usize {
        (self.width as usize * usize::from(self.bits)).div_ceil(8)
    }

    /// Calls `read` with each row of `rgb`, in the order of the file.
    fn each_row(
        &self,
        rgb: &mut [u8],
        row: usize,
        read: &mut dyn FnMut(&mut [u8]) -> Result<(), ImageError>,
        bounds: &Bounds<'_>,
    ) -> Result<(), ImageError> {
        let mut rows = rgb.chunks_exact_mut(row);
        let mut read = |out: &mut [u8]| bounds.go_on().and_then(|()| read(out));
        if self.top_down { rows.try_for_each(&mut read) } else { rows.rev().try_for_each(&mut read) }
    }

    fn samples(&self, bytes: &[u8]) -> Result<Samples, ImageError> {
        let odd = |what: String| Err(unsupported(Format::Bmp, what));
        Ok(match (self.bits, self.masks) {
            (1 | 4 | 8, None) => {
                let (count, at, entry) = self.colors;
                let colors = bytes.get(at..).unwrap_or_default().chunks_exact(entry).take(count);
                let colors = colors.map(|color| [color[2], color[1], color[0]]);
                let is_ramp = count > 2
                    && (0..=u8::MAX).zip(colors.clone()).filter(|(level, color)| *color == [*level; 3]).count() == count;
                let palette = if is_ramp { Palette::grey_ramp() } else { Palette::new(colors) };
                let bits = if self.compression == Compression::None { self.bits as u8 } else { 8 };
                Samples::Palette(Box::new(palette), bits)
            }
            (16, None | Some([0x7c00, 0x3e0, 0x1f, _])) => Samples::Packed(5),
            (16, Some([0xf800, 0x7e0, 0x1f, _])) => Samples::Packed(6),
            (24, None | Some([0xff_0000, 0xff00, 0xff, _])) => Samples::Bytes(3, [2, 1, 0]),
            (32, None) => Samples::Bytes(4, [2, 1, 0]),
            (32, Some(masks)) => match masks {
                [0xff_0000, 0xff00, 0xff, 0 | 0xff00_0000] | [0, 0, 0, 0] => Samples::Bytes(4, [2, 1, 0]),
                [0xff00_0000, 0xff_0000, 0xff00, 0 | 0xff] => Samples::Bytes(4, [3, 2, 1]),
                [0xff00_0000, 0xff00, 0xff, 0 | 0xff_0000] => Samples::Bytes(4, [3, 1, 0]),
                [0xff, 0xff00, 0xff_0000, 0xff00_0000] => Samples::Bytes(4, [0, 1, 2]),
                masks => return odd(format!("masks {masks:x?}")),
            },
            (bits, Some(masks)) => return odd(format!("masks {masks:x?} of {bits} bits")),
            (bits, None) => return odd(format!("{bits} bits a pixel")),
        })
    }

    /// The indices of run lengths, a byte each.
    fn runs(&self, bytes: &[u8]) -> Result<Vec<u8>, ImageError> {
        let (width, total) = (self.width as usize, self.width as usize * self.height as usize);
        let nibbles = self.compression == Compression::Runs4;
        let mut indices = Vec::with_capacity(total + usize::from(u8::MAX));
        let (mut at, mut column) = (self.data, 0);
        while indices.len() < total {
            let Some(&[count, value]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
            at += 2;
            match (usize::from(count), value) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(width), 0);
                    column = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let Some(&[right, up]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
                    at += 2;
                    let skipped = usize::from(right) + usize::from(up) * width;
                    indices.resize(total.min(indices.len() + skipped), 0);
                    column = indices.len() % width;
                }
                (0, count) => {
                    let wanted = usize::from(count).min(total - indices.len());
                    let length = if nibbles { wanted.div_ceil(2) } else { wanted };
                    let Some(stored) = bytes.get(at..at + length) else { break };
                    indices.extend(pixels::unpack(stored, if nibbles { 4 } else { 8 }).take(wanted));
                    column += usize::from(count);
                    // Pillow aligns to the file, not to the pixels.
                    at = (at + length).next_multiple_of(2);
                }
                (count, value) => {
                    let count = count.min(width.saturating_sub(column));
                    let pair = if nibbles { [value >> 4, value & 15] } else { [value; 2] };
                    indices.extend(pair.iter().cycle().take(count));
                    column += count;
                }
            }
        }
        Ok(indices)
    }
}

/// How a row's bytes are pixels.
enum Samples {
    /// Indices of so many bits.
    Palette(Box<Palette>, u8),
    /// 16 bits, of which so many are green.
    Packed(u32),
    /// Pixels of so many bytes, and where their colours are.
    Bytes(usize, [usize; 3]),
}

impl Samples {
    fn convert(&self, row: &[u8], out: &mut [u8]) {
        match self {
            Self::Palette(palette, bits) => palette.colors(pixels::unpack(row, *bits), out),
            Self::Packed(green) => {
                let highest = (1 << green) - 1;
                for (rgb, pixel) in out.chunks_exact_mut(3).zip(row.as_chunks().0) {
                    let pixel = u32::from(u16::from_le_bytes(*pixel));
                    let scaled = |value: u32, highest: u32| ((value & highest) * 255 / highest) as u8;
                    rgb.copy_from_slice(&[scaled(pixel >> (5 + green), 31), scaled(pixel >> 5, highest), scaled(pixel, 31)]);
                }
            }
            Self::Bytes(size, offsets) => pixels::pick(row, *size, *offsets, out),
        }
    }
}
