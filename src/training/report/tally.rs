//! Counts while images are classified; memory does not grow with their number.
//!
//! Knows labels and probabilities; knows no model.

use std::collections::BTreeMap;

use super::{ClassReport, ClassificationReport, Reliability, Worst, wilson};
use crate::tensor::argmax;

/// Most classes of which a report has the confusion matrix: it grows with their square.
const MAX_MATRIX_CLASSES: usize = 1000;

/// Least probability in the loss, Keras's `epsilon`: a probability of 0 would make it infinite.
const LEAST: f32 = 1e-7;

/// The cross-entropy of an image whose class has `probability`.
pub fn cross_entropy(probability: f32) -> f64 {
    -f64::from(probability.clamp(LEAST, 1.0)).ln()
}

/// A report in the making.
#[derive(Debug, Clone)]
pub struct Tally<'a> {
    classes: &'a [String],
    /// By truth and prediction; what was not counted is not there, so that it does not grow with the square of the classes.
    confusion: BTreeMap<(usize, usize), u64>,
    /// Images whose class was among the five most probable.
    top_5: u64,
    loss: f64,
    reliability: Reliability,
    novel: Option<u64>,
    /// Worst first.
    worst: Vec<Worst>,
    keep_worst: usize,
}

impl<'a> Tally<'a> {
    /// Nothing counted yet; the report will list up to `keep_worst` images.
    pub fn new(classes: &'a [String], keep_worst: usize) -> Self {
        Self {
            classes,
            confusion: BTreeMap::new(),
            top_5: 0,
            loss: 0.0,
            reliability: Reliability::default(),
            novel: None,
            worst: Vec::new(),
            keep_worst,
        }
    }

    /// Counts an image of class `truth` that was given `probabilities`, one per class, and gives the most probable one. Of equal
    /// ones the first counts.
    pub fn add(&mut self, path: &str, truth: usize, probabilities: &[f32]) -> usize {
        let predicted = argmax(probabilities);
        let own = probabilities[truth];
        *self.confusion.entry((truth, predicted)).or_default() += 1;
        let before = |&(at, probability): &(usize, f32)| probability > own || (probability == own && at < truth);
        self.top_5 += u64::from(probabilities.iter().copied().enumerate().filter(before).count() < 5);
        self.reliability.add(probabilities[predicted], predicted == truth);
        self.loss += cross_entropy(own);
        let place = self.worst.partition_point(|worst| worst.truth_probability <= own);
        if place < self.keep_worst {
            let worst = Worst {
                path: path.to_owned(),
                truth: self.classes[truth].clone(),
                truth_probability: own,
                predicted: self.classes[predicted].clone(),
                probability: probabilities[predicted],
            };
            self.worst.insert(place, worst);
            self.worst.truncate(self.keep_worst);
        }
        predicted
    }

    /// Counts whether an image that was added is novel.
    pub fn add_novelty(&mut self, novel: bool) {
        *self.novel.get_or_insert(0) += u64::from(novel);
    }

    /// The report on what was counted.
    pub fn finish(self) -> ClassificationReport {
        let width = self.classes.len();
        let images: u64 = self.confusion.values().sum();
        let (mut of_class, mut taken, mut hits) = (vec![0u64; width], vec![0u64; width], vec![0u64; width]);
        for (&(truth, predicted), &count) in &self.confusion {
            of_class[truth] += count;
            taken[predicted] += count;
            hits[truth] += if truth == predicted { count } else { 0 };
        }
        let correct: u64 = hits.iter().sum();
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let class = |(class, name): (usize, &String)| {
            let (hits, own) = (hits[class], of_class[class]);
            ClassReport { name: name.clone(), images: own, precision: share(hits, taken[class]), recall: share(hits, own) }
        };
        ClassificationReport {
            images,
            correct,
            accuracy: share(correct, images),
            accuracy_interval: wilson(correct, images),
            top_5_accuracy: share(self.top_5, images).filter(|_| width > 5),
            loss: (images > 0).then(|| self.loss / images as f64),
            calibration_error: self.reliability.error(),
            novel: self.novel,
            classes: self.classes.iter().enumerate().map(class).collect(),
            confusion: matrix(&self.confusion, width),
            worst: self.worst,
        }
    }
}

