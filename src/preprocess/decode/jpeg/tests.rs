//! JPEG against Pillow 13, by the hash of its pixels, and what decoding may cost.

use std::{fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{
    super::{
        super::{Format, ImageError, Limits, decode},
        header,
    },
    markers::{Head, SCAN_SAMPLES},
};

const LIMITS: Limits = Limits { max_bytes: 64 << 20, max_pixels: 50_000_000 };

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn case(file: &str) -> Vec<u8> {
    fs::read(fixtures().join("images").join(file)).expect("a fixture")
}

/// SHA-256 of the RGB bytes, or `refused`.
fn outcome(bytes: &[u8]) -> String {
    match decode(bytes, &LIMITS) {
        Ok(decoded) => hex::encode(Sha256::digest(&decoded.rgb)),
        Err(_) => "refused".to_owned(),
    }
}

#[track_caller]
fn check_pillows(file: &str, expected: &str) {
    assert_eq!(outcome(&case(file)), expected, "{file}");
}

const PICTURE: &str = "6e2b6c9ad267fbbfecf4acd625282f26b25fa285ff1a8332221dd6aceaf2fc04";

#[test]
fn baseline_is_pillows() {
    check_pillows("j_420.jpg", PICTURE);
}

#[test]
fn several_scans_with_halved_chroma_are_pillows() {
    check_pillows("j_noninterleaved.jpg", PICTURE);
}

#[test]
fn jfif_beats_an_adobe_transform() {
    check_pillows("j_420_jfif_adobe0.jpg", PICTURE);
}

#[test]
fn adobes_transform_counts_without_jfif() {
    check_pillows("j_rgb_adobe0.jpg", "10b04326bd904ed61a4d49de789831e2166d67377d94c3b31b3de62ba14a5775");
}

#[test]
fn arithmetic_coding_is_pillows() {
    check_pillows("j_arithmetic.jpg", PICTURE);
}

#[test]
fn progressive_with_restarts_is_pillows() {
    check_pillows("j_progressive_restart.jpg", PICTURE);
}

#[test]
fn every_component_has_its_own_sampling() {
    check_pillows("j_mixed_sampling.jpg", "33e1b48edc5b37c78f90ffa5946491ba679c78d277189a11662189fb109f9dce");
}

#[test]
fn ycck_is_pillows() {
    check_pillows("j_ycck_420.jpg", "62aa8b772eadd371815214f1d6bf57bc7c5b983b7e98e2fdb6976aed553580b2");
}

#[test]
fn coded_data_that_ends_early_is_padded_as_pillow_pads_it() {
    check_pillows("panic8x8.jpg", "5d89f056865052bcb89c910d2d62872e029fb273c3db03f8968a52a41593c1b5");
}

#[test]
fn a_truncated_file_is_refused() {
    let error = decode(&case("j_truncated.jpg"), &LIMITS).expect_err("it is truncated");
    assert_eq!(error.to_string(), "the JPEG is truncated or corrupt: it ends before its last row");
}

/// Files of every kind that `tests/goldens/jpegs.py` could think of, legal and not.
#[test]
fn every_kind_is_pillows() {
    let file = fs::File::open(fixtures().join("jpegs.tar.gz")).expect("the fixture");
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let (mut expected, mut files) = (String::new(), Vec::new());
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        if name == "expected.tsv" {
            entry.read_to_string(&mut expected).expect("text");
        } else {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a file");
            files.push((name, bytes));
        }
    }
    let lines: Vec<_> = expected.lines().map(|line| line.split_once('\t').expect("two columns")).collect();
    assert!(lines.len() > 1000 && lines.len() == files.len(), "the listing is whole");
    let differs = |((name, expected), (file, bytes)): (&(&str, &str), &(String, Vec<u8>))| {
        assert_eq!(name, file);
        let found = outcome(bytes);
        (found != *expected).then(|| format!("{name}: {found}, Pillow has {expected}"))
    };
    let wrong: Vec<_> = lines.iter().zip(&files).filter_map(differs).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), files.len());
}

/// A progressive file of full components, with `scans` scans of all their DC, and no data.
fn empty_scans(width: u16, height: u16, components: u8, scans: usize) -> Vec<u8> {
    let [h1, h0] = height.to_be_bytes();
    let [w1, w0] = width.to_be_bytes();
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    // One table, with one code.
    file.extend([0xff, 0xc4, 0, 20, 0, 1]);
    file.extend([0; 16]);
    file.extend([0xff, 0xc2, 0, 8 + 3 * components, 8, h1, h0, w1, w0, components]);
    file.extend((0..components).flat_map(|id| [id, 0x11, 0]));
    for _ in 0..scans {
        file.extend([0xff, 0xda, 0, 6 + 2 * components, components]);
        file.extend((0..components).flat_map(|id| [id, 0]));
        file.extend([0, 0, 0]);
    }
    file.extend([0xff, 0xd9]);
    file
}

