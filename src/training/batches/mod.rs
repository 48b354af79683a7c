//! The order in which images are trained on: a function of seed, phase and epoch, so that a job resumes at any step.
//!
//! Knows positions of images; knows neither files nor tensors.

mod weights;

use std::ops::Range;

pub use weights::class_weights;

use super::random::{Purpose, Stream};

/// The batches of every epoch of one phase.
#[derive(Debug, Clone, Copy)]
pub struct Batches<'a> {
    /// Positions of the training images.
    pub train: &'a [u32],
    /// Class of every image of the data set.
    pub classes: &'a [usize],
    /// Weight in the loss, by class.
    pub class_weights: &'a [f64],
    /// Rows of a batch.
    pub batch_size: usize,
    /// Whether images are mirrored at random.
    pub horizontal_flip: bool,
    /// The job's seed.
    pub seed: u64,
    /// Which phase, from 0.
    pub phase: u32,
}

/// One epoch, its order drawn.
#[derive(Debug, Clone)]
pub struct Epoch<'a> {
    batches: Batches<'a>,
    epoch: u64,
    order: Vec<u32>,
}

/// One step's images. Rows past `images` are padding: they count nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The images, and for each whether it is mirrored; no more than the batch size, fewer in the last step of an epoch.
    pub images: Vec<Pick>,
    /// Class of every row, 0 for padding.
    pub labels: Vec<usize>,
    /// Weight of every row in the loss: its class's divided by the number of `images`, 0 for padding.
    ///
    /// A weighted sum is then the loss as Keras gives it: the mean over images, each multiplied with its class's weight.
    pub weights: Vec<f32>,
}

/// An image as it is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// Position in the data set.
    pub image: u32,
    /// Whether it is mirrored.
    pub flipped: bool,
}

impl<'a> Batches<'a> {
    /// Steps of one epoch; the last one may be short.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(self.train.len(), self.batch_size)
    }

    /// Draws the order of `epoch`, counted from 0 within the phase.
    pub fn epoch(&self, epoch: u64) -> Epoch<'a> {
        let mut order = self.train.to_vec();
        Stream::new(self.seed, Purpose::Shuffle, self.phase, epoch, 0).shuffle(&mut order);
        Epoch { batches: *self, epoch, order }
    }
}

impl Epoch<'_> {
    /// The batch of `step`, counted from 0 within the epoch; `None` behind the last one.
    pub fn batch(&self, step: u64) -> Option<Batch> {
        let Batches { batch_size, classes, class_weights, .. } = self.batches;
        let rows = rows(step, batch_size, self.order.len())?;
        let images: Vec<Pick> = self.order[rows].iter().map(|&image| self.pick(image)).collect();
        let class = |pick: &Pick| classes[pick.image as usize];
        let mut labels: Vec<usize> = images.iter().map(class).collect();
        let share = |&class: &usize| (class_weights[class] / images.len() as f64) as f32;
        let mut weights: Vec<f32> = labels.iter().map(share).collect();
        labels.resize(batch_size, 0);
        weights.resize(batch_size, 0.0);
        Some(Batch { images, labels, weights })
    }

    /// Factors of the dropout `layer` for one image: 0 with probability `rate`, else `1 / (1 − rate)`, as in Keras.
    ///
    /// They depend on seed, phase, epoch, image and layer alone, not on the batch.
    pub fn dropout(&self, image: u32, layer: u32, rate: f32, mask: &mut [f32]) {
        let Batches { seed, phase, .. } = self.batches;
        let place = u64::from(layer) << 32 | u64::from(image);
        let mut stream = Stream::new(seed, Purpose::Dropout, phase, self.epoch, place);
        let kept = 1.0 / (1.0 - rate);
        mask.fill_with(|| if stream.unit() < rate { 0.0 } else { kept });
    }

    fn pick(&self, image: u32) -> Pick {
        let Batches { seed, phase, horizontal_flip, .. } = self.batches;
        let mut stream = Stream::new(seed, Purpose::Flip, phase, self.epoch, u64::from(image));
        Pick { image, flipped: horizontal_flip && stream.below(2) == 1 }
    }
}

/// Steps that take all of `images` once.
pub fn steps_per_epoch(images: usize, batch_size: usize) -> u64 {
    images.div_ceil(batch_size.max(1)) as u64
}

