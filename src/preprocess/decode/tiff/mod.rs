//! TIFF and BigTIFF: the first page, as Pillow and libtiff read it, strip by strip or tile by tile.
//!
//! [`directory`] reads tags, [`coding`] undoes a strip's compression, [`samples`] turns its rows into RGB; a strip is never larger
//! than the pixels that the caller has allowed.

mod coding;
mod directory;
mod samples;

use super::{
    super::{Cost, Decoded, Format, Header, ImageError, orientation::View},
    Bounds, Size, area, broken, unsupported,
};
use coding::Coding;
use directory::{Directory, Values};
use samples::Samples;

/// The numbers of tags, by their names in TIFF 6.0.
mod tag {
    pub const IMAGE_WIDTH: u16 = 256;
    pub const IMAGE_LENGTH: u16 = 257;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC_INTERPRETATION: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTE_COUNTS: u16 = 279;
    pub const PLANAR_CONFIGURATION: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_LENGTH: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTE_COUNTS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
}

/// How many times the pixels of the image all tiles together may hold; they are padded to their full size.
const PADDED: usize = 4;

/// Pixels of a tile beyond those of its image, at most: a tile is padded to its full size.
const TILE_PIXELS: usize = 1 << 22;

/// Width and height from the first directory, as Pillow shows it: its TIFF reader applies the orientation tag.
pub(super) fn size(bytes: &[u8]) -> Result<Size, ImageError> {
    let directory = Directory::first(bytes)?;
    let (width, height) = stored_size(&directory)?;
    Ok(if orientation(&directory)? > 4 { (height, width) } else { (width, height) })
}

/// Bytes that the strips of a page may take to read, in all.
const CHUNK_BYTES: u64 = 512 << 20;

/// How many times the file compressed strips may be together, and bytes beside: they may overlap, so that a small file would have
/// much to read, and each byte of some costs as much as thousands of pixels.
const OVERLAP: usize = 2;
const OVERLAP_BYTES: usize = 1 << 20;

/// What decoding costs: RGB, the same again to turn it, planes that are put together, and a strip.
pub(super) fn cost(bytes: &[u8], size: Size) -> Result<Cost, ImageError> {
    let image = Image::read(bytes, area(size) as usize)?;
    let (rgb, planes) = (if image.orientation == 1 { 3 } else { 6 }, if image.planar { image.samples.count as u64 } else { 0 });
    let strip = image.coding.held(image.grid.width, image.grid.height);
    Ok(Cost { samples: strip * image.chunks() as u64 + area(size) * rgb, bytes: area(size) * (rgb + planes) + strip })
}

/// Decodes to RGB.
pub(super) fn decode(bytes: &[u8], header: &Header, bounds: &Bounds<'_>) -> Result<Decoded, ImageError> {
    let image = Image::read(bytes, header.pixels())?;
    let bounds = Bounds { memory: bounds.memory.saturating_sub(header.cost.bytes), share: image.chunks() as u64, ..*bounds };
    let rgb = if image.planar { image.planes(&bounds)? } else { image.pixels(&bounds)? };
    let (width, height, orientation) = (image.width as u32, image.height as u32, image.orientation);
    let stored = Decoded { width, height, rgb, orientation: 1 };
    if orientation == 1 {
        return Ok(stored);
    }
    let rgb = View::new(&stored, orientation).to_rgb();
    Ok(Decoded { width: header.width, height: header.height, rgb, orientation: 1 })
}

fn stored_size(directory: &Directory<'_>) -> Result<Size, ImageError> {
    Ok((directory.value(tag::IMAGE_WIDTH, 0)?, directory.value(tag::IMAGE_LENGTH, 0)?))
}

fn orientation(directory: &Directory<'_>) -> Result<u8, ImageError> {
    let value = directory.value(tag::ORIENTATION, 1)?;
    Ok(if (1..=8).contains(&value) { value as u8 } else { 1 })
}

fn refuse(error: impl ToString) -> ImageError {
    broken(Format::Tiff, error)
}

fn odd(what: impl ToString) -> ImageError {
    unsupported(Format::Tiff, what)
}

/// How the page is cut into strips or tiles, "chunks" both, and where these are.
struct Grid<'a> {
    bytes: &'a [u8],
    width: usize,
    height: usize,
    across: usize,
    down: usize,
    offsets: Values<'a>,
    counts: Values<'a>,
}

impl<'a> Grid<'a> {
    fn of(directory: &Directory<'a>, bytes: &'a [u8], pixels: usize) -> Result<Self, ImageError> {
        let (image_width, image_height) = stored_size(directory)?;
        let tiles = directory.values(tag::TILE_OFFSETS)?;
        let strips = directory.values(tag::STRIP_OFFSETS)?;
        let (width, height, offsets, counts) = if strips.data.is_empty() {
            let size = (directory.value(tag::TILE_WIDTH, 0)?, directory.value(tag::TILE_LENGTH, 0)?);
            (size.0, size.1, tiles, directory.values(tag::TILE_BYTE_COUNTS)?)
        } else {
            let rows = directory.value(tag::ROWS_PER_STRIP, image_height)?.min(image_height);
            (image_width, rows, strips, directory.values(tag::STRIP_BYTE_COUNTS)?)
        };
        if width == 0 || height == 0 {
            return Err(refuse("it has neither strips nor tiles"));
        }
        if u64::from(width) * u64::from(height) > (pixels + TILE_PIXELS) as u64 {
            return Err(odd(format!("tiles of {width} × {height} pixels")));
        }
        let (across, down) = (image_width.div_ceil(width) as usize, image_height.div_ceil(height) as usize);
        let padded = (across as u64 * down as u64).saturating_mul(u64::from(width) * u64::from(height));
        if padded > (pixels * PADDED + TILE_PIXELS) as u64 {
            return Err(odd(format!("tiles of {width} × {height} pixels, which hold {padded} in all")));
        }
        Ok(Self { bytes, width: width as usize, height: height as usize, across, down, offsets, counts })
    }

