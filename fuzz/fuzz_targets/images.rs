//! Every format that graft reads.
#![no_main]

use graft_fuzz::preprocess::Format::{Bmp, Gif, Jpeg, Png, Tiff, WebP};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| graft_fuzz::decode(bytes, &[Bmp, Gif, Jpeg, Png, Tiff, WebP]));
