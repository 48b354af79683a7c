//! Which images are trained on and which are measured on: by folder, or drawn per class with a seed.
//! Those of a test folder are neither until all is done.
//!
//! Knows classes and positions; reads no image.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{
    batches::Pick,
    random::{Purpose, Stream},
    samples::Samples,
};
use crate::datasets::Split;

/// Positions of the images of all parts, ascending; disjoint, and together all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrainValSplit {
    /// Trained on.
    pub train: Vec<u32>,
    /// Measured on after every epoch, to choose the best.
    pub val: Vec<u32>,
    /// Measured on once, at the end.
    pub test: Vec<u32>,
}

impl TrainValSplit {
    /// The folders' own division, when `split` is `None`. What folders keep for the test stays there in any case.
    ///
    /// Otherwise `split` is the share of every class for validation, drawn with `seed`: rounded to whole photos, half away
    /// from zero, at least one and at most all but one of a class that has two; a class with one photo is trained on.
    /// Images with the same content are one photo, so that none is measured that was trained on; a photo that several classes
    /// have is trained on.
    pub fn of(samples: &Samples, split: Option<f64>, seed: u64) -> Self {
        let mut is_val = vec![false; samples.images.len()];
        match split {
            None => {
                for (is_val, image) in is_val.iter_mut().zip(&samples.images) {
                    *is_val = image.split == Split::Val;
                }
            }
            Some(share) => {
                let photos = Photos::of(samples);
                for class in 0..samples.classes.len() {
                    for position in photos.drawn(class, share, seed) {
                        is_val[position as usize] = true;
                    }
                }
            }
        }
        let count = u32::try_from(samples.images.len()).expect("a data set has fewer than 2^32 images");
        let is_test = |position: &u32| samples.images[*position as usize].split == Split::Test;
        let (test, others): (Vec<u32>, Vec<u32>) = (0..count).partition(is_test);
        let (val, train) = others.into_iter().partition(|&position| is_val[position as usize]);
        Self { train, val, test }
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

    /// The records that the test reads.
    pub fn test_picks(&self) -> Vec<Pick> {
        self.test.iter().map(|&image| Pick { image, flipped: false }).collect()
    }

    /// Images of every class: trained on, validated on, tested on.
    pub fn counts(&self, samples: &Samples) -> Vec<[usize; 3]> {
        let mut counts = vec![[0; 3]; samples.classes.len()];
        for (part, positions) in [&self.train, &self.val, &self.test].into_iter().enumerate() {
            positions.iter().for_each(|&position| counts[samples.images[position as usize].class][part] += 1);
        }
        counts
    }
}

/// The photos that may be drawn: positions of the images with the same content, in the order of their first ones. A data set
/// keeps a content once, so its file tells contents apart.
struct Photos {
    /// By class, those that no other class has.
    own: Vec<Vec<Vec<u32>>>,
    /// By class, whether it has a photo that another has too.
    is_shared: Vec<bool>,
}

impl Photos {
    fn of(samples: &Samples) -> Self {
        let mut first: HashMap<&Path, u32> = HashMap::new();
        let mut photos: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (position, image) in (0..).zip(&samples.images).filter(|(_, image)| image.split != Split::Test) {
            photos.entry(*first.entry(&image.file).or_insert(position)).or_default().push(position);
        }
        let class = |&position: &u32| samples.images[position as usize].class;
        let classes = samples.classes.len();
        let (mut own, mut is_shared) = (vec![Vec::new(); classes], vec![false; classes]);
        for (first, photo) in photos {
            if photo.iter().all(|position| class(position) == class(&first)) {
                own[class(&first)].push(photo);
            } else {
                photo.iter().for_each(|position| is_shared[class(position)] = true);
            }
        }
        Self { own, is_shared }
    }