fn rows(step: u64, batch_size: usize, images: usize) -> Option<Range<usize>> {
    let start = usize::try_from(step).ok()?.checked_mul(batch_size).filter(|&start| start < images)?;
    Some(start..(start + batch_size).min(images))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLASSES: [usize; 100] = [1; 100];
    const WEIGHTS: [f64; 2] = [0.0, 1.5];

    fn batches(train: &[u32], batch_size: usize, seed: u64) -> Batches<'_> {
        Batches { train, classes: &CLASSES, class_weights: &WEIGHTS, batch_size, horizontal_flip: true, seed, phase: 1 }
    }

    #[test]
    fn a_short_batch_is_padded_with_weight_0() {
        let train = [3, 5, 7];
        let batches = batches(&train, 2, 0);
        assert_eq!(batches.steps_per_epoch(), 2);
        let epoch = batches.epoch(0);
        let last = epoch.batch(1).expect("the second of two");
        assert_eq!((last.images.len(), last.labels.as_slice(), last.weights.as_slice()), (1, &[1, 0][..], &[1.5, 0.0][..]));
        assert_eq!(epoch.batch(0).expect("the first of two").weights, [0.75, 0.75]);
        assert_eq!(epoch.batch(2), None);
        assert_eq!(epoch.batch(u64::MAX), None);
    }

    #[test]
    fn phases_and_epochs_have_orders_of_their_own() {
        let train: Vec<u32> = (0..100).collect();
        let first = batches(&train, 100, 0);
        let order = |batches: Batches<'_>, epoch| batches.epoch(epoch).batch(0).expect("one batch").images;
        let unflipped = Batches { horizontal_flip: false, ..first };
        assert_ne!(order(unflipped, 0), order(unflipped, 1));
        assert_ne!(order(unflipped, 0), order(Batches { phase: 2, ..unflipped }, 0));
        assert_ne!(order(unflipped, 0), order(Batches { seed: 1, ..unflipped }, 0));
        let flipped = |epoch| order(first, epoch).iter().filter(|pick| pick.flipped).count();
        assert!((30..70).contains(&flipped(0)), "{}", flipped(0));
        assert!(order(unflipped, 0).iter().all(|pick| !pick.flipped));
    }

    #[test]
    fn masks_keep_the_mean() {
        let epoch = batches(&[], 2, 1).epoch(4);
        let mut mask = [0.0; 10_000];
        epoch.dropout(3, 0, 0.25, &mut mask);
        let mean = mask.iter().sum::<f32>() / 10_000.0;
        assert!((0.97..1.03).contains(&mean), "{mean}");
        assert!(mask.iter().all(|&factor| factor == 0.0 || factor == 1.0 / 0.75));
        let mut other = [0.0; 10_000];
        for (image, layer) in [(4, 0), (3, 1)] {
            epoch.dropout(image, layer, 0.25, &mut other);
            assert_ne!(mask, other, "image {image}, layer {layer}");
        }
        epoch.dropout(3, 0, 0.0, &mut other);
        assert_eq!(other, [1.0; 10_000]);
    }

    proptest! {
        #[test]
        fn an_epoch_takes_every_image_once_and_resumes_anywhere(
            count in 0_u32..100, batch_size in 1_usize..40, seed in any::<u64>(), epoch in any::<u64>()
        ) {
            let train: Vec<u32> = (0..count).collect();
            let batches = batches(&train, batch_size, seed);
            let whole: Vec<Batch> = (0..).map_while(|step| batches.epoch(epoch).batch(step)).collect();
            prop_assert_eq!(whole.len() as u64, batches.steps_per_epoch());
            let drawn = batches.epoch(epoch);
            for (step, batch) in whole.iter().enumerate() {
                let again = drawn.batch(step as u64);
                prop_assert_eq!(again.as_ref(), Some(batch));
                prop_assert_eq!(batch.labels.len(), batch_size);
                prop_assert_eq!(batch.weights.len(), batch_size);
            }
            let mut images: Vec<u32> = whole.iter().flat_map(|batch| &batch.images).map(|pick| pick.image).collect();
            images.sort_unstable();
            prop_assert_eq!(images, train);
        }
    }
}
