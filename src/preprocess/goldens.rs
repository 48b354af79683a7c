//! Pillow's pixels, made by `tests/goldens/images.py`, against this module's.

use std::{collections::BTreeMap, fs, path::PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{orientation::View, *};
use crate::test_data::real;

const LIMITS: Limits = Limits { max_bytes: 64 << 20, max_pixels: 20_000_000 };

#[derive(Deserialize)]
struct Expected {
    images: Vec<Golden>,
    refused: Vec<String>,
    resized: Vec<Resized>,
}

#[derive(Deserialize)]
struct Golden {
    file: String,
    #[serde(flatten)]
    pixels: Pixels,
    #[serde(default = "upright")]
    orientation: u8,
    transposed: Option<Pixels>,
}

#[derive(Deserialize)]
struct Resized {
    resize: Resize,
    shorter_side: Option<u32>,
    #[serde(flatten)]
    pixels: Pixels,
}

#[derive(Deserialize)]
struct Pixels {
    width: u32,
    height: u32,
    offset: usize,
}

fn upright() -> u8 {
    1
}

fn read(file: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images")).join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected() -> (Expected, Vec<u8>) {
    (serde_json::from_slice(&read("expected.json")).expect("a valid listing"), read("expected.rgb"))
}

impl Pixels {
    fn of<'a>(&self, all: &'a [u8]) -> &'a [u8] {
        &all[self.offset..][..(self.width * self.height * 3) as usize]
    }
}

/// The pixels of `decoded` after `spec`'s geometry, without its numbers.
fn interleaved(decoded: &Decoded, spec: Preprocessing) -> Vec<u8> {
    spec.validate().expect("a valid specification");
    let spec = Preprocessing { channel_order: ChannelOrder::Rgb, mean: [0.0; 3], scale: [1.0; 3], ..spec };
    let (tensor, _) = prepare(decoded.clone(), &spec);
    let plane = (spec.height * spec.width) as usize;
    (0..plane).flat_map(|at| [0, 1, 2].map(|channel| tensor.data()[channel * plane + at] as u8)).collect()
}

fn stretch(resize: Resize, height: u32, width: u32) -> Preprocessing {
    Preprocessing { resize, ..Preprocessing::keras(Mode::Tf, height, width) }
}

