//! What all decoders have in common: they end when nobody waits, and say before what they cost.

use std::fs;

use super::*;

const LIMITS: Limits = Limits { max_bytes: 1 << 24, max_pixels: 1 << 24 };

/// A small image of every format, and of what is read another way.
const FILES: [&str; 12] = [
    "ycbcr_420.jpg",
    "progressive_420.jpg",
    "j_arithmetic.jpg",
    "rgb_8.png",
    "bits_24.bmp",
    "rle_8.bmp",
    "palette.gif",
    "lossy.webp",
    "lossless.webp",
    "rgb_adobe_deflate.tif",
    "rgb_lzw.tif",
    "rgb_packbits.tif",
];

fn fixture(file: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/images/{file}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
}

#[test]
fn decoders_end_when_nobody_waits() {
    let cancelled = AtomicBool::new(true);
    let bounds = Bounds::of(&LIMITS, &cancelled);
    for file in FILES {
        let bytes = fixture(file);
        let header = header(&bytes, &LIMITS).expect("a legal header");
        // Each decoder looks by itself, while it works.
        let outcome = match header.format {
            Format::Jpeg => jpeg::decode(&bytes, &bounds),
            Format::Png => png::decode(&bytes, &header, &bounds),
            Format::Bmp => bmp::decode(&bytes, &header, &bounds),
            Format::Gif => gif::decode(&bytes, &header, &bounds),
            Format::WebP => webp::decode(&bytes, &header, &bounds),
            Format::Tiff => tiff::decode(&bytes, &header, &bounds),
        };
        assert_eq!(outcome.map(|_| ()), Err(ImageError::Cancelled), "{file}");
        assert_eq!(decode_unless(&bytes, &LIMITS, &cancelled), Err(ImageError::Cancelled), "{file}");
        decode(&bytes, &LIMITS).expect("it is whole");
    }
}

#[test]
fn headers_say_what_decoding_costs() {
    for file in FILES {
        let bytes = fixture(file);
        let header = header(&bytes, &LIMITS).expect("a legal header");
        let pixels = area((header.width, header.height));
        assert!(header.cost.samples >= pixels && header.cost.bytes >= pixels * 3, "{file}: {:?}", header.cost);
    }
}
