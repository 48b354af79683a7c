//! What a learner does on the validation images.
//!
//! Changes no weight and keeps no image.

use super::Run;
use crate::training::{
    Error,
    batches::Pick,
    cache::FrontierCache,
    learner::{Batch, Learner},
    report::{Report, Tally, WORST},
};

/// A report, and the first images' probabilities.
#[derive(Debug)]
pub(super) struct Evaluation {
    pub(super) report: Report,
    /// Of the first validation images.
    pub(super) probabilities: Vec<Vec<f32>>,
}

impl Evaluation {
    /// Runs every validation image and keeps the probabilities of the first `keep`.
    pub(super) fn of(run: &Run<'_>, learner: &mut Learner, cache: &mut FrontierCache<'_>, keep: usize) -> Result<Self, Error> {
        let rows = run.recipe.batch_size;
        let mut tally = Tally::new(&run.recipe.classes, WORST);
        let mut probabilities = Vec::new();
        for images in run.division.val.chunks(rows) {
            if run.observer.cancelled() {
                return Err(Error::Cancelled);
            }
            let picks: Vec<Pick> = images.iter().map(|&image| Pick { image, flipped: false }).collect();
            let inputs = cache.batch(&picks, rows)?;
            let batch = Batch { inputs, labels: vec![0; rows], weights: vec![0.0; rows] };
            let logits = learner.evaluate(batch).map_err(|source| run.failed(source))?.logits;
            for (row, &image) in logits.data().chunks_exact(run.recipe.classes.len()).zip(images) {
                let row = softmax(row);
                let sample = &run.samples.images[image as usize];
                tally.add(&sample.path, sample.class, &row);
                if probabilities.len() < keep {
                    probabilities.push(row);
                }
            }
        }
        Ok(Self { report: tally.finish(), probabilities })
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let exponents: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = exponents.iter().sum();
    exponents.into_iter().map(|exponent| (exponent / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn probabilities_neither_overflow_nor_vanish() {
        assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
        assert_eq!(softmax(&[-1000.0, 0.0]), [0.0, 1.0]);
    }
}
