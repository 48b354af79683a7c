//! Images for requests: made to order, from the fixtures, and damaged with intent.

use std::{io::Cursor, path::Path};

use ::base64::{Engine, prelude::BASE64_STANDARD};
use image::{ImageFormat, Rgb, RgbImage};

/// A PNG whose pixel in column x of row y is `pixel(x, y)`.
pub fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = RgbImage::from_fn(width, height, |x, y| Rgb(pixel(x, y)));
    image.write_to(&mut bytes, ImageFormat::Png).expect("a PNG can be written to memory");
    bytes.into_inner()
}

/// A PNG of the tiny models' size in one colour.
pub fn plain(colour: [u8; 3]) -> Vec<u8> {
    png(8, 8, |_, _| colour)
}

/// A file below `tests/fixtures`.
#[track_caller]
pub fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An image of `tests/fixtures/images`.
#[track_caller]
pub fn encoded_fixture(file: &str) -> Vec<u8> {
    fixture(&format!("images/{file}"))
}

/// An image of the fixtures with `bytes` written over what follows the first `after`.
#[track_caller]
pub fn patched(file: &str, after: &[u8], skip: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = encoded_fixture(file);
    let found = image.windows(after.len()).position(|window| window == after);
    let at = found.unwrap_or_else(|| panic!("{file} has no {after:?}")) + after.len() + skip;
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

/// A small PNG whose header, checksum included, claims another size.
pub fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = plain([0; 3]);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// A progressive JPEG of 49 megapixels and few bytes, which `scans` empty scans follow.
pub fn large_jpeg(scans: u8) -> Vec<u8> {
    let (components, side) = (3, 7000u16.to_be_bytes());
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    for table in [0, 0x10] {
        // One code, for "nothing follows".
        file.extend([0xff, 0xc4, 0, 20, table, 1]);
        file.extend([0; 16]);
    }
    file.extend([0xff, 0xc2, 0, 17, 8, side[0], side[1], side[0], side[1], components]);
    file.extend((0..components).flat_map(|id| [id, 0x11, 0]));
    file.extend([0xff, 0xda, 0, 12, components, 0, 0, 1, 0, 2, 0, 0, 0, 0]);
    for scan in 0..scans {
        file.extend([0xff, 0xda, 0, 8, 1, scan % components, 0, 1, 63, 0]);
    }
    file.extend([0xff, 0xd9]);
    file
}

/// Standard base64, padded.
pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
