//! Made-up pictures with many groups of prefix codes, and real ones: what counting them says, and what is decoded.

use super::{super::super::Limits, *};

const LIMITS: Limits = Limits { max_bytes: 1 << 22, max_pixels: 1 << 16 };

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

    /// A code of one symbol.
    fn one(&mut self, symbol: u32) -> &mut Self {
        self.put(0b101, 3).put(symbol, 8)
    }

    /// `count` codes of the symbol 0 alone, for what is not written.
    fn zeros(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.put(0b0001, 4);
        }
        self
    }

    /// A code with symbols of every length from 1 to 15, whose table takes as much as any.
    fn long(&mut self) -> &mut Self {
        // Code lengths 1 to 15 have codes of four bits each, as has 0.
        self.put(0, 1).put(19 - 4, 4);
        for symbol in [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
            self.put(if symbol < 16 { 4 } else { 0 }, 3);
        }
        // Sixteen symbols are written.
        self.put(1, 1).put(1, 3).put(16 - 2, 4);
        for length in (1..=15_u32).chain([15]) {
            self.put(length.reverse_bits() >> 28, 4);
        }
        self
    }
}

/// A picture of 4 × 4 pixels with `groups` groups of codes, each with long codes for three colours, and the file around it.
fn grouped(groups: u32) -> (Vec<u8>, Vec<u8>) {
    let mut bits = Bits::default();
    bits.put(0x2f, 8).put(3, 14).put(3, 14).put(0, 4);
    // No transform, no cache, and groups in blocks of 4 × 4: a single one, whose number is the last.
    bits.put(0, 1).put(0, 1).put(1, 1).put(0, 3);
    bits.put(0, 1).one((groups - 1) & 255).one((groups - 1) >> 8).zeros(3);
    for _ in 0..groups {
        bits.zeros(1).long().long().long().zeros(1);
    }
    bits.put(0, 64);
    let data = bits.bytes;
    let chunk = [&b"VP8L"[..], &(data.len() as u32).to_le_bytes(), &data, &vec![0; data.len() % 2]].concat();
    let file = [&b"RIFF"[..], &(chunk.len() as u32 + 4).to_le_bytes(), b"WEBP", &chunk].concat();
    (data, file)
}

#[test]
fn groups_of_codes_count() {
    let per_group = 3 * ((4 << 10) + 6 * 32) + 560;
    for groups in [1, 2, 256, 257, 3000] {
        let (data, _) = grouped(groups);
        // The group of the small picture that numbers the blocks comes first.
        assert_eq!(codes::bytes(&data, (4, 4), u64::MAX), Some(560 + u64::from(groups) * per_group), "{groups}");
    }
}

#[test]
fn few_groups_are_decoded_and_many_are_refused() {
    let decode = |file: &[u8]| super::super::decode(file, &LIMITS);
    assert_eq!(decode(&grouped(2000).1).map(|decoded| decoded.rgb.len()), Ok(4 * 4 * 3));
    let (_, many) = grouped(8000);
    assert!(many.len() < 1 << 20);
    let error = decode(&many).expect_err("100 MB of codes");
    assert!(matches!(error, ImageError::TooMuchMemory { format: Format::WebP, .. }), "{error}");
}

/// Sums that are right in 16 bits, and only there: 65 codes of one bit, and one of every length up to 10.
#[test]
fn codes_that_take_too_many_are_damage() {
    let mut bits = Bits::default();
    bits.put(0x2f, 8).put(3, 14).put(3, 14).put(0, 4).put(0, 3);
    // A length of 1 is written as one bit, and sixteen others as five.
    bits.put(0, 1).put(19 - 4, 4);
    for symbol in [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        bits.put(if symbol == 1 { 1 } else { u32::from(symbol < 16 || symbol == 17) * 5 }, 3);
    }
    bits.put(1, 1).put(3, 3).put(65 + 10 - 2, 8).put(0, 65);
    for length in (2..=10_u32).chain([10]) {
        bits.put((15 + length).reverse_bits() >> 27, 5);
    }
    bits.zeros(4).put(0, 64);
    assert_eq!(codes::bytes(&bits.bytes, (4, 4), u64::MAX), None);
}

#[test]
fn a_transform_comes_once() {
    let with = |times: usize| {
        let mut bits = Bits::default();
        bits.put(0x2f, 8).put(3, 14).put(3, 14).put(0, 4);
        for _ in 0..times {
            // Green is subtracted.
            bits.put(1, 1).put(2, 2);
        }
        bits.put(0, 3).zeros(5);
        codes::bytes(&bits.bytes, (4, 4), u64::MAX)
    };
    assert_eq!((with(0), with(1), with(2)), (Some(560), Some(560), None));
}

/// Symbols that the alphabet lacks, and two in an order that decoders read differently.
#[test]
fn codes_of_few_symbols_are_checked() {
    let with = |write: fn(&mut Bits) -> &mut Bits| {
        let mut bits = Bits::default();
        bits.put(0x2f, 8).put(3, 14).put(3, 14).put(0, 4).put(0, 3);
        write(&mut bits);
        codes::bytes(&bits.bytes, (4, 4), u64::MAX)
    };
    assert_eq!(with(|bits| bits.zeros(4).one(39)), Some(560));
    assert_eq!(with(|bits| bits.zeros(4).one(40)), None);
    assert_eq!(with(|bits| bits.zeros(4).one(255)), None);
    assert_eq!(with(|bits| bits.put(0b111, 3).put(3, 8).put(7, 8).zeros(4)), Some(560));
    assert_eq!(with(|bits| bits.put(0b111, 3).put(7, 8).put(3, 8).zeros(4)), None);
    assert_eq!(with(|bits| bits.put(0b111, 3).put(7, 8).put(7, 8).zeros(4)), None);
}

/// What an encoder writes: codes of every kind, colour caches, transforms, and groups.
#[test]
fn counting_reads_what_is_decoded() {
    let packed = include_bytes!("../../../../tests/fixtures/images/variants.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
    let mut seen = 0;
    for entry in archive.entries().expect("an archive") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry.expect("an entry"), &mut bytes).expect("a whole entry");
        let Some(start) = bytes.windows(4).position(|kind| kind == b"VP8L") else { continue };
        let data = &bytes[start + CHUNK..];
        let Ok((width, height)) = picture_size(*b"VP8L", data) else { continue };
        let whole = super::super::decode(&bytes, &LIMITS).is_ok();
        // At least the main picture's group, and no more than an encoder's pictures need.
        let counted = codes::bytes(data, (width, height), u64::MAX).is_some_and(|held| (560..1 << 20).contains(&held));
        assert!(counted || !whole);
        seen += usize::from(whole);
    }
    assert!(seen > 3, "{seen}");
}
