//! The marker segments of a JPEG, read as Pillow's parser and libjpeg read them, in one pass over the bytes.
//!
//! Up to the first scan they say what the image is; behind it, what its scans cost. Knows no pixels and no limits.

use super::super::{
    super::{Format, ImageError},
    broken, unsupported,
};

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
/// A marker without a segment that may stand anywhere.
const TEMPORARY: u8 = 0x01;
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Side of a block, in samples; a block holds `BLOCK * BLOCK`.
const BLOCK: u64 = 8;
const BLOCK_SAMPLES: u64 = BLOCK * BLOCK;
const COEFFICIENT_BYTES: u64 = 2;
/// What a scan costs at least, in samples: its tables are made anew, however small the image.
pub(super) const SCAN_SAMPLES: u64 = 1 << 14;

/// What stands before the first scan.
pub(super) struct Head<'a> {
    pub frame: Frame,
    /// EXIF segments, as they follow each other.
    pub exif: Vec<&'a [u8]>,
    pub xmp: Option<&'a [u8]>,
    /// The first scan's header.
    scan: &'a [u8],
    /// The bytes behind it.
    rest: &'a [u8],
}

/// A frame header.
pub(super) struct Frame {
    pub width: u32,
    pub height: u32,
    pub components: Vec<Component>,
    progressive: bool,
    pub arithmetic: bool,
}

/// A component's identifier and sampling factors.
pub(super) struct Component {
    id: u8,
    horizontal: u64,
    vertical: u64,
}

/// What a file with several scans costs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scans {
    pub count: u32,
    /// Samples that all scans together visit.
    pub samples: u64,
    /// Bytes of the coefficients, which libjpeg keeps until the last scan.
    pub bytes: u64,
}

impl<'a> Head<'a> {
    /// Reads what stands before the first scan, and refuses what Pillow's parser refuses.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let mut reader = Reader { bytes, at: 2 };
        let (mut frame, mut exif, mut xmp) = (None, Vec::new(), None);
        loop {
            let marker = reader.marker().ok_or_else(|| broken(Format::Jpeg, "it ends before its first scan"))?;
            // Markers without a segment, and reserved ones whose segment Pillow skips byte by byte.
            if matches!(marker, 0xc8 | 0xd0..=END_OF_IMAGE | 0xf0..=0xfd) {
                continue;
            }
            if marker < 0xc0 {
                return Err(broken(Format::Jpeg, format!("{marker:#04x} is no marker")));
            }
            let data = reader.segment().ok_or_else(|| broken(Format::Jpeg, "a segment is cut short"))?;
            match marker {
                START_OF_SCAN => {
                    let frame = frame.ok_or_else(|| broken(Format::Jpeg, "no frame header"))?;
                    return Ok(Self { frame, exif, xmp, scan: data, rest: &bytes[reader.at..] });
                }
                0xc4 | 0xcc => {}
                0xc0..=0xcf | 0xde => frame = Some(Frame::read(marker, data)?),
                0xe0 if data.starts_with(b"JFIF") && data.len() < 7 => {
                    return Err(broken(Format::Jpeg, "its JFIF segment is cut short"));
                }
                0xee if data.starts_with(b"Adobe") && data.len() < 7 => {
                    return Err(broken(Format::Jpeg, "its Adobe segment is cut short"));
                }
                0xe1 if data.starts_with(b"Exif\0\0") => exif.push(if exif.is_empty() { data } else { &data[6..] }),
                0xe1 if data.starts_with(XMP) => xmp = Some(data),
                _ => {}
            }
        }
    }

    /// What the file's scans cost together; `None` if one scan holds all, and rows are decoded as they are read.
    ///
    /// Bytes that are no markers are skipped as libjpeg skips them; where it stops with an error, this goes on.
    pub(super) fn scans(&self) -> Option<Scans> {
        if !self.frame.progressive && usize::from(*self.scan.first()?) >= self.frame.components.len() {
            return None;
        }
        let mut scans = Scans { count: 0, samples: 0, bytes: self.frame.samples() * COEFFICIENT_BYTES };
        let mut reader = Reader { bytes: self.rest, at: 0 };
        let mut scan = Some(self.scan);
        loop {
            if let Some(header) = scan.take() {
                scans.count += 1;
                scans.samples += SCAN_SAMPLES + self.frame.visited(header);
            }
            match reader.marker() {
                None | Some(END_OF_IMAGE) => return Some(scans),
                Some(TEMPORARY..0xc0 | 0xd0..=0xd8) => {}
                Some(marker) => {
                    let Some(data) = reader.segment() else { return Some(scans) };
                    scan = (marker == START_OF_SCAN).then_some(data);
                }
            }
        }
    }
}

