//! Small files that cost much: every way of a format to make a decoder visit, inflate or keep more than its pixels.
//!
//! Shared by the tests of what decoding holds and by `benches/costly_images.rs`; knows formats, not graft.

use std::io::Write;

use flate2::{Compression, Crc, write::ZlibEncoder};
use weezl::{BitOrder, encode::Encoder};

/// A file, and what is odd about it.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// All of them, of `side` × `side` pixels; what they inflate beside their pixels has `inflated` bytes.
pub fn cases(side: u16, inflated: usize) -> Vec<Case> {
    let case = |name, bytes| Case { name, bytes };
    let bomb = deflated(inflated);
    let wide = usize::from(side);
    let strip = |rows: usize| wide * 3 * rows;
    vec![
        case("jpeg, baseline, no data", jpeg(side, Frame::BASELINE, &[Scan::ALL])),
        case("jpeg, arithmetic, no data", jpeg(side, Frame::ARITHMETIC, &[Scan::ALL])),
        case("jpeg, a scan for each component", jpeg(side, Frame::BASELINE, &[Scan::of(&[0]), Scan::of(&[1]), Scan::of(&[2])])),
        case("jpeg, ten scans", jpeg(side, Frame::PROGRESSIVE, &Scan::script())),
        case("jpeg, ten scans of full colours", jpeg(side, Frame::FULL, &Scan::script())),
        case("jpeg, arithmetic, ten scans", jpeg(side, Frame { marker: 0xca, ..Frame::PROGRESSIVE }, &Scan::script())),
        case("jpeg, a restart marker in each unit", restarts(jpeg(side, Frame::BASELINE, &[Scan::ALL]))),
        case("jpeg, samples by 4 × 4", jpeg(side, Frame::SPARSE, &[Scan::ALL])),
        case("png, 16 bits, interlaced", png(side, 16, true, &[], &[])),
        case("png, 16 bits", png(side, 16, false, &[], &[])),
        case("png, a profile", png(side, 8, false, &[(b"iCCP", &[b"x\0\0", &bomb[..]].concat())], &[])),
        case("png, texts", png(side, 8, true, &texts(&bomb), &[])),
        case("png, texts behind the pixels", png(side, 8, true, &[], &texts(&bomb))),
        case("png, a later frame", png(side, 8, false, &[(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0])], &[(b"fdAT", &bomb)])),
        case("png, more data than pixels", excess(side, inflated)),
        case("gif", gif(side, side)),
        case("gif, a frame of one pixel", gif(side, 1)),
        case("tiff, LZW", tiff(side, side, 5, vec![lzw(&vec![0; strip(wide)])])),
        case("tiff, LZW in rows", tiff(side, 1, 5, vec![lzw(&vec![0; strip(1)]); wide])),
        case("tiff, deflate", tiff(side, side, 8, vec![deflated(strip(wide))])),
        case("tiff, deflate in rows", tiff(side, 1, 8, vec![deflated(strip(1)); wide])),
        case("tiff, pack bits in rows", tiff(side, 1, 32773, vec![[0x81, 0].repeat(strip(1).div_ceil(128)); wide])),
        case("tiff, more data than pixels", tiff(side, side, 8, vec![deflated(strip(wide) + inflated)])),
        case("webp, four transforms", webp(side)),
        case("webp, a profile", riff(&[(b"VP8X", &vp8x(side)), (b"ICCP", &bomb), (b"VP8L", &vp8l(side))])),
        case("bmp, skipped pixels", bmp(side)),
    ]
}

/// `length` zeros, deflated.
pub fn deflated(length: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let count = left.min(zeros.len());
        encoder.write_all(&zeros[..count]).expect("in memory");
        left -= count;
    }
    encoder.finish().expect("in memory")
}

fn lzw(bytes: &[u8]) -> Vec<u8> {
    Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(bytes).expect("in memory")
}

/// What a JPEG's frame header says.
#[derive(Clone, Copy)]
pub struct Frame {
    pub marker: u8,
    pub sampling: [u8; 3],
}

impl Frame {
    pub const BASELINE: Self = Self { marker: 0xc0, sampling: [0x22, 0x11, 0x11] };
    pub const ARITHMETIC: Self = Self { marker: 0xc9, ..Self::BASELINE };
    pub const PROGRESSIVE: Self = Self { marker: 0xc2, ..Self::BASELINE };
    /// Colours at full resolution.
    pub const FULL: Self = Self { marker: 0xc2, sampling: [0x11; 3] };
    /// Where scans of the first component visit few samples of many.
    pub const SPARSE: Self = Self { marker: 0xc0, sampling: [0x11, 0x42, 0x11] };
}

/// A scan's components, spectral band and successive approximation.
#[derive(Clone)]
pub struct Scan {
    pub components: Vec<u8>,
    pub band: [u8; 2],
    pub bits: u8,
}

