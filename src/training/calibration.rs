//! Temperature scaling: one number that makes scores say how often they are right (Guo et al. 2017).
//!
//! Takes logits and classes; knows neither models nor images.

use super::report::{Reliability, cross_entropy};

/// Most logits of all images together that a temperature is fitted to; images beyond are left out evenly.
pub const MAX_VALUES: usize = 1 << 20;

/// Parts of the images for the error after calibration: each is measured with a temperature that was fitted to the others.
const FOLDS: usize = 5;

/// Bounds of a temperature: where the likelihood rises beyond them, the bound it is.
const BOUNDS: (f64, f64) = (0.01, 100.0);

/// Steps of the search, each of which halves the interval on a logarithmic scale.
const STEPS: usize = 32;

/// Logits of labelled images.
#[derive(Debug, Clone)]
pub struct Logits {
    classes: usize,
    /// Image after image.
    values: Vec<f32>,
    /// Class of every image.
    truths: Vec<usize>,
}

/// A temperature and what it changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// What logits are divided by.
    pub temperature: f32,
    /// Images that it was fitted to.
    pub images: usize,
    /// Expected calibration error without it.
    pub error_before: f64,
    /// The same with temperatures of which none was fitted to the image that it is measured on.
    pub error_after: f64,
    /// Mean cross-entropy without it.
    pub loss_before: f64,
    /// The same as `error_after`, of the cross-entropy.
    pub loss_after: f64,
}

impl Logits {
    /// None yet, of images of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, values: Vec::new(), truths: Vec::new() }
    }

    /// Adds an image of class `truth`; its logits are as many as there are classes.
    pub fn add(&mut self, truth: usize, logits: &[f32]) {
        self.values.extend_from_slice(logits);
        self.truths.push(truth);
    }

    /// The temperature with the least cross-entropy; `None` without images.
    ///
    /// The targets are Platt's (1999): of n images at most n + 1 of n + 2 count as right, whatever the logits say, and the rest is
    /// shared by the other classes. So the temperature is finite where all are right, and scores claim no more than n images show.
    pub fn fit(&self) -> Option<Fitted> {
        let all: Vec<usize> = (0..self.truths.len()).collect();
        let (mut errors, mut losses) = ([Reliability::default(), Reliability::default()], [0.0; 2]);
        for fold in 0..FOLDS {
            let (held, others): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&image| image % FOLDS == fold);
            let temperature = self.temperature(&others);
            for image in held {
                let truth = self.truths[image];
                for ((error, loss), temperature) in errors.iter_mut().zip(&mut losses).zip([1.0, temperature]) {
                    let scores = softmax(self.row(image), temperature);
                    let (best, score) = best(&scores);
                    error.add(score, best == truth);
                    *loss += cross_entropy(scores[truth]) / all.len() as f64;
                }
            }
        }
        let [before, after] = errors.map(|error| error.error());
        let temperature = self.temperature(&all);
        let [loss_before, loss_after] = losses;
        Some(Fitted { temperature, images: all.len(), error_before: before?, error_after: after?, loss_before, loss_after })
    }

    fn row(&self, image: usize) -> &[f32] {
        &self.values[image * self.classes..(image + 1) * self.classes]
    }

    /// The temperature for `images`; 1 for none, and where none is better than another.
    ///
    /// The cross-entropy is convex in β = 1 ÷ T, so its slope changes its sign once: bisection, on a logarithmic scale.
    fn temperature(&self, images: &[usize]) -> f32 {
        let slope =
            |temperature: f64| images.iter().map(|&image| self.slope(image, images.len(), temperature.recip())).sum::<f64>();
        let (mut low, mut high) = BOUNDS;
        if slope(low) == 0.0 && slope(high) == 0.0 {
            return 1.0;
        }
        for _ in 0..STEPS {
            let middle = (low * high).sqrt();
            // Scores of which the slope is positive in β are too sure of themselves.
            if slope(middle) > 0.0 { low = middle } else { high = middle }
        }
        (low * high).sqrt() as f32
    }

    /// The derivative in β of an image's cross-entropy with the softmax of β times its logits: Σ (p − t) · z.
    fn slope(&self, image: usize, images: usize, beta: f64) -> f64 {
        let (row, truth) = (self.row(image), self.truths[image]);
        let highest = row.iter().copied().fold(f32::MIN, f32::max);
        let below = |logit: f32| f64::from(logit - highest);
        let right = (images + 1) as f64 / (images + 2) as f64;
        let wrong = (1.0 - right) / (self.classes.max(2) - 1) as f64;
        let (mut sum, mut mean, mut target) = (0.0, 0.0, 0.0);
        for (class, logit) in row.iter().map(|&logit| below(logit)).enumerate() {
            let weight = (beta * logit).exp();
            sum += weight;
            mean += weight * logit;
            target += logit * if class == truth { right } else { wrong };
        }
        mean / sum - target
    }
}

