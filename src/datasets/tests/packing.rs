//! Archives made by hand, so that they can be wrong in ways that no archiver is: every field is the test's to set.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder, write::GzEncoder};
use tar::{EntryType, Header};

/// A zip entry; `Default` is an empty regular file that is stored.
#[derive(Debug, Clone)]
pub struct ZipEntry {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
    pub extra: Vec<u8>,
    pub mode: u32,
    pub flags: u16,
    pub method: u16,
    pub wrong_checksum: bool,
    /// The size that it is said to have unpacked; its own unless given.
    pub claimed: Option<u32>,
}

impl Default for ZipEntry {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            data: Vec::new(),
            extra: Vec::new(),
            mode: 0o100_644,
            flags: 0,
            method: 0,
            wrong_checksum: false,
            claimed: None,
        }
    }
}

/// A zip archive, as APPNOTE 4.3 lays it out.
pub fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for ZipEntry { name, data, extra, mode, flags, method, wrong_checksum, claimed } in entries {
        let mut checksum = Crc::new();
        checksum.update(data);
        let packed = if *method == 8 { deflate(data) } else { data.clone() };
        let mut shared = Vec::new();
        shared.extend(20u16.to_le_bytes());
        shared.extend(flags.to_le_bytes());
        shared.extend(method.to_le_bytes());
        shared.extend([0, 0, 0x21, 0]);
        shared.extend((checksum.sum() ^ u32::from(*wrong_checksum)).to_le_bytes());
        shared.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        shared.extend(claimed.unwrap_or(u32::try_from(data.len()).unwrap()).to_le_bytes());
        shared.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        shared.extend(u16::try_from(extra.len()).unwrap().to_le_bytes());
        let offset = u32::try_from(archive.len()).unwrap();
        archive.extend(b"PK\x03\x04");
        archive.extend(&shared);
        archive.extend(name);
        archive.extend(extra);
        archive.extend(packed);
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 3]);
        directory.extend(&shared);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name);
        directory.extend(extra);
    }
    let (start, count) = (u32::try_from(archive.len()).unwrap(), u16::try_from(entries.len()).unwrap().to_le_bytes());
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count);
    archive.extend(count);
    archive.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// A zip archive of plain files.
pub fn zip_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entry =
        |(name, data): &(String, Vec<u8>)| ZipEntry { name: name.as_bytes().into(), data: data.clone(), ..Default::default() };
    zip(&files.iter().map(entry).collect::<Vec<_>>())
}

/// A tar entry of any type and name, the name as it is.
pub fn tar_entry(name: &[u8], kind: EntryType, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend(data);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// A tar archive of entries, closed.
pub fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = entries.concat();
    archive.extend([0; 1024]);
    archive
}

/// A tar archive of plain files.
pub fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A PNG that differs for every `seed`.
pub fn png(seed: u32) -> Vec<u8> {
    let [a, b, c, _] = seed.to_le_bytes();
    let image = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([a ^ x as u8, b ^ y as u8, c]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Each path with a PNG of its own.
pub fn photos(paths: &[&str]) -> Vec<(String, Vec<u8>)> {
    paths.iter().zip(1..).map(|(path, seed)| ((*path).to_owned(), png(seed))).collect()
}
