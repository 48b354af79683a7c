//! The modules of graft that read images, by path: a fuzzer of them is built in a minute, and instruments nothing else.

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/message/mod.rs"]
pub mod message;
#[path = "../../src/preprocess/mod.rs"]
pub mod preprocess;
#[path = "../../src/tensor/mod.rs"]
pub mod tensor;

use preprocess::{Format, ImageError, Limits};

/// As serving's, only smaller, so that the fuzzer's own bound on one allocation shows what goes beyond them.
const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 16 };

/// Decodes `bytes` as serving does, if they are of one of `formats`; an error is a good answer, a panic is none.
pub fn decode(bytes: &[u8], formats: &[Format]) {
    let Ok(header) = preprocess::header(bytes, &LIMITS) else { return };
    if !formats.contains(&header.format) {
        return;
    }
    match preprocess::decode(bytes, &LIMITS) {
        Ok(decoded) => {
            assert_eq!((decoded.width, decoded.height), (header.width, header.height));
            assert_eq!(decoded.rgb.len() as u64, 3 * u64::from(header.width) * u64::from(header.height));
        }
        Err(error) => {
            assert!(!matches!(error, ImageError::Empty | ImageError::NotAnImage), "{error}");
            // The guard makes a bad image of a panic; here it is a finding.
            assert!(!error.to_string().contains("its decoder failed"), "{error}");
        }
    }
}
