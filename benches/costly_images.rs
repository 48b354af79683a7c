//! What the costliest small files of every format take, beside a JPEG of the same pixels that hides nothing.
//!
//! `cargo bench --bench costly_images -- [SIDE]`; SIDE is 7000 by default, 49 million pixels.

#[path = "../tests/images/hostile.rs"]
mod hostile;

use std::time::Instant;

use graft::preprocess::{Limits, decode};

const LIMITS: Limits = Limits { max_bytes: 32 << 20, max_pixels: 50_000_000 };

fn main() {
    let side = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(7000);
    println!("{:<40} {:>9} {:>8}  outcome", "file", "bytes", "ms");
    for case in hostile::cases(side, 1 << 30) {
        let start = Instant::now();
        let outcome = decode(&case.bytes, &LIMITS);
        let milliseconds = start.elapsed().as_millis();
        let outcome = outcome.map_or_else(|error| error.to_string(), |_| "decoded".to_owned());
        println!("{:<40} {:>9} {milliseconds:>8}  {outcome}", case.name, case.bytes.len());
    }
}