    /// The validation images of one class.
    fn drawn(&self, class: usize, share: f64, seed: u64) -> Vec<u32> {
        let mut photos: Vec<&Vec<u32>> = self.own[class].iter().collect();
        Stream::new(seed, Purpose::Split, 0, 0, class as u64).shuffle(&mut photos);
        // A class that has a photo to train on in any case can give all others.
        let most = if self.is_shared[class] { photos.len() } else { photos.len().saturating_sub(1) };
        let least = usize::from(share > 0.0).min(most);
        photos.truncate(((photos.len() as f64 * share).round() as usize).clamp(least, most));
        photos.into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::TrainValSplit;
    use crate::{
        datasets::Split,
        training::{Sample, Samples},
    };

    fn samples(classes: &[usize]) -> Samples {
        let image = |class, number| {
            let path = format!("{class}/{number}.png");
            Sample { file: path.clone().into(), path, class, split: Split::Train }
        };
        let of_class = |(class, &count): (usize, &usize)| (0..count).map(move |number| image(class, number));
        Samples {
            classes: (0..classes.len()).map(|class| class.to_string()).collect(),
            images: classes.iter().enumerate().flat_map(of_class).collect(),
            ..Samples::default()
        }
    }

    /// Samples of two classes whose images have these contents.
    fn contents(first: &[&str], second: &[&str]) -> Samples {
        let mut samples = samples(&[first.len(), second.len()]);
        for (image, content) in samples.images.iter_mut().zip(first.iter().chain(second)) {
            image.file = content.into();
        }
        samples
    }

    #[test]
    fn twins_are_on_the_same_side() {
        let samples = contents(&["a", "b", "a", "c", "b", "a"], &["d", "d", "d", "e"]);
        for seed in 0..20 {
            let division = TrainValSplit::of(&samples, Some(0.5), seed);
            let contents = |positions: &[u32]| {
                let file = |&position: &u32| samples.images[position as usize].file.clone();
                positions.iter().map(file).collect::<BTreeSet<_>>()
            };
            let (train, val) = (contents(&division.train), contents(&division.val));
            assert!(train.is_disjoint(&val), "{division:?}");
            assert_eq!((train.len(), val.len()), (2, 3), "{division:?}");
        }
    }

    #[test]
    fn a_photo_of_two_classes_is_trained_on() {
        let samples = contents(&["a", "b"], &["a", "c", "d"]);
        let division = TrainValSplit::of(&samples, Some(0.9), 1);
        assert_eq!((division.train, division.val), (vec![0, 2], vec![1, 3, 4]));
        let twice = contents(&["a"], &["a"]);
        assert_eq!(TrainValSplit::of(&twice, Some(0.5), 1).val, Vec::<u32>::new());
    }

    #[test]
    fn shares_are_rounded_per_class() {
        #[track_caller]
        fn check(classes: &[usize], share: f64, expected: &[(usize, usize)]) {
            let samples = samples(classes);
            let counts = TrainValSplit::of(&samples, Some(share), 1).counts(&samples);
            assert_eq!(counts, expected.iter().map(|&(train, val)| [train, val, 0]).collect::<Vec<_>>());
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
        let division = TrainValSplit::of(&samples, None, 1);
        assert_eq!((division.train, division.val), (vec![0, 2, 3], vec![1]));
    }

    #[test]
    fn photos_for_the_test_are_neither_trained_on_nor_drawn_for_validation() {
        let mut samples = samples(&[10, 10]);
        samples.images.iter_mut().step_by(2).for_each(|image| image.split = Split::Test);
        let test: Vec<u32> = (0..20).step_by(2).collect();
        for split in [None, Some(0.0), Some(0.4), Some(0.99)] {
            for seed in 0..10 {
                let division = TrainValSplit::of(&samples, split, seed);
                assert_eq!(division.test, test, "{split:?}");
                let others = [division.train.as_slice(), &division.val].concat();
                assert!(others.len() == 10 && others.iter().all(|position| position % 2 == 1), "{division:?}");
                assert!(division.picks(true).iter().all(|pick| pick.image % 2 == 1), "{division:?}");
            }
        }
        let division = TrainValSplit::of(&samples, Some(0.4), 1);
        assert_eq!(division.counts(&samples), [[3, 2, 5], [3, 2, 5]]);
        assert!(division.test_picks().iter().map(|pick| pick.image).eq(test));
    }

    #[test]
    fn seeds_draw_differently() {
        let samples = samples(&[50, 50]);
        assert_ne!(TrainValSplit::of(&samples, Some(0.2), 1), TrainValSplit::of(&samples, Some(0.2), 2));
    }

    proptest! {
        #[test]
        fn divisions_are_stratified_disjoint_and_complete(
            classes in prop::collection::vec(0_usize..40, 0..6), share in 0.0..1.0, seed in any::<u64>()
        ) {
            let samples = samples(&classes);
            let division = TrainValSplit::of(&samples, Some(share), seed);
            prop_assert_eq!(&division, &TrainValSplit::of(&samples, Some(share), seed));
            let mut all = [division.train.as_slice(), &division.val].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..samples.images.len() as u32));
            for ([train, val, _], count) in division.counts(&samples).into_iter().zip(classes) {
                prop_assert_eq!(train + val, count);
                prop_assert!(count == 0 || train > 0);
                let exact = count as f64 * share;
                prop_assert!((val as f64 - exact).abs() <= 0.5 + 1e-9 || val == 1 && exact < 0.5 || train == 1, "{} of {}", val, count);
            }
        }
    }
}
