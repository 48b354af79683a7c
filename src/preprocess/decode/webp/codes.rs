//! What the prefix codes of a lossless WebP picture take in memory, read before the picture is decoded.
//!
//! A picture may have 65,536 groups of codes whatever its size, and a few bytes describe a table of kilobytes. The bits are
//! read as RFC 9649 lays them out (section 3), and no pixel is kept. Knows no limits but the one it is given.

/// Width and height of a picture, or of the smaller ones that describe its transforms and groups.
type Size = (u64, u64);

/// Symbols of green and lengths, red, blue, alpha, and distances; a colour cache adds to the first.
const ALPHABETS: [u32; 5] = [256 + LENGTHS, 256, 256, 256, 40];
const LENGTHS: u32 = 24;
/// The order in which the lengths of the code for code lengths are stored.
const ORDER: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const LONGEST: usize = 15;
/// `image-webp` looks up codes of this many bits in a table of four bytes each; longer ones are leaves of a tree with two
/// nodes of 16 bytes for every leaf.
const TABLE_BITS: usize = 10;
const TABLE_ENTRY: u64 = 4;
const LEAF: u64 = 32;
/// Bytes of a group before its tables, as `image-webp` keeps it in a list that doubles.
const GROUP: u64 = 2 * 280;

/// Bytes that the prefix codes of the picture take, whose chunk is `data`; counting ends where they go beyond `limit`.
///
/// `None` for a picture whose codes are damaged or cut short: what a decoder would make of it could not be told.
pub(super) fn bytes(data: &[u8], size: (u32, u32), limit: u64) -> Option<u64> {
    // A signature, the size, alpha and version.
    let mut reader = Reader { bits: Bits { bytes: data, at: 40 }, held: 0, limit };
    let whole = reader.picture((size.0.into(), size.1.into())).is_some();
    (whole || reader.held > limit).then_some(reader.held)
}

/// `None` wherever the bits end, are wrong, or count enough.
struct Reader<'a> {
    bits: Bits<'a>,
    held: u64,
    limit: u64,
}

impl Reader<'_> {
    /// Transforms, each at most once, and the main picture up to its pixels.
    fn picture(&mut self, (mut width, height): Size) -> Option<()> {
        let mut seen = [false; 4];
        while self.bits.take(1)? == 1 {
            let transform = self.bits.take(2)?;
            // A few bytes describe one with millions of blocks.
            if std::mem::replace(&mut seen[transform as usize], true) {
                return None;
            }
            match transform {
                0 | 1 => {
                    let block = self.bits.take(3)? + 2;
                    self.small((blocks(width, block), blocks(height, block)))?;
                }
                2 => {}
                _ => {
                    let colors = u64::from(self.bits.take(8)?) + 1;
                    self.small((colors, 1))?;
                    width = blocks(
                        width,
                        match colors {
                            ..=2 => 3,
                            3..=4 => 2,
                            5..=16 => 1,
                            _ => 0,
                        },
                    );
                }
            }
        }
        let cache = self.cache()?;
        let mut groups = 1;
        if self.bits.take(1)? == 1 {
            let block = self.bits.take(3)? + 2;
            groups += self.small((blocks(width, block), blocks(height, block)))?;
        }
        for _ in 0..groups {
            self.group(cache)?;
        }
        Some(())
    }

    /// One of the smaller pictures, its pixels included: the highest number that red and green of a pixel make.
    ///
    /// Only literals count: what is copied, or taken from the cache, has been one (or is 0).
    fn small(&mut self, (width, height): Size) -> Option<u32> {
        let cache = self.cache()?;
        let [green, red, blue, alpha, distance] = self.group(cache)?;
        let (mut left, mut highest) = (width * height, 0);
        while left > 0 {
            let before = self.bits.at;
            let symbol = green.read(&mut self.bits)?;
            let pixels = if symbol < 256 {
                highest = highest.max(red.read(&mut self.bits)? << 8 | symbol);
                blue.read(&mut self.bits)?;
                alpha.read(&mut self.bits)?;
                1
            } else if symbol < 256 + LENGTHS {
                let pixels = self.bits.extended(symbol - 256)?;
                let distance = distance.read(&mut self.bits)?;
                self.bits.extended(distance)?;
                pixels
            } else {
                1
            };
            left = left.checked_sub(pixels)?;
            // What took no bits is repeated to the end.
            if self.bits.at == before {
                left %= pixels;
                if left > 0 {
                    return None;
                }
            }
        }
        Some(highest)
    }

    /// Colours that a cache adds to the alphabet.
    fn cache(&mut self) -> Option<u32> {
        if self.bits.take(1)? == 0 {
            return Some(0);
        }
        let bits = self.bits.take(4)?;
        (1..=11).contains(&bits).then(|| 1 << bits)
    }

    fn group(&mut self, cache: u32) -> Option<[Code; 5]> {
        self.held += GROUP;
        let [green, others @ ..] = ALPHABETS;
        let green = self.code(green + cache)?;
        let [red, blue, alpha, distance] = others.map(|symbols| self.code(symbols));
        let group = [green, red?, blue?, alpha?, distance?];
        (self.held <= self.limit).then_some(group)
    }

    fn code(&mut self, symbols: u32) -> Option<Code> {
        if self.bits.take(1)? == 1 {
            let two = self.bits.take(1)? == 1;
            let wide = self.bits.take(1)?;
            let first = self.bits.take(1 + 7 * wide)?;
            let mut code = Code { counts: [0; LONGEST + 1], symbols: vec![first as u16] };
            if two {
                code.symbols.push(self.bits.take(8)? as u16);
            }
            // libwebp gives the lower of two the code 0, `image-webp` the first; no encoder writes them otherwise.
            let is_known = code.symbols.iter().all(|&symbol| u32::from(symbol) < symbols);
            if !is_known || !code.symbols.is_sorted_by(|first, second| first < second) {
                return None;
            }
            code.counts[1] = code.symbols.len() as u32;
            return Some(code);
        }
        let mut lengths = [0; ORDER.len()];
        let count = self.bits.take(4)? as usize + 4;
        for &symbol in ORDER.iter().take(count) {
            lengths[symbol] = self.bits.take(3)? as u8;
        }
        let code = Code::of(&self.lengths(&Code::of(&lengths)?, symbols)?)?;
        self.held += code.held();
        Some(code)
    }

    /// The lengths of a code's symbols, which are written by another code.
    fn lengths(&mut self, code: &Code, symbols: u32) -> Option<Vec<u8>> {
        let mut written = symbols;
        if self.bits.take(1)? == 1 {
            let bits = 2 + 2 * self.bits.take(3)?;
            written = 2 + self.bits.take(bits)?;
        }
        let (mut lengths, mut last) = (Vec::with_capacity(symbols as usize), 8);
        while lengths.len() < symbols as usize && written > 0 {
            written -= 1;
            let (length, times) = match code.read(&mut self.bits)? {
                16 => (last, 3 + self.bits.take(2)?),
                17 => (0, 3 + self.bits.take(3)?),
                18 => (0, 11 + self.bits.take(7)?),
                length => (length as u8, 1),
            };
            if length > 0 {
                last = length;
            }
            lengths.extend(std::iter::repeat_n(length, times as usize));
        }
        (lengths.len() <= symbols as usize).then_some(lengths)
    }
}

