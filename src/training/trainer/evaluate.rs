//! What a learner does on images that it is not taught.
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

/// The report on the validation images.
pub(super) fn report(run: &Run<'_>, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<Report, Error> {
    Ok(predictions(run, learner, cache)?.0)
}

/// The report on the validation images, with the class that each was given.
pub(super) fn predictions(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
) -> Result<(Report, Vec<usize>), Error> {
    measured(run, learner, cache, &run.division.val)
}

/// The report on the test images; `None` without any.
pub(super) fn test(run: &Run<'_>, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<Option<Report>, Error> {
    if run.division.test.is_empty() {
        return Ok(None);
    }
    cache.fill(&run.division.test_picks(), &mut |_| !run.observer.cancelled())?;
    Ok(Some(measured(run, learner, cache, &run.division.test)?.0))
}

fn measured(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    images: &[u32],
) -> Result<(Report, Vec<usize>), Error> {
    let mut tally = Tally::new(&run.recipe.classes, WORST);
    let mut predicted = Vec::with_capacity(images.len());
    classify(run, learner, cache, images, |image, probabilities| {
        let sample = &run.samples.images[image as usize];
        predicted.push(tally.add(&sample.path, sample.class, &probabilities));
    })?;
    Ok((tally.finish(), predicted))
}

/// Runs the images at the positions `images`, and hands each one's probabilities to `each`, in that order.
pub(super) fn classify(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    images: &[u32],
    mut each: impl FnMut(u32, Vec<f32>),
) -> Result<(), Error> {
    let rows = run.recipe.batch_size;
    for images in images.chunks(rows) {
        run.go_on()?;
        let picks: Vec<Pick> = images.iter().map(|&image| Pick { image, flipped: false }).collect();
        let inputs = cache.batch(&picks, rows)?;
        let batch = Batch { inputs, labels: vec![0; rows], weights: vec![0.0; rows] };
        let logits = learner.evaluate(batch).map_err(|source| run.failed(source))?.logits;
        for (row, &image) in logits.data().chunks_exact(run.recipe.classes.len()).zip(images) {
            each(image, softmax(row));
        }
    }
    Ok(())
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
