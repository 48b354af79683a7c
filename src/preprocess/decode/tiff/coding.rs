//! A strip's or tile's bytes, with compression, predictor and bit order undone.
//!
//! Every coding writes into a buffer of the size that the directory gives, and no further.

use std::{borrow::Cow, io::Read};

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, decode::Decoder};

use super::{directory::Directory, odd, refuse, samples::Samples, tag};
use crate::preprocess::{
    ImageError,
    decode::{Bounds, STEP, jpeg, lzw},
};

enum Method {
    Raw,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

/// How the page's strips are stored.
pub(super) struct Coding<'a> {
    method: Method,
    /// Samples of a pixel that lie side by side.
    samples: usize,
    bits: u8,
    little: bool,
    differences: bool,
    reversed: bool,
    luma_chroma: bool,
    tables: &'a [u8],
    /// Rows of a whole strip or tile.
    chunk_rows: usize,
}

/// What it costs to begin a JPEG, or what is compressed otherwise, however small, as bytes that could be read meanwhile.
const JPEG_BYTES: usize = 16 << 10;
const START_BYTES: usize = 2 << 10;

impl<'a> Coding<'a> {
    pub fn of(directory: &Directory<'a>, samples: &Samples, planar: bool, chunk_rows: usize) -> Result<Self, ImageError> {
        let compression = directory.value(tag::COMPRESSION, 1)?;
        let method = match compression {
            1 => Method::Raw,
            5 => Method::Lzw,
            7 if samples.bits == 8 && matches!(samples.count, 1 | 3 | 4) => Method::Jpeg,
            8 | 32946 => Method::Deflate,
            32773 => Method::PackBits,
            _ => return Err(odd(format!("{} of {} samples of {} bits", name(compression), samples.count, samples.bits))),
        };
        if planar && samples.bits != 8 {
            return Err(odd(format!("separate planes of {} bits", samples.bits)));
        }
        if samples.luma_chroma && (planar || !matches!(method, Method::Jpeg)) {
            return Err(odd("YCbCr other than JPEG's"));
        }
        let predictor = if matches!(method, Method::Lzw | Method::Deflate) { directory.value(tag::PREDICTOR, 1)? } else { 1 };
        if !matches!((predictor, samples.bits), (1, _) | (2, 8 | 16)) {
            return Err(odd(format!("predictor {predictor} on samples of {} bits", samples.bits)));
        }
        Ok(Self {
            method,
            samples: if planar { 1 } else { samples.count },
            bits: samples.bits,
            little: directory.little,
            differences: predictor == 2,
            reversed: directory.value(tag::FILL_ORDER, 1)? == 2,
            luma_chroma: samples.luma_chroma,
            tables: directory.values(tag::JPEG_TABLES)?.data,
            chunk_rows,
        })
    }

    /// Whether pixels are stored as they are, so that the directory need not say how many bytes they take.
    pub fn is_raw(&self) -> bool {
        matches!(self.method, Method::Raw)
    }

    /// Bytes of a row of `width` pixels.
    pub fn row_bytes(&self, width: usize) -> usize {
        (width * self.samples * usize::from(self.bits)).div_ceil(8)
    }

    /// How many bytes it takes to read a strip or tile that is stored like this.
    pub fn cost(&self, stored: &[u8]) -> u64 {
        let bytes = match self.method {
            Method::Jpeg => stored.len() + self.tables.len() + JPEG_BYTES,
            // What is read ends with the last row.
            Method::Raw => 1,
            _ => stored.len() + START_BYTES,
        };
        bytes as u64
    }

    /// Bytes that a strip or tile of `width` by `rows` pixels takes beside what is stored.
    pub fn held(&self, width: usize, rows: usize) -> u64 {
        match self.method {
            Method::Raw if !self.reversed => 0,
            _ => (self.row_bytes(width) * rows) as u64,
        }
    }

