//! What a learner does on images that it is not taught.
//!
//! Changes no weight and keeps no image.

use super::Run;
use crate::training::{
    Error,
    batches::Pick,
    cache::FrontierCache,
    calibration::calibrated,
    learner::{Batch, Learner},
    report::{ClassificationReport, Tally, WORST},
};

/// What a learner makes of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// One per class.
    pub(super) logits: &'a [f32],
    /// The vector that the head reads.
    pub(super) features: &'a [f32],
}

/// The report on the validation images, with logits divided by `temperature`.
pub(super) fn report(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    temperature: f32,
) -> Result<ClassificationReport, Error> {
    measured(run, learner, cache, &run.division.val, temperature)
}

/// The same on the test images; `None` without any.
pub(super) fn test(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    temperature: f32,
) -> Result<Option<ClassificationReport>, Error> {
    if run.division.test.is_empty() {
        return Ok(None);
    }
    cache.fill(&run.division.test_picks(), &mut |_| !run.observer.cancelled())?;
    measured(run, learner, cache, &run.division.test, temperature).map(Some)
}

fn measured(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    images: &[u32],
    temperature: f32,
) -> Result<ClassificationReport, Error> {
    let mut tally = Tally::new(&run.recipe.classes, WORST);
    classify(run, learner, cache, images, |image, seen| {
        let sample = &run.samples.images[image as usize];
        tally.add(&sample.path, sample.class, &calibrated(seen.logits, temperature));
    })?;
    Ok(tally.finish())
}

/// Runs the images at the positions `images`, and hands what is made of each to `each`, in that order.
pub(super) fn classify(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    images: &[u32],
    mut each: impl FnMut(u32, Seen<'_>),
) -> Result<(), Error> {
    let rows = run.recipe.batch_size;
    for images in images.chunks(rows) {
        run.go_on()?;
        let picks: Vec<Pick> = images.iter().map(|&image| Pick { image, flipped: false }).collect();
        let inputs = cache.batch(&picks, rows)?;
        let batch = Batch { inputs, labels: vec![0; rows], weights: vec![0.0; rows] };
        let (output, features) = learner.evaluate(batch).map_err(|source| run.failed(source))?;
        let logits = output.logits.data().chunks_exact(run.recipe.classes.len());
        for ((logits, features), &image) in logits.zip(features.data().chunks_exact(run.recipe.head.inputs)).zip(images) {
            each(image, Seen { logits, features });
        }
    }
    Ok(())
}