impl Frame {
    fn read(marker: u8, data: &[u8]) -> Result<Self, ImageError> {
        if matches!(marker, 0xc5..=0xc7 | 0xcb | 0xcd..=0xcf | 0xde) {
            return Err(unsupported(Format::Jpeg, "hierarchical or arithmetic lossless coding"));
        }
        let Some((&[precision, h1, h0, w1, w0, count], components)) = data.split_first_chunk() else {
            return Err(broken(Format::Jpeg, "the frame header is cut short"));
        };
        if precision != 8 {
            return Err(unsupported(Format::Jpeg, format!("{precision}-bit samples")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(Format::Jpeg, format!("{count} components")));
        }
        let (components, odd) = components.as_chunks::<3>();
        if !odd.is_empty() || components.len() != usize::from(count) {
            return Err(broken(Format::Jpeg, "the frame header's length is wrong"));
        }
        let component = |&[id, sampling, _]: &[u8; 3]| match (sampling >> 4, sampling & 15) {
            (horizontal @ 1..=4, vertical @ 1..=4) => {
                Ok(Component { id, horizontal: horizontal.into(), vertical: vertical.into() })
            }
            (horizontal, vertical) => Err(broken(Format::Jpeg, format!("sampling by {horizontal} × {vertical}"))),
        };
        Ok(Self {
            width: u16::from_be_bytes([w1, w0]).into(),
            height: u16::from_be_bytes([h1, h0]).into(),
            components: components.iter().map(component).collect::<Result<_, _>>()?,
            progressive: matches!(marker, 0xc2 | 0xca),
            arithmetic: matches!(marker, 0xc9 | 0xca),
        })
    }

    /// Columns and rows of units that hold one block per sampling factor of every component.
    fn units(&self) -> (u64, u64) {
        let horizontal = self.components.iter().map(|component| component.horizontal).max().unwrap_or(1);
        let vertical = self.components.iter().map(|component| component.vertical).max().unwrap_or(1);
        (u64::from(self.width).div_ceil(BLOCK * horizontal), u64::from(self.height).div_ceil(BLOCK * vertical))
    }

    /// Samples of all components, which a single scan visits.
    pub fn samples(&self) -> u64 {
        self.components.iter().map(|component| self.padded(component)).sum()
    }

    /// Samples of a component, filled up to whole units.
    fn padded(&self, component: &Component) -> u64 {
        let (columns, rows) = self.units();
        columns * rows * component.horizontal * component.vertical * BLOCK_SAMPLES
    }

    /// Samples that the scan with this header visits, at most: where two components have one identifier, the larger counts.
    fn visited(&self, header: &[u8]) -> u64 {
        let Some((&count, selectors)) = header.split_first() else { return 0 };
        let named = |id: u8| self.components.iter().filter(move |component| component.id == id);
        let visited = |&[id, _]: &[u8; 2]| named(id).map(|component| self.padded(component)).max().unwrap_or(0);
        selectors.as_chunks::<2>().0.iter().take(count.into()).map(visited).sum()
    }
}

/// Walks over segments; never reads a byte twice.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Skips to after the next marker; stuffed zeros in coded data are none.
    fn marker(&mut self) -> Option<u8> {
        loop {
            self.at += self.bytes.get(self.at..)?.iter().position(|&byte| byte == 0xff)?;
            self.at += self.bytes[self.at..].iter().position(|&byte| byte != 0xff)?;
            self.at += 1;
            match self.bytes[self.at - 1] {
                0 => {}
                marker => return Some(marker),
            }
        }
    }

    /// The segment here, without its length; one that claims less than its length takes just that.
    fn segment(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?)).max(2);
        let data = rest.get(2..length)?;
        self.at += length;
        Some(data)
    }
}
