//! What decoding holds and visits, counted: an allocator of its own stands under this whole program.
//!
//! What libjpeg allocates is C's and not seen here; it is bounded by what its order says (`src/preprocess/decode/jpeg`).
#![expect(unsafe_code, reason = "a global allocator is unsafe by its contract")]

mod hostile;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use graft::preprocess::{Limits, decode, header};

const LIMITS: Limits = Limits { max_bytes: 32 << 20, max_pixels: 50_000_000 };

thread_local! {
    /// Bytes that this thread holds, and the most that it has held.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

struct Counting;

fn count(bytes: isize) {
    // A thread that ends has none any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `work` holds at once.
fn most<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let outcome = work();
    (u64::try_from(HELD.get().1 - before).expect("the peak is not below the start"), outcome)
}

/// Nothing beside the pixels is inflated, whatever a file of a few kilobytes holds: profiles, texts, later frames.
#[test]
fn decoding_holds_what_its_header_says() {
    for side in [8, 1000] {
        for hostile::Case { name, bytes } in hostile::cases(side, 64 << 20) {
            let (read, header) = most(|| header(&bytes, &LIMITS));
            assert!(read < 1 << 20, "{name}: the header takes {read} bytes");
            let Ok(header) = header else { continue };
            let pixels = u64::from(header.width) * u64::from(header.height);
            let (held, outcome) = most(|| decode(&bytes, &LIMITS).map(|decoded| decoded.rgb.len()));
            assert!(held <= header.cost.bytes + (1 << 20), "{name}: {held} bytes are held, {:?}, {outcome:?}", header.cost);
            let allowed = 20 * pixels + 64 * bytes.len() as u64 + (16 << 20);
            assert!(header.cost.bytes <= allowed, "{name}: {:?} of {side} × {side} pixels", header.cost);
            let visited = 100 * pixels + 64 * bytes.len() as u64 + (80 << 20);
            assert!(header.cost.samples <= visited, "{name}: {:?} of {side} × {side} pixels", header.cost);
        }
    }
}

/// What encoders write by default is read at any size and content: `jpeg_simple_progression` of a blank photo, among others.
#[test]
fn blank_images_are_read() {
    let script = hostile::Scan::script();
    for frame in [hostile::Frame::BASELINE, hostile::Frame::PROGRESSIVE, hostile::Frame::FULL] {
        let scans = if frame.marker == 0xc2 { &script[..] } else { &[hostile::Scan::ALL] };
        let header = header(&hostile::jpeg(7000, frame, scans), &LIMITS).expect("an honest file");
        assert!(header.cost.samples < 15 * 49_000_000 + (1 << 20), "{:?}", header.cost);
    }
}

/// The search of mozjpeg and jpegrescan ends with at most this: bands of their own for low frequencies, and three refinements.
#[test]
fn the_longest_scripts_of_optimizers_are_read() {
    let part = hostile::Scan::part;
    let mut scans = vec![hostile::Scan { components: vec![0, 1, 2], band: [0, 0], bits: 0x01 }];
    for component in 0..3 {
        scans.extend([part(component, 1, 8, 0x03), part(component, 9, 63, 0x03)]);
        scans.extend([0x32, 0x21, 0x10].map(|bits| part(component, 1, 63, bits)));
    }
    scans.extend([0, 1, 2].map(|component| hostile::Scan { components: vec![component], band: [0, 0], bits: 0x10 }));
    for frame in [hostile::Frame::PROGRESSIVE, hostile::Frame::FULL] {
        header(&hostile::jpeg(4000, frame, &scans), &LIMITS).expect("an honest file");
    }
}