impl Scan {
    pub const ALL: Self = Self { components: Vec::new(), band: [0, 63], bits: 0 };

    pub fn of(components: &[u8]) -> Self {
        Self { components: components.to_vec(), band: [0, 63], bits: 0 }
    }

    pub fn part(component: u8, first: u8, last: u8, bits: u8) -> Self {
        Self { components: vec![component], band: [first, last], bits }
    }

    /// `jpeg_simple_progression` for three components.
    pub fn script() -> Vec<Self> {
        let dc = |bits| Self { components: vec![0, 1, 2], band: [0, 0], bits };
        let part = Self::part;
        let (first, second) = ([dc(0x01), part(0, 1, 5, 0x02), part(2, 1, 63, 0x01), part(1, 1, 63, 0x01)], part(0, 6, 63, 0x02));
        let rest = [part(0, 1, 63, 0x21), dc(0x10), part(2, 1, 63, 0x10), part(1, 1, 63, 0x10), part(0, 1, 63, 0x10)];
        first.into_iter().chain([second]).chain(rest).collect()
    }
}

/// A JPEG without data: every scan ends as it begins, and libjpeg fills it up with zeros.
pub fn jpeg(side: u16, frame: Frame, scans: &[Scan]) -> Vec<u8> {
    let [high, low] = side.to_be_bytes();
    let mut file = b"\xff\xd8\xff\xdb\0\x43\0".to_vec();
    file.extend([1; 64]);
    for class in [0, 0x10] {
        // One code, for "nothing follows".
        file.extend([0xff, 0xc4, 0, 20, class, 1]);
        file.extend([0; 16]);
    }
    file.extend([0xff, frame.marker, 0, 17, 8, high, low, high, low, 3]);
    file.extend((0..3).flat_map(|id| [id, frame.sampling[usize::from(id)], 0]));
    for scan in scans {
        let components = if scan.components.is_empty() { vec![0, 1, 2] } else { scan.components.clone() };
        let count = components.len() as u8;
        file.extend([0xff, 0xda, 0, 6 + 2 * count, count]);
        file.extend(components.into_iter().flat_map(|id| [id, 0]));
        file.extend([scan.band[0], scan.band[1], scan.bits]);
    }
    file.extend([0xff, 0xd9]);
    file
}

/// The same, with an interval of one unit between restarts.
fn restarts(mut file: Vec<u8>) -> Vec<u8> {
    file.splice(2..2, [0xff, 0xdd, 0, 4, 0, 1]);
    file
}

type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

/// A black PNG of red, green, blue and alpha, with other chunks before and behind its pixels.
pub fn png(side: u16, bits: u8, interlaced: bool, before: &[Chunk<'_>], behind: &[Chunk<'_>]) -> Vec<u8> {
    let bytes = usize::from(side) * 4 * usize::from(bits / 8);
    // Filters of all rows, of all passes.
    let rows = usize::from(side) * if interlaced { 4 } else { 1 };
    png_of(side, bits, interlaced, &deflated(bytes * usize::from(side) + rows), before, behind)
}

fn png_of(side: u16, bits: u8, interlaced: bool, data: &[u8], before: &[Chunk<'_>], behind: &[Chunk<'_>]) -> Vec<u8> {
    let size = u32::from(side).to_be_bytes();
    let header = [&size[..], &size, &[bits, 6, 0, 0, u8::from(interlaced)]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let chunks = [&[(b"IHDR", &header[..])], before, &[(b"IDAT", data)], behind, &[(b"IEND", &[][..])]].concat();
    for (kind, data) in chunks {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(data);
        file.extend_from_slice(&(data.len() as u32).to_be_bytes());
        file.extend_from_slice(kind);
        file.extend_from_slice(data);
        file.extend_from_slice(&crc.sum().to_be_bytes());
    }
    file
}

/// A PNG whose data inflate to far more than its pixels.
fn excess(side: u16, inflated: usize) -> Vec<u8> {
    png_of(side, 8, false, &deflated(usize::from(side) * (usize::from(side) * 4 + 1) + inflated), &[], &[])
}

fn texts(bomb: &[u8]) -> Vec<Chunk<'static>> {
    let text = [b"x\0\0", bomb].concat();
    let packet = [&b"XML:com.adobe.xmp\0\x01\0\0\0"[..], bomb].concat();
    vec![(b"zTXt", text.leak()), (b"iTXt", packet.leak())]
}

