//! GIF: the first frame on the canvas, as Pillow shows it; `weezl` undoes the compression.
//!
//! What is not the first frame is skipped block by block.

use weezl::{BitOrder, decode::Decoder};

use super::{
    super::{Cost, Decoded, Format, Header, ImageError},
    Bounds, Size, area, broken, lzw,
    pixels::Palette,
};

/// Width and height of the canvas, which grows to hold the first frame.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    let frame = Frame::first(bytes)?;
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    Ok((frame.screen.0.max(right) as u32, frame.screen.1.max(bottom) as u32))
}

/// What decoding costs: the frame's indices and a copy of their data, the canvas, and RGB.
pub(super) fn cost(bytes: &[u8], size: Size) -> Result<Cost, ImageError> {
    let frame = Frame::first(bytes)?;
    let indices = (frame.width * frame.height) as u64;
    Ok(Cost { samples: indices + area(size) * 3, bytes: indices + area(size) * 4 + bytes.len() as u64 })
}

/// Decodes to RGB. Outside of the frame is the transparent colour, or colour 0.
pub(super) fn decode(bytes: &[u8], header: &Header, bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let frame = Frame::first(bytes)?;
    let indices = frame.indices(bounds)?;
    let width = header.width as usize;
    let mut canvas = vec![frame.transparent.unwrap_or(0); header.pixels()];
    for (source, row) in indices.chunks_exact(frame.width.max(1)).zip(frame.rows()) {
        canvas[(frame.top + row) * width + frame.left..][..frame.width].copy_from_slice(source);
    }
    let palette = frame.palette.map_or_else(Palette::grey_ramp, |colors| Palette::new(colors.as_chunks().0.iter().copied()));
    let mut rgb = vec![0; header.pixels() * 3];
    palette.colors(canvas.into_iter(), &mut rgb);
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: 1 })
}

fn refuse(error: impl ToString) -> ImageError {
    broken(Format::Gif, error)
}

/// The first frame, and where it lies on the screen.
struct Frame<'a> {
    screen: (usize, usize),
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    interlaced: bool,
    transparent: Option<u8>,
    palette: Option<&'a [u8]>,
    /// From the size of the codes on.
    data: &'a [u8],
}

impl<'a> Frame<'a> {
    fn first(bytes: &'a [u8]) -> Result<Self, ImageError> {
        Self::read(bytes).ok_or_else(|| refuse("it has no frame"))
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[w0, w1, h0, h1, flags, _, _], rest) = bytes.get(6..)?.split_first_chunk()?;
        let number = |low, high| usize::from(u16::from_le_bytes([low, high]));
        let (global, mut rest) = colors(flags, rest)?;
        let mut transparent = None;
        loop {
            let (&kind, after) = rest.split_first()?;
            rest = match kind {
                b'!' => {
                    let (&label, blocks) = after.split_first()?;
                    if let (0xf9, [4, flags, _, _, index, ..]) = (label, blocks) {
                        transparent = (flags & 1 == 1).then_some(*index).or(transparent);
                    }
                    after_blocks(blocks)?
                }
                b',' => {
                    let (&[x0, x1, y0, y1, fw0, fw1, fh0, fh1, flags], after) = after.split_first_chunk()?;
                    let (local, data) = colors(flags, after)?;
                    return Some(Self {
                        screen: (number(w0, w1), number(h0, h1)),
                        left: number(x0, x1),
                        top: number(y0, y1),
                        width: number(fw0, fw1),
                        height: number(fh0, fh1),
                        interlaced: flags & 0x40 != 0,
                        transparent,
                        palette: local.filter(|colors| !is_ramp(colors)).or(global.filter(|colors| !is_ramp(colors))),
                        data,
                    });
                }
                b';' => return None,
                // Pillow passes over bytes that start no block.
                _ => after,
            };
        }
    }

    /// The frame's indices, in the order of the file.
    fn indices(&self, bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
        let (&bits, mut rest) = self.data.split_first().ok_or_else(|| refuse("it is cut short"))?;
        if !(1..=12).contains(&bits) {
            return Err(refuse(format!("codes of {bits} bits")));
        }
        let mut stored = Vec::with_capacity(rest.len());
        while let Some((block, after)) = block(rest).filter(|(block, _)| !block.is_empty()) {
            stored.extend_from_slice(block);
            rest = after;
        }
        let mut indices = vec![0; self.width * self.height];
        let full = lzw::fill((Decoder::new(BitOrder::Lsb, bits), bits), &stored, &mut indices, bounds)?.map_err(refuse)?;
        if full { Ok(indices) } else { Err(refuse("it has too few pixels")) }
    }

    /// Where the rows of the file lie in the frame.
    fn rows(&self) -> impl Iterator<Item = usize> {
        let height = self.height;
        let passes: &[(usize, usize)] = if self.interlaced { &[(0, 8), (4, 8), (2, 4), (1, 2)] } else { &[(0, 1)] };
        passes.iter().flat_map(move |&(first, step)| (first..height).step_by(step))
    }
}

/// Whether each colour is its index as a grey: Pillow takes the indices themselves then, those beyond the table too.
fn is_ramp(colors: &[u8]) -> bool {
    colors.as_chunks::<3>().0.iter().enumerate().all(|(index, color)| color.iter().all(|&level| usize::from(level) == index))
}

/// The table of colours that `flags` announces, if any, and what follows it.
fn colors(flags: u8, rest: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if flags & 0x80 == 0 {
        return Some((None, rest));
    }
    let (table, rest) = rest.split_at_checked(6 << (flags & 7))?;
    Some((Some(table), rest))
}

/// A block, its length before it, and what follows; the last block of a list is empty.
fn block(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = rest.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// What follows a list of blocks.
fn after_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (found, after) = block(rest)?;
        rest = after;
        if found.is_empty() {
            return Some(rest);
        }
    }
}
