//! LZW, by `weezl`, as GIF and TIFF have it.
//!
//! Knows no format: GIF and TIFF bring their decoder and a buffer of the size that they allow.

use weezl::{LzwError, LzwStatus, decode::Decoder};

/// Fills `out` from `stored`; false if that ends before.
pub(super) fn fill(mut decoder: Decoder, stored: &[u8], out: &mut [u8]) -> Result<bool, LzwError> {
    let (mut read, mut filled) = (0, 0);
    while filled < out.len() {
        // The decoder may hold pixels back until it is asked again.
        let result = decoder.decode_bytes(&stored[read..], &mut out[filled..]);
        read += result.consumed_in;
        filled += result.consumed_out;
        if !matches!(result.status?, LzwStatus::Ok) {
            break;
        }
    }
    Ok(filled == out.len())
}