/// A canonical prefix code.
struct Code {
    /// How many symbols have codes of each length.
    counts: [u32; LONGEST + 1],
    /// Symbols by length, then by number.
    symbols: Vec<u16>,
}

impl Code {
    /// `None` without symbols, and where the lengths leave codes over or take too many.
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; LONGEST + 1];
        lengths.iter().for_each(|&length| counts[usize::from(length)] += 1);
        counts[0] = 0;
        let mut next = [0; LONGEST + 1];
        for length in 1..LONGEST {
            next[length + 1] = next[length] + counts[length] as usize;
        }
        let mut symbols = vec![0; counts.iter().sum::<u32>() as usize];
        for (symbol, &length) in (0..).zip(lengths).filter(|&(_, &length)| length > 0) {
            let at = &mut next[usize::from(length)];
            symbols[*at] = symbol;
            *at += 1;
        }
        let taken: u32 = counts.iter().enumerate().map(|(length, count)| count << (LONGEST - length)).sum();
        (symbols.len() == 1 || taken == 1 << LONGEST).then_some(Self { counts, symbols })
    }

    /// The next symbol; a code of one symbol takes no bits.
    fn read(&self, bits: &mut Bits<'_>) -> Option<u32> {
        if let [only] = self.symbols[..] {
            return Some(only.into());
        }
        let (mut code, mut first, mut at) = (0, 0, 0);
        for count in &self.counts[1..] {
            code = code << 1 | bits.take(1)?;
            first <<= 1;
            if code < first + count {
                return self.symbols.get((at + code - first) as usize).map(|&symbol| symbol.into());
            }
            first += count;
            at += count;
        }
        None
    }

    /// Bytes of its table and tree.
    fn held(&self) -> u64 {
        if self.symbols.len() == 1 {
            return 0;
        }
        let longest = self.counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let leaves: u32 = self.counts[(TABLE_BITS + 1).min(longest + 1)..].iter().sum();
        (TABLE_ENTRY << longest.min(TABLE_BITS)) + u64::from(leaves) * LEAF
    }
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            value |= u32::from(self.bytes.get(self.at / 8)? >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }

    /// A length or a distance, whose symbol says how many bits follow it.
    fn extended(&mut self, symbol: u32) -> Option<u64> {
        if symbol < 4 {
            return Some(u64::from(symbol) + 1);
        }
        let extra = (symbol - 2) / 2;
        Some((u64::from(2 + symbol % 2) << extra) + u64::from(self.take(extra)?) + 1)
    }
}

/// Blocks of a side of `1 << bits` that cover `pixels`.
fn blocks(pixels: u64, bits: u32) -> u64 {
    pixels.div_ceil(1 << bits)
}
