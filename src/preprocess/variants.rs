//! Odd, rare and damaged files, made by `tests/goldens/formats.py`: Pillow's pixels, or a refusal where Pillow refuses.

use std::{collections::BTreeMap, fs, io::Read};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Limits, decode, header};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20 };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    width: Option<u32>,
    height: Option<u32>,
    sha256: Option<String>,
    orientation: Option<u8>,
    /// What Pillow said.
    refused: Option<String>,
    /// Where graft differs on purpose: `refuses` or `reads`.
    graft: Option<String>,
}

fn fixture(file: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/fixtures/images/{file}", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
}

/// Every variant, by name.
fn variants() -> Vec<(String, Vec<u8>)> {
    let packed = fixture("variants.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
    let files = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a whole entry");
        (name, bytes)
    });
    files.collect()
}

#[test]
fn variants_decode_as_pillows() {
    let expected: BTreeMap<String, Variant> = serde_json::from_slice(&fixture("variants.json")).expect("a valid listing");
    let files = variants();
    assert_eq!(files.len(), expected.len());
    let mut wrong = Vec::new();
    for (name, bytes) in files {
        let variant = &expected[&name];
        let reads = match variant.graft.as_deref() {
            Some(graft) => graft == "reads",
            None => variant.refused.is_none(),
        };
        match decode(&bytes, &LIMITS) {
            Err(error) if reads => wrong.push(format!("{name}: {error}")),
            Ok(_) if !reads => wrong.push(format!("{name} is read; Pillow: {:?}", variant.refused)),
            Err(error) if variant.refused.is_none() && error.code() != "unsupported_pixels" => {
                wrong.push(format!("{name} is not refused by name: {error}"));
            }
            Err(_) => {}
            Ok(decoded) => {
                let header = header(&bytes, &LIMITS).expect("it decodes");
                assert_eq!((header.width, header.height), (decoded.width, decoded.height), "{name}");
                let Some(sha256) = &variant.sha256 else { continue };
                let digest: String = hex::encode(Sha256::digest(&decoded.rgb));
                let size = (Some(decoded.width), Some(decoded.height)) == (variant.width, variant.height);
                if !size || digest != *sha256 || decoded.orientation != variant.orientation.unwrap_or(1) {
                    wrong.push(format!("{name}: {} × {}, orientation {}", decoded.width, decoded.height, decoded.orientation));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_png_needs_no_end_chunk() {
    let decoded = decode(&fixture("p_no_iend.png"), &LIMITS).expect("its pixels are whole");
    let digest: String = hex::encode(Sha256::digest(&decoded.rgb));
    assert_eq!((decoded.width, decoded.height), (64, 48));
    assert_eq!(digest, "a315c75f85a1a5a430094cf6d9af1e2c952a0eb81a643ce02a31fb88273867f4");
}

/// What comes behind a run of equal pixels is only given once the decoder knows that nothing follows.
#[test]
fn a_png_of_one_colour_is_whole() {
    let decoded = decode(&fixture("plain.png"), &LIMITS).expect("Pillow wrote it");
    assert_eq!((decoded.width, decoded.height), (256, 256));
    assert!(decoded.rgb.iter().all(|&level| level == 0));
}

/// Damage in a file of every variant, some rounds for each, the same in every run.
#[test]
fn damage_is_refused_without_a_panic() {
    let mut state = 7_u64;
    let mut random = move |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for (name, intact) in variants() {
        for round in 0..12 {
            let mut bytes = intact.clone();
            match round % 3 {
                0 => bytes.truncate(random(intact.len())),
                1 => (0..3).for_each(|_| bytes[random(intact.len())] = [0, 1, 0x7f, 0x80, 0xff][random(5)]),
                _ => (0..2).for_each(|_| bytes[random(intact.len())] ^= 1 << random(8)),
            }
            match decode(&bytes, &LIMITS) {
                Ok(decoded) => assert_eq!(decoded.rgb.len(), decoded.width as usize * decoded.height as usize * 3, "{name}"),
                // The guard makes a panic an error; our own readers must not need it.
                Err(error) if !name.ends_with(".webp") => {
                    assert!(!error.to_string().contains("its decoder failed"), "{name}, round {round}: {error}");
                }
                Err(_) => {}
            }
        }
    }
}

/// A TIFF's tags, each with one number, and nothing behind them.
fn tags(tags: &[(u16, u32)]) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend_from_slice(&(tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        let (tag, number, one, value) = (tag.to_le_bytes(), 4_u16.to_le_bytes(), 1_u32.to_le_bytes(), value.to_le_bytes());
        bytes.extend([&tag[..], &number, &one, &value].concat());
    }
    [bytes, vec![0; 4]].concat()
}

#[test]
fn strips_that_take_too_much_memory_are_refused() {
    let limits = Limits { max_bytes: 1 << 20, max_pixels: 50_000_000 };
    let deflated = |rows: u32, samples: u32| {
        let (layout, samples) =
            ([(256, 10_000), (257, 5_000), (258, 16), (259, 8), (262, 2), (273, 8)], [(277, samples), (278, rows)]);
        decode(&tags(&[&layout[..], &samples].concat()), &limits).expect_err("it holds no pixel")
    };
    assert_eq!(deflated(5_000, 6).code(), "too_much_memory");
    // What a camera's software writes is read, up to its pixels.
    assert_eq!(deflated(5_000, 3).code(), "broken");
    assert_eq!(deflated(64, 6).code(), "broken");
}

/// The most memory that this process has held, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
}

/// As many zeros as make a bomb, deflated.
fn bomb() -> Vec<u8> {
    let mut deflated = flate2::read::ZlibEncoder::new(std::io::repeat(0).take(256 << 20), flate2::Compression::fast());
    let mut bytes = Vec::new();
    deflated.read_to_end(&mut bytes).expect("zeros deflate");
    bytes
}

#[test]
fn nothing_that_pixels_do_not_need_is_inflated() {
    let plain = variants().into_iter().find(|(name, _)| name == "2_8.png").expect("a variant").1;
    let (header, rest) = plain.split_at(33);
    let bomb = bomb();
    let chunks = [
        png_chunk(b"iCCP", &[b"p\0\0", &bomb[..]].concat()),
        png_chunk(b"zTXt", &[b"p\0\0", &bomb[..]].concat()),
        png_chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\x01\0\0\0", &bomb[..]].concat()),
    ];
    let file = [header, &chunks.concat(), rest].concat();
    let limits = Limits { max_bytes: 16 << 20, ..LIMITS };
    let before = peak();
    let decoded = decode(&file, &limits).expect("its pixels are whole");
    assert_eq!(decoded.rgb, decode(&plain, &limits).expect("a valid image").rgb);
    assert!(peak() - before < 32 << 20, "{} bytes", peak() - before);
}

#[test]
fn pictures_within_pictures_are_bounded() {
    let before = peak();
    let chunk = |kind: &[u8], data: &[u8]| [kind, &(data.len() as u32).to_le_bytes(), data].concat();
    let picture = [&b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f"[..], &[0; 90]].concat();
    let body = [&b"WEBP"[..], &chunk(b"VP8X", &[0; 10]), &chunk(b"VP8 ", &picture)].concat();
    let webp = chunk(b"RIFF", &body);
    let short = |tag: u16, value: u16| [&tag.to_le_bytes()[..], &[3, 0, 1, 0, 0, 0], &value.to_le_bytes(), &[0, 0]].concat();
    let tags = [(256, 1), (257, 1), (258, 8), (262, 1), (322, 60_000), (323, 60_000), (324, 8), (325, 8)];
    let entries: Vec<u8> = tags.into_iter().flat_map(|(tag, value)| short(tag, value)).collect();
    let tiff = [&b"II*\0\x08\0\0\0\x08\0"[..], &entries, &[0; 4]].concat();
    let tags = [(256, 1), (257, 2000), (258, 8), (262, 1), (322, 60_000), (323, 1), (324, 8), (325, 8)];
    let entries: Vec<u8> = tags.into_iter().flat_map(|(tag, value)| short(tag, value)).collect();
    let padded = [&b"II*\0\x08\0\0\0\x08\0"[..], &entries, &[0; 4]].concat();
    for (file, code) in [(webp, "broken"), (tiff, "unsupported_pixels"), (padded, "unsupported_pixels")] {
        let error = decode(&file, &LIMITS).expect_err("a bomb");
        assert_eq!(error.code(), code, "{error}");
    }
    assert!(peak() - before < 32 << 20, "{} bytes", peak() - before);
}

/// A grey TIFF of one column, a strip for each row, all of which are stored at the same place: `stored`.
fn overlapping(rows: u32, compression: u16, stored: &[u8]) -> Vec<u8> {
    let entry =
        |tag: u16, count: u32, value: u32| [&tag.to_le_bytes()[..], &[4, 0], &count.to_le_bytes(), &value.to_le_bytes()].concat();
    let offsets = 8 + 2 + 7 * 12 + 4;
    let data = offsets + 4 * rows;
    let entries = [
        entry(256, 1, 1),
        entry(257, 1, rows),
        entry(258, 1, 8),
        entry(259, 1, compression.into()),
        entry(262, 1, 1),
        entry(273, rows, offsets),
        entry(278, 1, 1),
    ];
    let offsets = data.to_le_bytes().repeat(rows as usize);
    [&b"II*\0\x08\0\0\0\x07\0"[..], &entries.concat(), &[0; 4], &offsets, stored].concat()
}

#[test]
fn strips_that_overlap_are_read_in_bounded_time() {
    let limits = Limits { max_bytes: 4 << 20, ..LIMITS };
    let mut row = Vec::new();
    flate2::read::ZlibEncoder::new(&b"\x07"[..], flate2::Compression::fast()).read_to_end(&mut row).expect("it deflates");
    assert!(decode(&overlapping(60_000, 8, &row), &limits).expect("small strips are read").rgb.iter().all(|&level| level == 7));
    for (rows, bytes) in [(60_000, 1 << 20), (2000, 7000)] {
        row.resize(bytes, 0);
        for compression in [7, 8] {
            let error = decode(&overlapping(rows, compression, &row), &limits).expect_err("it is many times the file");
            assert!(error.to_string().contains(&format!("{rows} strips or tiles that take more than ")), "{error}");
        }
    }
}
