//! LZW, by `weezl`, as GIF and TIFF have it.
//!
//! Knows no format: GIF and TIFF bring their decoder and a buffer of the size that they allow.

use std::fmt;

use weezl::{LzwError, LzwStatus, decode::Decoder};

use super::{super::ImageError, Bounds, STEP};

/// What beginning anew costs, in the time of a sample.
const BEGINNING: u64 = 4;

/// Entries of the table that are made anew in the time of a sample, where a clear code follows another.
const ENTRIES: u64 = 4;

/// How often it may begin anew besides what its samples pay for.
const FREE_BEGINNINGS: u64 = 16;

/// What a sample pays for: beginning anew after every one. Writers that compress nothing, or runs alone, do so after two, or five.
const PAID: u64 = 4;

/// Why nothing more is read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The decoder's own.
    Lzw(LzwError),
    /// Clear codes cost time and give no sample; 30 MB of them take minutes.
    Idle,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lzw(error) => error.fmt(f),
            Self::Idle => f.write_str("its codes begin anew more often than they say anything"),
        }
    }
}

/// Fills `out` from `stored`, in codes of `bits` and more; false if that ends before.
pub(super) fn fill(
    (mut decoder, bits): (Decoder, u8),
    stored: &[u8],
    out: &mut [u8],
    bounds: &Bounds<'_>,
) -> Result<Result<bool, Fault>, ImageError> {
    let entries = (1 << bits) / ENTRIES;
    let free = FREE_BEGINNINGS * (BEGINNING + entries);
    let (mut read, mut filled, mut cost) = (0, 0, 0);
    while filled < out.len() {
        bounds.go_on()?;
        if cost > free + PAID * filled as u64 {
            return Ok(Err(Fault::Idle));
        }
        // The decoder may hold pixels back until it is asked again.
        let end = out.len().min(filled + STEP);
        let result = decoder.decode_bytes(&stored[read..], &mut out[filled..end]);
        read += result.consumed_in;
        filled += result.consumed_out;
        // A call ends where the codes begin anew, if it does not fill its step.
        cost += if result.consumed_out == 0 { BEGINNING + entries } else { BEGINNING };
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(_) => break,
            Err(error) => return Ok(Err(Fault::Lzw(error))),
        }
    }
    Ok(Ok(filled == out.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use weezl::BitOrder;

    use super::{super::super::Limits, *};

    /// Codes of `width` bits, the first in the lowest.
    fn packed(codes: impl IntoIterator<Item = u32>, width: u32) -> Vec<u8> {
        let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u64, 0);
        for code in codes {
            held |= u64::from(code) << bits;
            bits += width;
            while bits >= 8 {
                bytes.push(held as u8);
                held >>= 8;
                bits -= 8;
            }
        }
        bytes.push(held as u8);
        bytes
    }

    #[test]
    fn codes_that_only_begin_anew_are_given_up_and_honest_ones_are_not() {
        let limits = Limits { max_bytes: 32 << 20, max_pixels: 50_000_000 };
        let never = AtomicBool::new(false);
        let check = |bits: u8, pattern: &[u32], samples: usize, whole: bool| {
            let clear = 1 << bits;
            let codes = pattern.iter().map(|&code| if code == u32::MAX { clear } else { code });
            let stored = packed(codes.cycle().take(200_000), u32::from(bits) + 1);
            let decoder = Decoder::new(BitOrder::Lsb, bits);
            let filled = fill((decoder, bits), &stored, &mut vec![0; samples], &Bounds::of(&limits, &never)).expect("it goes on");
            assert_eq!(matches!(filled, Ok(true)), whole, "{bits} bits, {pattern:?}: {filled:?}");
            assert!(whole || matches!(filled, Err(Fault::Idle)), "{bits} bits, {pattern:?}: {filled:?}");
        };
        const CLEAR: u32 = u32::MAX;
        for bits in [1, 2, 8, 12] {
            check(bits, &[CLEAR], 1, false);
            check(bits, &[CLEAR; 100], 1000, false);
        }
        check(8, &[CLEAR, CLEAR, 7], 50_000, false);
        check(12, &[CLEAR, CLEAR, 7, 7, 7], 50_000, false);
        // Runs, each with codes of its own.
        check(8, &[CLEAR, 7, 258, 259], 100_000, true);
        check(8, &[CLEAR, 7], 90_000, true);
        // As writers do that compress nothing: a clear code before the codes would get longer.
        check(2, &[CLEAR, 1, 1], 100_000, true);
        let uncompressed = [&[CLEAR][..], &[7; 254]].concat();
        check(8, &uncompressed, 190_000, true);
        check(4, &[&[CLEAR][..], &[7; 14]].concat(), 180_000, true);
    }
}