/// Row by row, for a report; empty where there are too many classes.
fn matrix(confusion: &BTreeMap<(usize, usize), u64>, width: usize) -> Vec<Vec<u64>> {
    if width > MAX_MATRIX_CLASSES {
        return Vec::new();
    }
    let mut rows = vec![vec![0; width]; width];
    confusion.iter().for_each(|(&(truth, predicted), &count)| rows[truth][predicted] = count);
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn classes(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn counts_are_what_was_added() {
        let names = classes(&["a", "b", "c"]);
        let mut tally = Tally::new(&names, 2);
        tally.add("1", 0, &[0.5, 0.5, 0.0]);
        tally.add("2", 0, &[0.2, 0.7, 0.1]);
        tally.add("3", 1, &[0.0, 1.0, 0.0]);
        tally.add("4", 0, &[0.1, 0.9, 0.0]);
        let report = tally.finish();
        assert_eq!((report.images, report.correct, report.accuracy), (4, 2, Some(0.5)));
        assert_eq!(report.confusion, [[1, 2, 0], [0, 1, 0], [0, 0, 0]]);
        // Bins of 0.5, 0.7, 0.9 and 1: one right of each of the first and the last, none of the others.
        let error = report.calibration_error.expect("there are images");
        assert!((error - (0.5 + f64::from(0.7_f32) + f64::from(0.9_f32)) / 4.0).abs() < 1e-12, "{error}");
        let rates: Vec<_> = report.classes.iter().map(|class| (class.images, class.precision, class.recall)).collect();
        assert_eq!(rates, [(3, Some(1.0), Some(1.0 / 3.0)), (1, Some(1.0 / 3.0), Some(1.0)), (0, None, None)]);
        let loss = -(0.5_f64.ln() + f64::from(0.2_f32).ln() + f64::from(0.1_f32).ln()) / 4.0;
        let found = report.loss.expect("there are images");
        assert!((found - loss).abs() < 1e-12, "{found} is not {loss}");
        let worst: Vec<_> = report.worst.iter().map(|worst| (worst.path.as_str(), worst.predicted.as_str())).collect();
        assert_eq!(worst, [("4", "b"), ("2", "b")]);
        let text = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<ClassificationReport>(&text).expect("a report"), report);
    }

    #[test]
    fn the_five_most_probable_count_from_six_classes_on() {
        #[track_caller]
        fn check(probabilities: &[f32], truths: &[usize], expected: Option<f64>) {
            let names: Vec<String> = (0..probabilities.len()).map(|class| class.to_string()).collect();
            let mut tally = Tally::new(&names, 0);
            for &truth in truths {
                tally.add("p", truth, probabilities);
            }
            assert_eq!(tally.finish().top_5_accuracy, expected, "{probabilities:?}");
        }
        check(&[0.3, 0.1, 0.1, 0.2, 0.1, 0.2], &[0, 1, 2], Some(1.0));
        check(&[0.3, 0.1, 0.1, 0.2, 0.1, 0.2], &[4, 3], Some(0.5));
        check(&[0.0; 7], &[4, 5, 6, 0], Some(0.5));
        check(&[0.0; 6], &[], None);
        check(&[0.2; 5], &[4], None);
    }

    #[test]
    fn nothing_makes_an_empty_report() {
        let report = Tally::new(&classes(&["a", "b"]), 5).finish();
        assert_eq!((report.images, report.accuracy, report.loss, report.accuracy_interval), (0, None, None, [0.0, 1.0]));
        assert_eq!(Tally::new(&[], 0).finish().confusion, Vec::<Vec<u64>>::new());
    }

    #[test]
    fn a_probability_of_0_is_a_large_loss_not_an_infinite_one() {
        let names = classes(&["a", "b"]);
        let mut tally = Tally::new(&names, 0);
        tally.add("1", 0, &[0.0, 1.0]);
        assert!(tally.finish().loss.is_some_and(|loss| (16.0..16.2).contains(&loss)));
    }

    proptest! {
        #[test]
        fn the_worst_are_kept_in_order(probabilities in prop::collection::vec(0_u8..=100, 0..50), keep in 0_usize..10) {
            let names = classes(&["a", "b"]);
            let mut tally = Tally::new(&names, keep);
            for percent in &probabilities {
                let own = f32::from(*percent) / 100.0;
                tally.add("p", 0, &[own, 1.0 - own]);
            }
            let mut sorted = probabilities.clone();
            sorted.sort_unstable();
            let expected: Vec<f32> = sorted.into_iter().take(keep).map(|percent| f32::from(percent) / 100.0).collect();
            let found: Vec<f32> = tally.finish().worst.iter().map(|worst| worst.truth_probability).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