/// The softmax of `logits`, each divided by `temperature` as the graph does it.
pub fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let divided = || logits.iter().map(|logit| logit / temperature);
    let highest = divided().fold(f32::MIN, f32::max);
    let exponents: Vec<f64> = divided().map(|logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = exponents.iter().sum();
    exponents.into_iter().map(|exponent| (exponent / sum) as f32).collect()
}

/// The most probable class, the first of equal ones, and its probability.
fn best(probabilities: &[f32]) -> (usize, f32) {
    let better = |best: usize, at: usize| if probabilities[at] > probabilities[best] { at } else { best };
    let best = (0..probabilities.len()).fold(0, better);
    (best, probabilities.get(best).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(images: &[(usize, &[f32])]) -> Logits {
        let mut logits = Logits::new(images[0].1.len());
        images.iter().for_each(|(truth, row)| logits.add(*truth, row));
        logits
    }

    #[track_caller]
    fn check(images: &[(usize, &[f32])], expected: f32) {
        let found = logits(images).fit().expect("there are images").temperature;
        assert!((found / expected - 1.0).abs() < 1e-5, "{found} is not {expected}");
    }

    /// With two classes and a margin m, the mean target is where the sigmoid of m ÷ T is: T = m ÷ ln(p ÷ (1 − p)).
    #[test]
    fn temperatures_are_those_that_can_be_worked_out() {
        // One image that is right: its target is 2 of 3.
        check(&[(0, &[10.0, 0.0])], 10.0 / 2.0_f32.ln());
        // Three of four right with margin 6, n = 4: 5/6 · 3/4 + 1/6 · 1/4 = 2/3.
        let right: (usize, &[f32]) = (1, &[-3.0, 3.0]);
        check(&[right, right, right, (0, &[-3.0, 3.0])], 6.0 / 2.0_f32.ln());
        // Three classes, all right, n = 1: 2/3 against 1/6 each.
        check(&[(2, &[0.0, 0.0, 8.0])], 8.0 / 4.0_f32.ln());
    }

    #[test]
    fn temperatures_are_bounded() {
        // All wrong: the flatter the better.
        check(&[(0, &[0.0, 50.0]), (0, &[0.0, 50.0])], BOUNDS.1 as f32);
        // Margins that a temperature near 0 would have to stretch.
        check(&[(0, &[1e-6, 0.0])], BOUNDS.0 as f32);
        check(&[(0, &[0.5, 0.5]), (1, &[2.0, 2.0])], 1.0);
        assert_eq!(Logits::new(3).fit(), None);
    }

    /// Written by `tests/goldens/temperature.py` with SciPy's bounded scalar minimisation of the cross-entropy.
    #[test]
    fn temperatures_and_errors_are_scipys() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/temperature.json")).expect("it is JSON");
        for (name, case) in golden.as_object().expect("an object") {
            let number = |field: &str| case[field].as_f64().expect("a number");
            let rows = case["logits"].as_array().expect("a list").iter().zip(case["truths"].as_array().expect("a list"));
            let mut logits = Logits::new(case["logits"][0].as_array().map_or(0, Vec::len));
            for (row, truth) in rows {
                let row: Vec<f32> = row.as_array().into_iter().flatten().map(|z| z.as_f64().expect("a number") as f32).collect();
                logits.add(truth.as_u64().expect("a class") as usize, &row);
            }
            let Fitted { temperature, error_before, error_after, loss_before, loss_after, .. } =
                logits.fit().expect("there are images");
            assert!((f64::from(temperature) / number("temperature") - 1.0).abs() < 1e-5, "{name}: {temperature}");
            assert!((error_before - number("error_before")).abs() < 1e-6, "{name}: {error_before}");
            assert!((error_after - number("error_after")).abs() < 1e-5, "{name}: {error_after}");
            assert!((loss_before - number("loss_before")).abs() < 1e-6, "{name}: {loss_before}");
            assert!((loss_after - number("loss_after")).abs() < 1e-5, "{name}: {loss_after}");
        }
    }

    #[test]
    fn probabilities_neither_overflow_nor_vanish_and_keep_their_ranks() {
        assert_eq!(softmax(&[1000.0, 1000.0], 1.0), [0.5, 0.5]);
        assert_eq!(softmax(&[-1000.0, 0.0], 1.0), [0.0, 1.0]);
        let (cool, warm) = (softmax(&[1.0, 3.0, 2.0], 0.5), softmax(&[1.0, 3.0, 2.0], 4.0));
        assert!([&cool, &warm].iter().all(|scores| scores[1] > scores[2] && scores[2] > scores[0]), "{cool:?} {warm:?}");
        assert!(cool[1] > warm[1]);
    }
}