#[test]
fn scans_are_counted_with_what_they_visit() {
    #[track_caller]
    fn check(file: &str, expected: Option<(u32, u64, u64)>) {
        let scans = Head::read(&case(file)).expect("a legal header").scans();
        assert_eq!(
            scans.map(|scans| (scans.count, scans.samples - u64::from(scans.count) * SCAN_SAMPLES, scans.bytes)),
            expected
        );
    }
    // 13 × 16 is one unit of 16 × 16 at half the colours, and 2 × 2 blocks without.
    check("ycbcr_420.jpg", None);
    check("grey.jpg", None);
    check("progressive_420.jpg", Some((10, 2 * 384 + 4 * 64 + 4 * 256, 2 * 384)));
    check("progressive_444.jpg", Some((10, 2 * 768 + 8 * 256, 2 * 768)));
    check("j_noninterleaved.jpg", Some((3, 64 * 48 * 3 / 2, 64 * 48 * 3)));
}

#[test]
fn empty_scans_are_refused_before_they_are_decoded() {
    let ten = empty_scans(7000, 7000, 3, 10);
    decode(&ten, &LIMITS).expect("ten scans of three full components are honest");
    // However few pixels the image has of those that are allowed.
    for side in [700, 7000] {
        let error = decode(&empty_scans(side, side, 3, 98), &LIMITS).expect_err("98 are not");
        assert_eq!(error.code(), "too_many_scans");
        assert!(error.to_string().starts_with("the JPEG's scans (98) visit 14"), "{error}");
    }
    // However small the image, a scan costs something.
    assert!(decode(&empty_scans(8, 8, 3, 60), &LIMITS).is_ok());
    let many = empty_scans(8, 8, 3, 90_000);
    assert!(matches!(decode(&many, &LIMITS), Err(ImageError::TooManyScans { scans: 90_000, .. })));
}

#[test]
fn bytes_pay_for_scans() {
    let mut file = empty_scans(700, 700, 3, 98);
    assert!(decode(&file, &LIMITS).is_err());
    file.splice(2..2, [&b"\xff\xfe\xff\xff"[..], &[0; 65533]].concat().repeat(40));
    decode(&file, &LIMITS).expect("it is as long as one whose scans are full");
}

/// However many bytes a file has, no image keeps a thread for much longer than the largest usual one.
#[test]
fn bytes_do_not_pay_for_more_than_any_image_may_take() {
    let mut file = empty_scans(7000, 7000, 3, 12);
    file.splice(2..2, [&b"\xff\xfe\xff\xff"[..], &[0; 65533]].concat().repeat(100));
    let error = header(&file, &LIMITS).expect_err("twelve visits of the largest image");
    assert_eq!(error.code(), "too_much_work");
    assert!(error.to_string().ends_with("and 1516777216 are allowed; save it smaller, or as baseline"), "{error}");
}

/// What arithmetic coding expects takes no bytes, and may be thirty decisions for each sample.
#[test]
fn arithmetic_coding_is_paid_for_by_bytes_alone() {
    let arithmetic = |side, marker| {
        let mut file = empty_scans(side, side, 3, 1);
        let frame = file.iter().position(|&byte| byte == 0xc2).expect("a frame header");
        file[frame] = marker;
        file
    };
    decode(&arithmetic(1000, 0xca), &LIMITS).expect("a small one is read");
    for marker in [0xc9, 0xca] {
        let error = decode(&arithmetic(1500, marker), &LIMITS).expect_err("a blank one");
        assert!(error.to_string().ends_with("allowed for its size; save it with Huffman coding"), "{error}");
    }
    let mut paid = arithmetic(1500, 0xca);
    paid.splice(2..2, [&b"\xff\xfe\xff\xff"[..], &[0; 65533]].concat().repeat(2));
    decode(&paid, &LIMITS).expect("what an encoder writes for a photo is longer than this");
}

#[test]
fn coefficients_count_as_memory() {
    let error = decode(&empty_scans(7000, 7000, 4, 1), &LIMITS).expect_err("12 bytes for every pixel");
    assert_eq!(
        error,
        ImageError::TooMuchMemory { format: Format::Jpeg, bytes: 12 * 7000 * 7000, limit: 9 * 50_000_000 + (32 << 20) }
    );
    let small = Limits { max_pixels: 1000, ..LIMITS };
    assert!(decode(&empty_scans(10, 100, 4, 1), &small).is_ok(), "what does not grow with the area has room");
}

#[test]
fn walking_over_markers_takes_linear_time() {
    // Where a walk that begins anew at every byte would never end.
    for filling in [&b"\xff"[..], b"\xff\x00", b"\xff\xd0", b"\xff\xfe\x00\x02", b"\xff\xda\x00\x02", b"\xff\xe0\x00\x00"] {
        let mut file = empty_scans(16, 16, 3, 1);
        file.truncate(file.len() - 2);
        let mut bytes = file.clone();
        while bytes.len() < 1 << 20 {
            bytes.extend_from_slice(filling);
        }
        assert!(decode(&bytes, &LIMITS).is_err(), "{filling:?} has no end");
        let mut front = b"\xff\xd8".to_vec();
        front.extend_from_slice(&bytes[file.len()..]);
        assert!(decode(&front, &LIMITS).is_err(), "{filling:?} has no frame");
    }
}
