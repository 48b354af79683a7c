//! Random numbers that depend on what they are for and on nothing else: a job can start again anywhere.
//!
//! Every use has its own ChaCha8 stream, whose key is written out here; nothing is drawn from a shared generator.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// What random numbers are for; part of the key, so the values must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Which images of a class are for validation; `a` is the class.
    Split = 1,
    /// The order of the images of an epoch.
    Shuffle = 2,
    /// Whether an image is mirrored; `a` is the image.
    Flip = 3,
    /// Which values a dropout leaves out; `a` is the image, and from bit 32 on the layer.
    Dropout = 4,
    /// Initial weights of the head; `a` is the layer.
    Weights = 5,
    /// Which training images novelty is measured by; `a` is the class.
    References = 6,
}

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` in `epoch` of `phase` (both from 0, and 0 where they mean nothing) and for `a`.
    ///
    /// The key is, little-endian, `seed` (8 bytes), `purpose` (4), `phase` (4), `epoch` (8), `a` (8).
    pub fn new(seed: u64, purpose: Purpose, phase: u32, epoch: u64, a: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..12].copy_from_slice(&(purpose as u32).to_le_bytes());
        key[12..16].copy_from_slice(&phase.to_le_bytes());
        key[16..24].copy_from_slice(&epoch.to_le_bytes());
        key[24..].copy_from_slice(&a.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// One of `0 … bound - 1`, each as likely as the others (Lemire 2019, with rejection). `bound` is more than 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Uniform over `[0, 1)`, 24 bits.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Puts `items` in a random order (Fisher and Yates, in Durstenfeld's version).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u32::try_from(last + 1).expect("a data set has fewer than 2^32 images");
            items.swap(last, self.below(bound) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Purpose, Stream};

    #[test]
    fn streams_never_change() {
        let mut order: Vec<u8> = (0..8).collect();
        Stream::new(7, Purpose::Shuffle, 1, 2, 0).shuffle(&mut order);
        let mut stream = Stream::new(0, Purpose::Flip, 0, 0, 0);
        let draws = [stream.below(1000), stream.below(1000), stream.below(1000)];
        assert_eq!((order, draws), (ORDER.to_vec(), DRAWS), "a checkpoint of an older graft would resume differently");
    }

    const ORDER: [u8; 8] = [2, 3, 5, 7, 1, 0, 4, 6];
    const DRAWS: [u32; 3] = [106, 50, 625];

    #[test]
    fn every_part_of_the_key_counts() {
        let first = |seed, purpose, phase, epoch, a| Stream::new(seed, purpose, phase, epoch, a).below(u32::MAX);
        let mut draws = vec![
            first(0, Purpose::Shuffle, 0, 0, 0),
            first(1, Purpose::Shuffle, 0, 0, 0),
            first(0, Purpose::Flip, 0, 0, 0),
            first(0, Purpose::Shuffle, 1, 0, 0),
            first(0, Purpose::Shuffle, 0, 1, 0),
            first(0, Purpose::Shuffle, 0, 0, 1),
        ];
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 6);
    }

    #[test]
    fn draws_are_uniform() {
        let mut counts = [0_u32; 6];
        let mut stream = Stream::new(3, Purpose::Split, 0, 0, 0);
        (0..60_000).for_each(|_| counts[stream.below(6) as usize] += 1);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_shuffle_is_a_permutation(seed in any::<u64>(), length in 0_usize..200) {
            let mut order: Vec<usize> = (0..length).collect();
            Stream::new(seed, Purpose::Shuffle, 0, 0, 0).shuffle(&mut order);
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(0..length));
        }

        #[test]
        fn draws_are_in_range(seed in any::<u64>(), bound in 1_u32..) {
            let mut stream = Stream::new(seed, Purpose::Dropout, 0, 0, 0);
            prop_assert!(stream.below(bound) < bound);
            prop_assert!((0.0..1.0).contains(&stream.unit()));
        }
    }
}
