//! LZW, by `weezl`, as GIF and TIFF have it.
//!
//! Knows no format: GIF and TIFF bring their decoder and a buffer of the size that they allow.

use weezl::{LzwError, LzwStatus, decode::Decoder};

use super::{super::ImageError, Bounds, STEP};

/// Fills `out` from `stored`; false if that ends before.
pub(super) fn fill(
    mut decoder: Decoder,
    stored: &[u8],
    out: &mut [u8],
    bounds: &Bounds<'_>,
) -> Result<Result<bool, LzwError>, ImageError> {
    let (mut read, mut filled) = (0, 0);
    while filled < out.len() {
        bounds.go_on()?;
        // The decoder may hold pixels back until it is asked again.
        let end = out.len().min(filled + STEP);
        let result = decoder.decode_bytes(&stored[read..], &mut out[filled..end]);
        read += result.consumed_in;
        filled += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(_) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(filled == out.len()))
}
