//! What the best epoch is worth: how sure its scores may be, which images it knows nothing like, and how often it is right.
//!
//! Trains nothing and writes nothing.

use super::{
    Run,
    evaluate::{self, Seen},
};
use crate::{
    registry::{MeasuredOn, Novelty, References},
    tensor::argmax,
    training::{
        Error, Purpose, Stream, TrainValSplit,
        cache::FrontierCache,
        calibration::{Fitted, Logits, MAX_VALUES, calibrated},
        learner::Learner,
        recipe::CalibrationMethod,
        report::ClassificationReport,
    },
};

/// Share of the images that a threshold is measured on that are not novel.
const KNOWN: f64 = 0.95;

/// Fewest references that a distance says something by.
const LEAST_REFERENCES: usize = 16;

/// The best epoch, measured.
#[derive(Debug)]
pub(super) struct Best {
    /// Of its logits, fitted to the validation images; `None` without any, or where the recipe says so.
    pub(super) calibration: Option<Fitted>,
    /// Of its features; `None` where their vectors are too long to keep some.
    pub(super) novelty: Option<(Novelty, References)>,
    /// On the validation images, calibrated.
    pub(super) report: ClassificationReport,
    /// On the test images, likewise; `None` without any.
    pub(super) test: Option<ClassificationReport>,
    /// The class that each validation image is given, in their order.
    pub(super) predicted: Vec<usize>,
    /// Probabilities of the images on which the exported model is compared, likewise.
    pub(super) trained: Vec<Vec<f32>>,
}

impl Best {
    /// Measures what `learner` has learnt.
    pub(super) fn measure(run: &Run<'_>, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<Self, Error> {
        let references = references(run, learner, cache)?;
        let Validated { logits, distances, predicted } = validate(run, learner, cache, references.as_ref())?;
        let calibration = logits.fit().filter(|_| run.recipe.calibration == CalibrationMethod::Temperature);
        let temperature = calibration.map_or(1.0, |fitted| fitted.temperature);
        let mut trained = Vec::new();
        evaluate::classify(run, learner, cache, run.compared(), |_, seen| trained.push(calibrated(seen.logits, temperature)))?;
        Ok(Self {
            calibration,
            novelty: references.map(|references| (novelty(run, &references, distances), references)),
            report: evaluate::report(run, learner, cache, temperature)?,
            test: evaluate::test(run, learner, cache, temperature)?,
            predicted,
            trained,
        })
    }
}

/// Features of training images: of every class as many, give or take one, as far as it has them; `None` where their vectors are too
/// long to keep enough.
fn references(run: &Run<'_>, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<Option<References>, Error> {
    let most = References::most(run.recipe.head.inputs);
    if most < LEAST_REFERENCES {
        return Ok(None);
    }
    let images = drawn(&run.division, &run.classes, run.recipe.seed, most);
    let mut vectors = Vec::with_capacity(images.len());
    evaluate::classify(run, learner, cache, &images, |_, seen| vectors.push(seen.features.to_vec()))?;
    Ok(Some(References::new(&vectors)))
}

/// Up to `most` training images, ascending: class by class in turn, in an order drawn with `seed`.
fn drawn(division: &TrainValSplit, classes: &[usize], seed: u64, most: usize) -> Vec<u32> {
    if division.train.len() <= most {
        return division.train.clone();
    }
    let count = classes.iter().max().map_or(0, |last| last + 1);
    let mut by_class: Vec<Vec<u32>> = vec![Vec::new(); count];
    division.train.iter().for_each(|&image| by_class[classes[image as usize]].push(image));
    for (class, images) in by_class.iter_mut().enumerate() {
        Stream::new(seed, Purpose::References, 0, 0, class as u64).shuffle(images);
    }
    let longest = by_class.iter().map(Vec::len).max().unwrap_or(0);
    // The last turn may not reach all classes: whose it is, is drawn too.
    Stream::new(seed, Purpose::References, 0, 0, u64::MAX).shuffle(&mut by_class);
    let turns = (0..longest).flat_map(|turn| by_class.iter().filter_map(move |images| images.get(turn)));
    let mut drawn: Vec<u32> = turns.take(most).copied().collect();
    drawn.sort_unstable();
    drawn
}

/// What is known of the validation images.
struct Validated {
    /// Of as many as calibration takes.
    logits: Logits,
    /// How far each is from the references.
    distances: Vec<f32>,
    /// The class that each is given.
    predicted: Vec<usize>,
}

/// Runs the validation images, and measures how far they are from `references`.
fn validate(
    run: &Run<'_>,
    learner: &mut Learner,
    cache: &mut FrontierCache<'_>,
    references: Option<&References>,
) -> Result<Validated, Error> {
    let (val, classes) = (&run.division.val, run.recipe.classes.len());
    let apart = val.len().div_ceil((MAX_VALUES / classes.max(1)).max(1));
    let (mut logits, mut distances, mut predicted) = (Logits::new(classes), Vec::new(), Vec::with_capacity(val.len()));
    evaluate::classify(run, learner, cache, val, |image, Seen { logits: row, features }| {
        if predicted.len() % apart == 0 {
            logits.add(run.classes[image as usize], row);
        }
        predicted.push(argmax(row));
        distances.extend(references.map(|references| references.distance(features)));
    })?;
    Ok(Validated { logits, distances, predicted })
}

/// What the version says of novelty: its threshold is one of `distances`, or of the references' own without any.
fn novelty(run: &Run<'_>, references: &References, distances: Vec<f32>) -> Novelty {
    let (mut distances, measured_on) = match distances.as_slice() {
        [] => (references.own_distances(), MeasuredOn::Training),
        _ => (distances, MeasuredOn::Validation),
    };
    distances.sort_unstable_by(f32::total_cmp);
    let place = (KNOWN * distances.len() as f64).ceil() as usize;
    Novelty {
        layer: run.vector().0.to_owned(),
        references: references.count(),
        threshold: distances[place.clamp(1, distances.len()) - 1],
        measured_on,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_drawn_evenly_over_classes() {
        // 60 images of class 0, 6 of class 1, 3 of class 2; every tenth is for validation.
        let classes: Vec<usize> = (0..69).map(|image| usize::from(image >= 60) + usize::from(image >= 66)).collect();
        let (val, train): (Vec<u32>, Vec<u32>) = (0..69).partition(|image| image % 10 == 9);
        let division = TrainValSplit { train: train.clone(), val, test: Vec::new() };
        let counts = |most: usize, seed: u64| {
            let drawn = drawn(&division, &classes, seed, most);
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.iter().all(|image| train.contains(image)), "{drawn:?}");
            [0, 1, 2].map(|class| drawn.iter().filter(|image| classes[**image as usize] == class).count())
        };
        assert_eq!(counts(9, 0), [3, 3, 3]);
        assert_eq!(counts(20, 0), [11, 6, 3]);
        assert_eq!(counts(1000, 0), [54, 6, 3]);
        let of_one: std::collections::HashSet<_> = (0..20).map(|seed| counts(1, seed)).collect();
        assert_eq!(of_one.len(), 3, "every class has its turn to be first");
        assert_eq!(drawn(&division, &classes, 7, 9), drawn(&division, &classes, 7, 9));
        assert_ne!(drawn(&division, &classes, 7, 9), drawn(&division, &classes, 8, 9));
    }
}
