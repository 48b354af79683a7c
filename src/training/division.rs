//! Which images are trained on and which are measured on: by folder, or drawn per class with a seed.
//!
//! Knows classes and positions; reads no image.

use super::{
    batches::Pick,
    random::{Purpose, Stream},
    samples::Samples,
};
use crate::datasets::Split;

/// Positions of the images of both parts, ascending; disjoint, and together all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// Trained on.
    pub train: Vec<u32>,
    /// Measured on.
    pub val: Vec<u32>,
}

impl Division {
    /// The folders' own division, when `split` is `None`.
    ///
    /// Otherwise `split` is the share of every class for validation, drawn with `seed`: rounded to whole images, half away
    /// from zero, at least one and at most all but one of a class that has two; a class with one image is trained on.
    pub fn of(samples: &Samples, split: Option<f64>, seed: u64) -> Self {
        let mut is_val = vec![false; samples.images.len()];
        match split {
            None => {
                for (is_val, image) in is_val.iter_mut().zip(&samples.images) {
                    *is_val = image.split == Split::Val;
                }
            }
            Some(share) => {
                for class in 0..samples.classes.len() {
                    for position in drawn(samples, class, share, seed) {
                        is_val[position as usize] = true;
                    }
                }
            }
        }
        let count = u32::try_from(samples.images.len()).expect("a data set has fewer than 2^32 images");
        let (val, train) = (0..count).partition(|&position| is_val[position as usize]);
        Self { train, val }
    }

    /// The records that a phase reads: training images, with their mirrors where `horizontal_flip` says so, and validation
    /// images; by image.
    pub fn picks(&self, horizontal_flip: bool) -> Vec<Pick> {
        let flips: &[bool] = if horizontal_flip { &[false, true] } else { &[false] };
        let train = self.train.iter().flat_map(|&image| flips.iter().map(move |&flipped| Pick { image, flipped }));
        let mut picks: Vec<Pick> = train.chain(self.val.iter().map(|&image| Pick { image, flipped: false })).collect();
        picks.sort_unstable_by_key(|pick| (pick.image, pick.flipped));
        picks
    }

    /// Images of every class: trained on, measured on.
    pub fn counts(&self, samples: &Samples) -> Vec<(usize, usize)> {
        let mut counts = vec![(0, 0); samples.classes.len()];
        let class = |&position: &u32| samples.images[position as usize].class;
        self.train.iter().map(class).for_each(|class| counts[class].0 += 1);
        self.val.iter().map(class).for_each(|class| counts[class].1 += 1);
        counts
    }
}

/// The validation images of one class.
fn drawn(samples: &Samples, class: usize, share: f64, seed: u64) -> Vec<u32> {
    let of_class = (0..).zip(&samples.images).filter(|(_, image)| image.class == class);
    let mut positions: Vec<u32> = of_class.map(|(position, _)| position).collect();
    Stream::new(seed, Purpose::Split, 0, 0, class as u64).shuffle(&mut positions);
    let most = positions.len().saturating_sub(1);
    let least = usize::from(share > 0.0).min(most);
    positions.truncate(((positions.len() as f64 * share).round() as usize).clamp(least, most));
    positions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Division;
    use crate::{
        datasets::Split,
        training::{Sample, Samples},
    };

    fn samples(classes: &[usize]) -> Samples {
        let image = |class| Sample { path: format!("{class}.png"), file: "".into(), class, split: Split::Train };
        Samples {
            fingerprint: String::new(),
            classes: (0..classes.len()).map(|class| class.to_string()).collect(),
            images: classes.iter().enumerate().flat_map(|(class, &count)| vec![image(class); count]).collect(),
        }
    }

    #[test]
    fn shares_are_rounded_per_class() {
        #[track_caller]
        fn check(classes: &[usize], share: f64, expected: &[(usize, usize)]) {
            let samples = samples(classes);
            assert_eq!(Division::of(&samples, Some(share), 1).counts(&samples), expected);
        }
        check(&[10, 5, 2, 1], 0.2, &[(8, 2), (4, 1), (1, 1), (1, 0)]);
        check(&[10, 5, 2, 1], 0.0, &[(10, 0), (5, 0), (2, 0), (1, 0)]);
        check(&[10, 5, 2, 1], 0.99, &[(1, 9), (1, 4), (1, 1), (1, 0)]);
        check(&[], 0.5, &[]);
    }

    #[test]
    fn folders_decide_where_they_are_there() {
        let mut samples = samples(&[2, 2]);
        samples.images[1].split = Split::Val;
        samples.images[2].split = Split::Train;
        let division = Division::of(&samples, None, 1);
        assert_eq!((division.train, division.val), (vec![0, 2, 3], vec![1]));
    }

    #[test]
    fn seeds_draw_differently() {
        let samples = samples(&[50, 50]);
        assert_ne!(Division::of(&samples, Some(0.2), 1), Division::of(&samples, Some(0.2), 2));
    }

    proptest! {
        #[test]
        fn divisions_are_stratified_disjoint_and_complete(
            classes in prop::collection::vec(0_usize..40, 0..6), share in 0.0..1.0, seed in any::<u64>()
        ) {
            let samples = samples(&classes);
            let division = Division::of(&samples, Some(share), seed);
            prop_assert_eq!(&division, &Division::of(&samples, Some(share), seed));
            let mut all = [division.train.as_slice(), &division.val].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..samples.images.len() as u32));
            for ((train, val), count) in division.counts(&samples).into_iter().zip(classes) {
                prop_assert_eq!(train + val, count);
                prop_assert!(count == 0 || train > 0);
                let exact = count as f64 * share;
                prop_assert!((val as f64 - exact).abs() <= 0.5 + 1e-9 || val == 1 && exact < 0.5 || train == 1, "{} of {}", val, count);
            }
        }
    }
}
