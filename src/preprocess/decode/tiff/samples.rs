//! What a TIFF's samples mean, and rows of them as RGB: the combinations of Pillow's `OPEN_INFO`.
//!
//! Knows no strips and no compression.

use super::{directory::Directory, odd, refuse, tag};
use crate::preprocess::{
    ImageError,
    decode::pixels::{self, Palette},
};

/// As many samples of a pixel as Pillow reads.
const MAX_SAMPLES: u32 = 6;

/// The samples of a pixel.
pub(super) struct Samples {
    /// How many a pixel has, extra ones included.
    pub count: usize,
    /// Bits of each.
    pub bits: u8,
    /// Whether these are luma and chroma, which JPEG itself undoes.
    pub luma_chroma: bool,
    little: bool,
    color: Color,
}

enum Color {
    Grey { inverted: bool },
    Palette(Box<Palette>),
    Rgb { premultiplied: bool },
    Cmyk,
}

impl Samples {
    pub fn of(directory: &Directory<'_>) -> Result<Self, ImageError> {
        let photometric = directory.value(tag::PHOTOMETRIC_INTERPRETATION, 0)?;
        let count = directory.value(tag::SAMPLES_PER_PIXEL, 1)?;
        if !(1..=MAX_SAMPLES).contains(&count) {
            return Err(odd(format!("{count} samples a pixel")));
        }
        let bits = bits(directory)?;
        let extra = directory.values(tag::EXTRA_SAMPLES)?.iter().next();
        let premultiplied = extra == Some(1);
        if directory.values(tag::SAMPLE_FORMAT)?.iter().any(|format| format != 1) {
            return Err(odd("signed or floating-point samples"));
        }
        let color = match (photometric, bits, count) {
            (0 | 1, 1 | 2 | 4 | 8, 1) => Color::Grey { inverted: photometric == 0 },
            (1, 16, 1) => Color::Grey { inverted: false },
            // Pillow reads 0 as black here, and only with the low byte first.
            (0, 16, 1) if directory.little => Color::Grey { inverted: false },
            (1, 8, 2) if !premultiplied => Color::Grey { inverted: false },
            (6, 8, 1) => Color::Grey { inverted: false },
            (2, 8, 3..) | (2, 16, 3..) => Color::Rgb { premultiplied: premultiplied && count > 3 },
            (3, 1 | 2 | 4 | 8, 1) | (3, 8, 2) => Color::Palette(Box::new(palette(directory)?)),
            (5, 8 | 16, 4..) => Color::Cmyk,
            (6, 8, 3) => Color::Rgb { premultiplied: false },
            _ => return Err(odd(format!("{count} samples of {bits} bits as {}", name(photometric)))),
        };
        let luma_chroma = photometric == 6 && count == 3;
        Ok(Self { count: count as usize, bits, luma_chroma, little: directory.little, color })
    }

    /// How many of the samples make the colour.
    pub fn used(&self) -> usize {
        match self.color {
            Color::Grey { .. } | Color::Palette(_) => 1,
            Color::Rgb { premultiplied: false } => 3,
            Color::Rgb { premultiplied: true } | Color::Cmyk => 4,
        }
    }

    /// `row`'s pixels as RGB, as many as `out` has room for.
    pub fn convert(&self, row: &[u8], out: &mut [u8]) {
        // Of 16 bits Pillow takes the high byte, but for grey.
        let (size, high) = (usize::from(self.bits / 8), usize::from(self.bits == 16 && self.little));
        let at = |sample: usize| sample * size + high;
        let pixel = self.count * size;
        match &self.color {
            Color::Grey { .. } if self.bits == 16 => {
                let number = if self.little { u16::from_le_bytes } else { u16::from_be_bytes };
                pixels::grey(row.as_chunks().0.iter().map(|&value| pixels::clip(number(value))), out);
            }
            Color::Grey { inverted } => {
                let (scale, mask) = (pixels::scale(self.bits), if *inverted { 255 } else { 0 });
                pixels::grey(self.first(row).map(|value| (value * scale) ^ mask), out);
            }
            Color::Palette(palette) => palette.colors(self.first(row), out),
            Color::Rgb { premultiplied: false } => pixels::pick(row, pixel, [0, 1, 2].map(at), out),
            Color::Rgb { premultiplied: true } => pixels::unmultiply(row, pixel, [0, 1, 2, 3].map(at), out),
            Color::Cmyk => pixels::cmyk(row, pixel, [0, 1, 2, 3].map(at), out),
        }
    }

    /// The first sample of each pixel, of up to 8 bits.
    fn first(&self, row: &[u8]) -> impl Iterator<Item = u8> {
        pixels::unpack(row, self.bits).step_by(self.count)
    }
}

fn bits(directory: &Directory<'_>) -> Result<u8, ImageError> {
    let mut all = directory.values(tag::BITS_PER_SAMPLE)?.iter();
    let first = all.next().unwrap_or(1);
    if all.any(|bits| bits != first) {
        return Err(odd("samples of unequal numbers of bits"));
    }
    u8::try_from(first).map_err(|_| odd(format!("samples of {first} bits")))
}

/// The high bytes of the colour map, which has all reds first.
fn palette(directory: &Directory<'_>) -> Result<Palette, ImageError> {
    let map = directory.values(tag::COLOR_MAP)?;
    let length = map.iter().count() / 3;
    if length == 0 {
        return Err(refuse("it has no colour map"));
    }
    let level = |index| map.get(index).map_or(0, |level| (level >> 8) as u8);
    Ok(Palette::new((0..length).map(|index| [0, 1, 2].map(|channel| level(channel * length + index)))))
}

fn name(photometric: u32) -> String {
    match photometric {
        0 | 1 => "grey".to_owned(),
        2 => "RGB".to_owned(),
        3 => "palette".to_owned(),
        5 => "CMYK".to_owned(),
        6 => "YCbCr".to_owned(),
        8..=10 => "L*a*b*".to_owned(),
        other => format!("photometric interpretation {other}"),
    }
}
