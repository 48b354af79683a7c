//! Decoding beside serving: for data sets that are checked, plans and jobs, on the threads of whoever asks.
//!
//! Owns what of the memory for decoding that may take; knows neither data sets nor jobs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Cost, Decoded, ImageError, Limits, decode_unless, header};
use crate::work::Memory;

/// What an image takes in memory that waits for serving alone: one of ten megapixels takes more.
const SMALL: u64 = 32 << 20;

/// Decodes within the memory of all images that are decoded (`images.decoding_bytes`), of which half is for what is large beside
/// serving, more where one image needs it; clones share it.
#[derive(Debug, Clone)]
pub struct Decoder {
    limits: Limits,
    beside: Memory,
    all: Memory,
}

impl Decoder {
    /// One within the memory of `all`.
    pub fn new(limits: Limits, all: Memory) -> Self {
        Self { limits, beside: Memory::new(limits.decoding_bytes().max(all.bound() / 2)), all }
    }

    /// One beside which nothing is decoded: one image at a time.
    pub fn alone(limits: Limits) -> Self {
        Self::new(limits, Memory::new(limits.decoding_bytes()))
    }

    /// What an image may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether an image waits for no other beside serving.
    pub fn is_small(cost: Cost) -> bool {
        cost.bytes <= SMALL && !cost.is_heavy()
    }

    /// What `then` makes of the image, whose memory is held until it has; waits for that.
    ///
    /// # Errors
    /// As [`decode_unless`]; [`ImageError::Cancelled`] soon after `stop` is set.
    pub fn decode<T>(&self, bytes: &[u8], stop: &AtomicBool, then: impl FnOnce(Decoded) -> T) -> Result<T, ImageError> {
        let cost = header(bytes, &self.limits)?.cost;
        let go_on = || if stop.load(Ordering::Relaxed) { Err(ImageError::Cancelled) } else { Ok(()) };
        // In this order: what waits for the others beside serving holds nothing of all, so that small ones pass it.
        let _beside = if Self::is_small(cost) { None } else { Some(self.beside.take_blocking(cost.bytes, go_on)?) };
        let _all = self.all.take_blocking(cost.bytes, go_on)?;
        decode_unless(bytes, &self.limits, stop).map(then)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    const LIMITS: Limits = Limits { max_bytes: 8 << 20, max_pixels: 16_000_000 };

    fn photo(side: u32) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::from_pixel(side, side, image::Rgb([1, 2, 3]));
        image.write_to(&mut bytes, image::ImageFormat::Png).expect("it can be written");
        bytes.into_inner()
    }

    #[test]
    fn an_image_holds_its_memory_until_it_has_been_used() {
        let all = Memory::new(2 * LIMITS.decoding_bytes());
        let decoder = Decoder::new(LIMITS, all.clone());
        let never = AtomicBool::new(false);
        let held = decoder.decode(&photo(1000), &never, |image| (image.width, all.bound() - all.free())).expect("it is an image");
        assert!(held.0 == 1000 && held.1 >= 3_000_000, "{held:?}");
        assert_eq!(all.free(), all.bound());
        assert_eq!(decoder.decode(b"no image", &never, |_| ()), Err(ImageError::NotAnImage));
    }

    #[test]
    fn half_is_left_for_serving_and_a_wait_can_be_ended() {
        let all = Memory::new(2 * LIMITS.decoding_bytes());
        let decoder = Decoder::new(LIMITS, all.clone());
        let (stop, large) = (AtomicBool::new(false), photo(4000));
        let cost = header(&large, &LIMITS).expect("it is an image").cost.bytes;
        let _others = decoder.beside.take_blocking(u64::MAX, || Ok::<_, ()>(())).expect("it is free");
        thread::scope(|scope| {
            let (ended, wait) = mpsc::channel();
            let (decoder, stop, large) = (&decoder, &stop, &large);
            scope.spawn(move || ended.send(decoder.decode(large, stop, |_| ())));
            assert!(wait.recv_timeout(Duration::from_millis(100)).is_err(), "it waits for what is beside");
            assert!(all.free() >= cost, "and serving does not");
            assert_eq!(decoder.decode(&photo(100), stop, |image| image.width), Ok(100), "nor does what is small");
            stop.store(true, Ordering::Relaxed);
            assert_eq!(wait.recv(), Ok(Err(ImageError::Cancelled)));
        });
    }
}
