//! The boundary to libjpeg-turbo: one call into `libjpeg.c`, which drives it as Pillow does.
//!
//! Knows no markers and no limits: what to expect and what it may cost is in the [`Order`].
#![expect(unsafe_code, reason = "libjpeg is C, and only C can catch its longjmp")]

use std::{
    ffi::{CStr, c_char, c_int},
    sync::atomic::AtomicBool,
};

// Links the library that `build.rs` compiles `libjpeg.c` against.
use turbojpeg_sys as _;

/// libjpeg's `JMSG_LENGTH_MAX`.
const MESSAGE: usize = 200;

/// What the header says, and what decoding may cost.
#[repr(C)]
pub(super) struct Order<'a> {
    pub width: u32,
    pub height: u32,
    /// 1, 3 or 4: samples come as grey, RGB or CMYK (0 is full ink).
    pub components: u32,
    /// How many scans the file has.
    pub scans: u32,
    /// How many bytes libjpeg may hold in coefficients.
    pub memory: usize,
    /// Once true, decoding ends at the next row of blocks.
    pub cancelled: &'a AtomicBool,
}

/// Why there are no samples.
#[derive(Debug)]
pub(super) enum Failure {
    /// The file ends before its last row.
    Truncated,
    /// libjpeg's message.
    Failed(String),
    /// libjpeg reads another header or more scans than the order says.
    Misread,
    /// The order was cancelled.
    Cancelled,
}

unsafe extern "C" {
    fn graft_jpeg_decode(
        bytes: *const u8,
        length: usize,
        order: *const Order<'_>,
        samples: *mut u8,
        message: *mut c_char,
    ) -> c_int;
}

impl Order<'_> {
    /// Bytes of a whole image.
    pub(super) fn samples(&self) -> usize {
        self.width as usize * self.height as usize * self.components as usize
    }

    /// Decodes `bytes` to rows from the top, samples interleaved.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut samples = vec![0; self.samples()];
        let mut message = [0; MESSAGE];
        // SAFETY: the function reads `bytes.len()` bytes, and writes `width * height * components` bytes of `samples`, whose
        // size is just that, after it has found these three in the file; it writes at most `JMSG_LENGTH_MAX` bytes of
        // `message`, ended by a zero. `cancelled` outlives the call, and is read atomically alone. It keeps no pointer, has no state between calls, and neither unwinds nor jumps out.
        let outcome = unsafe {
            graft_jpeg_decode(bytes.as_ptr(), bytes.len(), self, samples.as_mut_ptr(), message.as_mut_ptr().cast::<c_char>())
        };
        match outcome {
            0 => Ok(samples),
            1 => Err(Failure::Truncated),
            2 => Err(Failure::Failed(text(&message))),
            4 => Err(Failure::Cancelled),
            _ => Err(Failure::Misread),
        }
    }
}

/// The message up to its zero, beginning as graft's own do.
fn text(message: &[u8]) -> String {
    let text = CStr::from_bytes_until_nul(message).unwrap_or_default().to_string_lossy();
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.into_owned(),
    }
}