#[test]
fn images_decode_as_pillows() {
    let (expected, all) = expected();
    let mut wrong = Vec::new();
    for golden in &expected.images {
        let bytes = read(&golden.file);
        let decoded = match decode(&bytes, &LIMITS) {
            Ok(decoded) => decoded,
            Err(error) => {
                wrong.push(format!("{}: {error}", golden.file));
                continue;
            }
        };
        let header = header(&bytes, &LIMITS).expect("it decodes");
        assert_eq!((header.width, header.height), (decoded.width, decoded.height));
        let mut compare = |what: &str, (width, height), rgb: &[u8], pixels: &Pixels| {
            let wanted = pixels.of(&all);
            let worst = rgb.iter().zip(wanted).map(|(a, b)| a.abs_diff(*b)).max();
            if (width, height) != (pixels.width, pixels.height) || rgb != wanted {
                wrong.push(format!("{}: {what} is {width} × {height}, off by {worst:?}", golden.file));
            }
        };
        compare("as stored", (decoded.width, decoded.height), &decoded.rgb, &golden.pixels);
        assert_eq!(decoded.orientation, golden.orientation, "{}", golden.file);
        if let Some(pixels) = &golden.transposed {
            let view = View::new(&decoded, decoded.orientation);
            compare("upright", (view.width, view.height), &view.to_rgb(), pixels);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn variants_are_refused_by_name() {
    for file in expected().0.refused {
        let error = decode(&read(&file), &LIMITS).expect_err(&file);
        assert_eq!(error.code(), "unsupported_pixels", "{file}: {error}");
    }
}

#[test]
fn resizes_are_pillows() {
    let (expected, all) = expected();
    let noise = decode(&read("noise.png"), &LIMITS).expect("a valid image");
    for Resized { resize, shorter_side, pixels } in &expected.resized {
        let fit = shorter_side.map_or(Fit::Stretch, |shorter_side| Fit::CenterCrop { shorter_side });
        let got = interleaved(&noise, Preprocessing { fit, ..stretch(*resize, pixels.height, pixels.width) });
        assert!(got == pixels.of(&all), "{resize} to {} × {}, {fit:?}", pixels.height, pixels.width);
    }
}

/// By `decoded` or `FILTER_SIDE`, the SHA-256 of the picture or of its square.
type Hashes = BTreeMap<String, String>;

fn check_hashes(picture: &str, decoded: &Decoded, hashes: &Hashes) {
    for (what, hash) in hashes {
        let rgb = match what.split_once('_') {
            None => decoded.rgb.clone(),
            Some((filter, side)) => {
                let side = side.parse().expect("a number");
                interleaved(decoded, stretch(filter.parse().expect("a filter"), side, side))
            }
        };
        let digest: String = hex::encode(Sha256::digest(&rgb));
        assert_eq!(&digest, hash, "{picture} {what}");
    }
}

#[test]
fn a_picture_of_a_photos_size_is_pillows() {
    let (width, height) = (641, 480);
    let value = |x: u32, y: u32, channel: u32| (x * x * (channel + 1) + y * y * 2 + x * y * (3 - channel)) / 400 % 256;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let rgb = pixels.flat_map(|(x, y)| [0, 1, 2].map(|channel| value(x, y, channel) as u8)).collect();
    let hashes = serde_json::from_slice(&read("drawn.json")).expect("a valid listing");
    check_hashes("drawn", &Decoded { width, height, rgb, orientation: upright() }, &hashes);
}

#[test]
fn opencv_bilinear_is_opencvs() {
    let listing = include_str!("../../tests/fixtures/opencv_resize.tsv");
    let mut cases = 0;
    for line in listing.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [width, height, to_width, to_height] = [0, 1, 2, 3].map(|at| fields[at].parse::<u32>().expect("a number"));
        // `image` of `tests/goldens/opencv.py`.
        let byte = |at: u32| {
            let mixed = at.wrapping_mul(0x9e37_79b1);
            ((mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca77) >> 24) as u8
        };
        let decoded = Decoded { width, height, rgb: (0..width * height * 3).map(byte).collect(), orientation: 1 };
        let got = interleaved(&decoded, stretch(Resize::OpencvBilinear, to_height, to_width));
        let digest: String = hex::encode(&Sha256::digest(&got)[..8]);
        assert_eq!(digest, fields[4], "{width} × {height} to {to_width} × {to_height}");
        cases += 1;
    }
    assert_eq!(cases, 530, "the listing is whole");
}

#[test]
fn an_opencv_crop_is_a_part_of_the_whole() {
    for (width, height, shorter_side) in [(60, 40, 20), (60, 40, 28), (31, 78, 40), (1, 3, 64)] {
        let rgb = (0..width * height * 3).map(|at| (at * 37 % 251) as u8).collect();
        let decoded = Decoded { width, height, rgb, orientation: 1 };
        let (short, long) = (width.min(height), width.max(height));
        let longer = shorter_side * long / short;
        let (full_width, full_height) = if width <= height { (shorter_side, longer) } else { (longer, shorter_side) };
        let whole = interleaved(&decoded, stretch(Resize::OpencvBilinear, full_height, full_width));
        let (left, top) = ((full_width - 20) / 2, (full_height - 20) / 2);
        let rows = (top..top + 20).flat_map(|y| &whole[((y * full_width + left) * 3) as usize..][..60]);
        let fit = Fit::CenterCrop { shorter_side };
        let got = interleaved(&decoded, Preprocessing { fit, ..stretch(Resize::OpencvBilinear, 20, 20) });
        assert!(got.iter().eq(rows), "{width} × {height} by {shorter_side}");
    }
}

#[test]
fn photos_are_pillows() {
    let hashes: BTreeMap<String, Hashes> = serde_json::from_slice(&read("photos.json")).expect("a valid listing");
    let Some(folder) = real("photos") else { return };
    for (file, hashes) in hashes {
        let bytes = fs::read(folder.join(&file)).expect("a photo of the listing");
        check_hashes(&file, &decode(&bytes, &LIMITS).expect("a valid photo"), &hashes);
    }
}

#[test]
fn bad_bytes_have_a_code() {
    #[track_caller]
    fn check(what: &str, bytes: &[u8], code: &str) {
        let error = decode(bytes, &LIMITS).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    check("nothing", b"", "empty");
    check("text", b"no image", "not_an_image");
    check("a foreign format", b"\0\0\0\x1cftypavif\0\0\0\0", "unsupported_format");
    check("a signature alone", b"\xff\xd8\xff\xe0", "broken");
    check("too much", &vec![0; LIMITS.max_bytes + 1], "too_many_bytes");
    for file in ["bits_24.bmp", "rgb_8.png", "palette.gif", "lossless.webp", "rgb_raw.tif", "rgb_lzw.tif", "ycbcr_420.jpg"] {
        let bytes = read(file);
        check(file, &bytes[..bytes.len() * 3 / 4], "broken");
    }
    for file in ["ycbcr_420.jpg", "progressive_420.jpg", "grey.jpg", "cmyk.jpg"] {
        let bytes = read(file);
        check(file, &bytes[..bytes.len() - 4], "broken");
        check(file, &bytes[..bytes.len() - 40], "broken");
    }
    // Without the end-of-image marker alone nothing is lost, and Pillow reads on to the last row where it can.
    for file in ["ycbcr_420.jpg", "progressive_420.jpg", "cmyk.jpg"] {
        let bytes = read(file);
        check(file, &bytes[..bytes.len() - 2], "broken");
    }
}

#[test]
fn bombs_are_refused_from_their_header() {
    #[track_caller]
    fn check(file: &str, at: usize, size: &[u8]) {
        let mut bytes = read(file);
        bytes[at..at + size.len()].copy_from_slice(size);
        let error = header(&bytes, &LIMITS).expect_err(file);
        assert_eq!(error.code(), "too_many_pixels", "{file}: {error}");
        assert_eq!(decode(&bytes, &LIMITS), Err(error));
    }
    let frame = |file| read(file).windows(2).position(|window| window == b"\xff\xc0").expect("a frame header") + 5;
    check("ycbcr_420.jpg", frame("ycbcr_420.jpg"), b"\xff\xff\xff\xff");
    check("bits_24.bmp", 18, &[0, 0, 0, 1, 1, 0, 0, 0]);
    check("palette.gif", 6, &[255; 4]);
    check("outgrown.gif", 6, &[255; 4]);
    check("lossless.webp", 21, &[0xfe, 0xbf, 0xff, 0x0f]);
    let tag = |file, tag: &[u8]| read(file).windows(4).position(|window| window == tag).expect("a directory entry") + 8;
    check("rgb_raw.tif", tag("rgb_raw.tif", b"\0\x01\x04\0"), &[255, 255, 255, 15]);
    let mut bytes = read("rgb_8.png");
    bytes[16..24].copy_from_slice(&[0, 0, 255, 0, 0, 0, 255, 0]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(decode(&bytes, &LIMITS).expect_err("a bomb").code(), "too_many_pixels");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn damage_never_panics() {
    let (expected, _) = expected();
    let limits = Limits { max_pixels: 1_000_000, ..LIMITS };
    let mut state = 1_u64;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for golden in expected.images {
        let intact = read(&golden.file);
        for round in 0..40 {
            let mut bytes = intact.clone();
            if round % 4 == 0 {
                bytes.truncate(random(intact.len()));
            } else {
                for _ in 0..round % 4 {
                    let at = random(bytes.len());
                    bytes[at] ^= 1 << random(8);
                }
            }
            if let Ok(decoded) = decode(&bytes, &limits) {
                assert_eq!(decoded.rgb.len(), decoded.width as usize * decoded.height as usize * 3);
                prepare(decoded, &stretch(Resize::Nearest, 3, 3));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_size_is_prepared(
        (width, height, orientation) in (1_u32..90, 1_u32..90, 0_u8..10),
        (to_width, to_height, extra, crop) in (1_u32..70, 1_u32..70, 0_u32..30, any::<bool>()),
        (filter, exif) in (0_usize..4, any::<bool>()),
    ) {
        let rgb = (0..width * height * 3).map(|at| (at * 37 % 251) as u8).collect();
        let decoded = Decoded { width, height, rgb, orientation };
        let fit = if crop { Fit::CenterCrop { shorter_side: to_width.max(to_height) + extra } } else { Fit::Stretch };
        let spec = Preprocessing {
            fit,
            orientation: if exif { Orientation::Exif } else { Orientation::Ignore },
            ..stretch([Resize::Nearest, Resize::Bilinear, Resize::Bicubic, Resize::OpencvBilinear][filter], to_height, to_width)
        };
        prop_assert!(spec.validate().is_ok());
        let (tensor, _) = prepare(decoded, &spec);
        prop_assert_eq!(tensor.shape(), [3, to_height as usize, to_width as usize]);
        prop_assert!(tensor.data().iter().all(|value| (-1.0..=1.0).contains(value)));
    }
}