    /// The first `rows` rows of a strip or tile that is `width` pixels wide.
    pub fn undo<'s>(
        &self,
        stored: &'s [u8],
        width: usize,
        rows: usize,
        bounds: &Bounds<'_>,
    ) -> Result<Cow<'s, [u8]>, ImageError> {
        bounds.go_on()?;
        if matches!(self.method, Method::Jpeg) {
            return self.jpeg(stored, width, rows, bounds).map(Cow::from);
        }
        let row_bytes = self.row_bytes(width);
        let bytes = row_bytes * rows;
        let damaged = || refuse("a strip is damaged or too short");
        let stored = if self.is_raw() { stored.get(..bytes).ok_or_else(damaged)? } else { stored };
        let stored: Cow<'_, [u8]> =
            if self.reversed { stored.iter().map(|byte| byte.reverse_bits()).collect() } else { stored.into() };
        if self.is_raw() {
            return Ok(stored);
        }
        let mut out = vec![0; bytes];
        let filled = match self.method {
            Method::Lzw => {
                let decoder = Decoder::with_tiff_size_switch(BitOrder::Msb, 8);
                lzw::fill((decoder, 8), &stored, &mut out, bounds)?.map_err(refuse)?.then_some(())
            }
            Method::PackBits => unpack_bits(&stored, &mut out),
            _ => {
                let mut inflated = ZlibDecoder::new(&stored[..]);
                for part in out.chunks_mut(STEP) {
                    bounds.go_on()?;
                    inflated.read_exact(part).map_err(|_| damaged())?;
                }
                // What follows the last pixel is the checksum.
                inflated.read(&mut [0]).map(drop).ok()
            }
        };
        filled.ok_or_else(damaged)?;
        if self.differences {
            out.chunks_exact_mut(row_bytes).for_each(|row| self.add(row));
        }
        Ok(out.into())
    }

    /// Undoes differences between neighbouring pixels.
    fn add(&self, row: &mut [u8]) {
        if self.bits == 8 {
            for at in self.samples..row.len() {
                row[at] = row[at].wrapping_add(row[at - self.samples]);
            }
            return;
        }
        let number = if self.little { u16::from_le_bytes } else { u16::from_be_bytes };
        let bytes = if self.little { u16::to_le_bytes } else { u16::to_be_bytes };
        let (row, _) = row.as_chunks_mut();
        for at in self.samples..row.len() {
            row[at] = bytes(number(row[at]).wrapping_add(number(row[at - self.samples])));
        }
    }

    fn jpeg(&self, stored: &[u8], width: usize, rows: usize, bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
        let file = self.interchange(stored).ok_or_else(|| refuse("a strip is no JPEG"))?;
        let (wide, high) = jpeg::size(&file).map_err(refuse)?;
        // A last strip may go on below the image, as tiles do.
        if wide as usize != width || !(rows..=self.chunk_rows).contains(&(high as usize)) {
            return Err(refuse(format!("a JPEG of {wide} × {high} pixels in a strip of {width} × {rows}")));
        }
        let mut samples = jpeg::samples(&file, bounds).map_err(|error| match error {
            ImageError::Cancelled => error,
            error => refuse(error),
        })?;
        if samples.len() != width * high as usize * self.samples {
            return Err(refuse(format!("a JPEG whose components are not the {} samples of a pixel", self.samples)));
        }
        samples.truncate(self.row_bytes(width) * rows);
        Ok(samples)
    }

    /// A whole JPEG from the tables that strips share and what one of them has besides, with a marker that says what its samples
    /// are: the directory decides that, and no marker of the strip's own.
    fn interchange(&self, stored: &[u8]) -> Option<Vec<u8>> {
        let mut file = vec![0xff, 0xd8];
        if self.samples > 1 {
            file.extend_from_slice(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
            file.push(u8::from(self.luma_chroma));
        }
        for mut rest in [self.tables, stored] {
            rest = rest.strip_prefix(b"\xff\xd8").unwrap_or_default();
            while let [0xff, marker, after @ ..] = rest {
                let length = match marker {
                    0xff => 1,
                    0xd8 | 0xd9 => 2,
                    0xda => rest.len(),
                    _ => usize::from(u16::from_be_bytes(*after.first_chunk()?)) + 2,
                };
                let (segment, after) = rest.split_at_checked(length)?;
                if !matches!(marker, 0xd8 | 0xd9 | 0xe0 | 0xee | 0xff) {
                    file.extend_from_slice(segment);
                }
                rest = after;
            }
        }
        // A strip may end with its data: libtiff puts the mark behind it.
        if !file.ends_with(END) {
            file.extend_from_slice(END);
        }
        Some(file)
    }
}

/// JPEG's mark at its end.
const END: &[u8] = b"\xff\xd9";

/// Runs of equal bytes and of others, each with its length before it.
fn unpack_bits(mut stored: &[u8], mut out: &mut [u8]) -> Option<()> {
    while !out.is_empty() {
        let (&length, rest) = stored.split_first()?;
        stored = rest;
        match length as i8 {
            -128 => {}
            length @ 0.. => {
                let count = (length as usize + 1).min(out.len());
                let (literal, rest) = stored.split_at_checked(count)?;
                let (to, after) = out.split_at_mut(count);
                to.copy_from_slice(literal);
                (stored, out) = (rest, after);
            }
            length => {
                let (&value, rest) = stored.split_first()?;
                let count = (1 - isize::from(length)) as usize;
                let (to, after) = out.split_at_mut(count.min(out.len()));
                to.fill(value);
                (stored, out) = (rest, after);
            }
        }
    }
    Some(())
}

fn name(compression: u32) -> String {
    match compression {
        2..=4 => format!("fax compression {compression}"),
        6 => "old-style JPEG compression".to_owned(),
        7 => "JPEG compression".to_owned(),
        34712 => "JPEG 2000 compression".to_owned(),
        34925 => "LZMA compression".to_owned(),
        50000 => "Zstandard compression".to_owned(),
        50001 => "WebP compression".to_owned(),
        other => format!("compression {other}"),
    }
}