/// A GIF with one frame of `frame` × `frame` pixels.
fn gif(side: u16, frame: u16) -> Vec<u8> {
    let [low, high] = side.to_le_bytes();
    let [f0, f1] = frame.to_le_bytes();
    let mut file = b"GIF89a".to_vec();
    file.extend([low, high, low, high, 0x80, 0, 0, 0, 0, 0, 9, 9, 9]);
    file.extend([b',', 0, 0, 0, 0, f0, f1, f0, f1, 0, 2]);
    let pixels = vec![0; usize::from(frame) * usize::from(frame)];
    for block in Encoder::new(BitOrder::Lsb, 2).encode(&pixels).expect("in memory").chunks(255) {
        file.push(block.len() as u8);
        file.extend_from_slice(block);
    }
    file.extend([0, b';']);
    file
}

/// A TIFF of RGB in strips of `rows`.
pub fn tiff(side: u16, rows: u16, compression: u16, strips: Vec<Vec<u8>>) -> Vec<u8> {
    let mut file = b"II*\0\0\0\0\0".to_vec();
    // Strips that are the same are stored once.
    let mut places: Vec<(u32, u32)> = Vec::new();
    for (index, strip) in strips.iter().enumerate() {
        if index > 0 && *strip == strips[index - 1] {
            places.push(places[index - 1]);
        } else {
            places.push((file.len() as u32, strip.len() as u32));
            file.extend_from_slice(strip);
        }
    }
    let offsets = file.len() as u32;
    file.extend(places.iter().flat_map(|(start, _)| start.to_le_bytes()));
    let counts = file.len() as u32;
    file.extend(places.iter().flat_map(|(_, length)| length.to_le_bytes()));
    let directory = file.len() as u32;
    let count = strips.len() as u32;
    let inline = |value: &[(u32, u32)], many: u32, pick: fn(&(u32, u32)) -> u32| if count == 1 { pick(&value[0]) } else { many };
    let entries = [
        (256, 1, u32::from(side)),
        (257, 1, u32::from(side)),
        (258, 1, 8),
        (259, 1, u32::from(compression)),
        (262, 1, 2),
        (273, count, inline(&places, offsets, |place| place.0)),
        (277, 1, 3),
        (278, 1, u32::from(rows)),
        (279, count, inline(&places, counts, |place| place.1)),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, count, value) in entries {
        file.extend_from_slice(&(tag as u16).to_le_bytes());
        file.extend_from_slice(&4_u16.to_le_bytes());
        file.extend_from_slice(&count.to_le_bytes());
        file.extend_from_slice(&value.to_le_bytes());
    }
    file.extend([0; 4]);
    file[4..8].copy_from_slice(&directory.to_le_bytes());
    file
}

fn webp(side: u16) -> Vec<u8> {
    riff(&[(b"VP8L", &vp8l(side))])
}

/// A lossless picture whose codes all have one symbol, and so take no bits, under every transform.
fn vp8l(side: u16) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x2f, 8).put(u32::from(side) - 1, 14).put(u32::from(side) - 1, 14).put(1, 1).put(0, 3);
    for transform in [0, 1, 2] {
        bits.put(1, 1).put(transform, 2);
        if transform != 2 {
            // Blocks of 4 × 4.
            bits.put(0, 3).put(0, 1).zeros(5);
        }
    }
    // No cache, and groups in blocks of 4 × 4: a single one.
    bits.put(0, 1).put(0, 1).put(1, 1).put(0, 3);
    bits.put(0, 1).zeros(5).zeros(5).put(0, 64);
    bits.bytes
}

fn vp8x(side: u16) -> Vec<u8> {
    let [low, high] = (side - 1).to_le_bytes();
    vec![0x20, 0, 0, 0, low, high, 0, low, high, 0]
}

fn riff(chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, data) in chunks {
        body.extend_from_slice(*kind);
        body.extend_from_slice(&(data.len() as u32).to_le_bytes());
        body.extend_from_slice(data);
        body.extend(vec![0; data.len() % 2]);
    }
    [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// Bits from the lowest of each byte on.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.count / 8] |= (value.checked_shr(bit).unwrap_or(0) as u8 & 1) << (self.count % 8);
            self.count += 1;
        }
        self
    }

    /// `count` codes of the symbol 0 alone.
    fn zeros(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.put(0b0001, 4);
        }
        self
    }
}

/// A bitmap of run lengths that skips all its pixels.
fn bmp(side: u16) -> Vec<u8> {
    let mut file = b"BM".to_vec();
    file.extend([0; 8]);
    file.extend_from_slice(&(14 + 40 + 1024_u32).to_le_bytes());
    file.extend_from_slice(&40_u32.to_le_bytes());
    file.extend_from_slice(&u32::from(side).to_le_bytes());
    file.extend_from_slice(&u32::from(side).to_le_bytes());
    file.extend([1, 0, 8, 0, 1, 0, 0, 0]);
    file.extend([0; 20]);
    file.extend([7; 1024]);
    for _ in 0..=side / 255 {
        file.extend([0, 2, 255, 255]);
    }
    file.extend([0, 1]);
    file
}