    /// What is stored of the chunk at `index`: to the end of the file where its length is not said, or is that of its pixels.
    fn stored(&self, index: usize, coding: &Coding<'_>) -> Result<&'a [u8], ImageError> {
        let start = self.offsets.get(index).and_then(|offset| usize::try_from(offset).ok());
        let rest = start.and_then(|start| self.bytes.get(start..)).ok_or_else(|| refuse("a strip lies outside of the file"))?;
        let length = self.counts.get(index).filter(|_| !coding.is_raw()).and_then(|count| usize::try_from(count).ok());
        Ok(length.and_then(|length| rest.get(..length)).unwrap_or(rest))
    }

    /// Refuses chunks that take too long to read, all together.
    fn check_bytes(&self, chunks: usize, coding: &Coding<'_>) -> Result<(), ImageError> {
        let (mut bytes, mut stored) = (0, 0);
        let most = self.bytes.len() * OVERLAP + OVERLAP_BYTES;
        for index in 0..chunks {
            let chunk = self.stored(index, coding)?;
            bytes += coding.cost(chunk);
            stored += if coding.is_raw() { 0 } else { chunk.len() };
            if bytes > CHUNK_BYTES || stored > most {
                let most = CHUNK_BYTES.min(most as u64);
                return Err(odd(format!("{chunks} strips or tiles that take more than {most} bytes to read")));
            }
        }
        Ok(())
    }

    /// Column, row and index of every chunk of one plane.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (width, height, across, count) = (self.width, self.height, self.across, self.across * self.down);
        (0..count).map(move |index| (index % across * width, index / across * height, index))
    }
}

struct Image<'a> {
    width: usize,
    height: usize,
    samples: Samples,
    /// Whether each sample has a plane of its own.
    planar: bool,
    orientation: u8,
    grid: Grid<'a>,
    coding: Coding<'a>,
}

impl<'a> Image<'a> {
    /// What the first directory of `bytes` says, of so many pixels, and where its strips are.
    fn read(bytes: &'a [u8], pixels: usize) -> Result<Self, ImageError> {
        let directory = Directory::first(bytes)?;
        let (width, height) = stored_size(&directory)?;
        let samples = Samples::of(&directory)?;
        let planar = directory.value(tag::PLANAR_CONFIGURATION, 1)? == 2 && samples.count > 1;
        let grid = Grid::of(&directory, bytes, pixels)?;
        let coding = Coding::of(&directory, &samples, planar, grid.height)?;
        let orientation = orientation(&directory)?;
        let image = Self { width: width as usize, height: height as usize, samples, planar, orientation, grid, coding };
        image.grid.check_bytes(image.chunks(), &image.coding)?;
        Ok(image)
    }

    /// Strips or tiles that are read.
    fn chunks(&self) -> usize {
        let planes = if self.planar { self.samples.used() } else { 1 };
        planes * self.grid.across * self.grid.down
    }

    /// RGB of an image whose samples lie side by side.
    fn pixels(&self, bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
        let mut rgb = vec![0; self.width * self.height * 3];
        for (x, y, index) in self.grid.chunks() {
            let rows = self.grid.height.min(self.height - y);
            let chunk = self.coding.undo(self.grid.stored(index, &self.coding)?, self.grid.width, rows, bounds)?;
            let (start, end) = (x * 3, (x + self.grid.width).min(self.width) * 3);
            let lines = rgb.chunks_exact_mut(self.width * 3).skip(y);
            for (line, row) in lines.zip(chunk.chunks_exact(self.coding.row_bytes(self.grid.width))) {
                self.samples.convert(row, &mut line[start..end]);
            }
        }
        Ok(rgb)
    }

    /// RGB of an image with a plane for each sample, of 8 bits; planes that no colour needs are not read.
    fn planes(&self, bounds: &Bounds<'_>) -> Result<Vec<u8>, ImageError> {
        let (count, per_plane) = (self.samples.count, self.grid.across * self.grid.down);
        let mut pixels = vec![0; self.width * self.height * count];
        for plane in 0..self.samples.used() {
            for (x, y, index) in self.grid.chunks() {
                let rows = self.grid.height.min(self.height - y);
                let stored = self.grid.stored(plane * per_plane + index, &self.coding)?;
                let chunk = self.coding.undo(stored, self.grid.width, rows, bounds)?;
                let lines = pixels.chunks_exact_mut(self.width * count).skip(y);
                for (line, row) in lines.zip(chunk.chunks_exact(self.grid.width)) {
                    line[x * count..].chunks_exact_mut(count).zip(row).for_each(|(pixel, &sample)| pixel[plane] = sample);
                }
            }
        }
        let mut rgb = vec![0; self.width * self.height * 3];
        for (row, out) in pixels.chunks_exact(self.width * count).zip(rgb.chunks_exact_mut(self.width * 3)) {
            self.samples.convert(row, out);
        }
        Ok(rgb)
    }
}
