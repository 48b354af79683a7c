//! How good a version is on labelled photos: which class of the model each of their classes is, and the report.
//!
//! Takes scores one photo at a time; knows neither where photos come from nor what gives the scores.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    datasets::Skipped,
    inference::ModelId,
    message::Listed,
    registry::{ClassNameError, ClassNames, Label},
    training::report::{ClassificationReport, Tally, WORST},
};

/// The model's class of every class of the photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truths(Vec<usize>);

/// A report, and what it is of.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EvaluateResult)]
pub struct Evaluated {
    /// The model.
    #[schema(example = "hymenoptera")]
    pub model: String,
    /// Its version.
    #[schema(example = 1)]
    pub version: u32,
    /// False when its weights are untrained: the report then means nothing.
    pub pretrained: bool,
    /// The split that the photos are; null where they are all there is.
    #[schema(required = true)]
    pub split: Option<String>,
    /// How good it is on them.
    pub report: ClassificationReport,
    /// Photos that cannot be used, by path.
    pub skipped: Vec<Skipped>,
}

/// An evaluation in progress.
#[derive(Debug)]
pub struct Evaluation<'a> {
    truths: &'a Truths,
    tally: Tally<'a>,
    skipped: Vec<Skipped>,
}

impl Truths {
    /// Finds `classes`, which are called as labels, WordNet ids or indices, among `labels`.
    ///
    /// # Errors
    /// Those that are none, in words.
    pub fn of<'c>(classes: impl IntoIterator<Item = &'c str>, labels: &[Label]) -> Result<Self, Listed> {
        let names = ClassNames::new(labels);
        let found: Vec<Result<usize, ClassNameError>> = classes.into_iter().map(|name| names.find(name)).collect();
        let wrong = Listed::of(found.iter().filter_map(|class| class.as_ref().err()));
        if wrong.count() > 0 { Err(wrong) } else { Ok(Self(found.into_iter().flatten().collect())) }
    }
}

impl<'a> Evaluation<'a> {
    /// Nothing counted yet, for a model of the classes `names`.
    pub fn new(truths: &'a Truths, names: &'a [String]) -> Self {
        Self { truths, tally: Tally::new(names, WORST), skipped: Vec::new() }
    }

    /// Counts the photo at `path`, of the photos' class `class`, that was given `scores`, one per class of the model, and is `novel`
    /// to it, where that is known.
    pub fn count(&mut self, path: &str, class: usize, scores: &[f32], novel: Option<bool>) {
        self.tally.add(path, self.truths.0[class], scores);
        if let Some(novel) = novel {
            self.tally.add_novelty(novel);
        }
    }

    /// Leaves the photo at `path` out.
    pub fn skip(&mut self, path: &str, reason: String) {
        self.skipped.push(Skipped { path: path.to_owned(), reason });
    }

    /// The report on `model`, and the photos that were left out, `before` included.
    pub fn finish(self, model: ModelId, split: Option<&str>, before: &[Skipped]) -> Evaluated {
        let mut skipped = [before, &self.skipped].concat();
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        let ModelId { name, version, pretrained } = model;
        let split = split.map(str::to_owned);
        Evaluated { model: name, version, pretrained, split, report: self.tally.finish(), skipped }
    }
}
