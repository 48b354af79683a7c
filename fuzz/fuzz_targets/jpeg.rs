//! JPEG alone: everything else is turned away at its first bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| graft_fuzz::decode(bytes, &[graft_fuzz::preprocess::Format::Jpeg]));
