//! Whether what a run made answers requests that name no version: decided by measuring it beside the version that does.
//!
//! The decision holds for the moment of publication: if the model has changed meanwhile, it is made again.

mod decision;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::decision::{decided, judged, pinned};
use super::{Finetuner, name::has_labels};
use crate::{
    jobs::is_transient,
    registry::{Metadata, Model, ModelVersion, Published, Staging, TrainedOn},
    telemetry::chain,
    tensor::argmax,
    training::{
        Error, Made, Publisher, Sample, Samples, TrainValSplit,
        event::{Event, Observer, Position},
        recipe::{Publish, Recipe},
        report::wilson,
    },
};

/// Fewer images in common say too little to keep a version back.
pub(super) const FEW: usize = 20;

/// Whether a version answers requests that name none, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Publication {
    /// Whether it answered them from the moment on when it was registered.
    pub served: bool,
    /// Why, as a program reads it.
    pub reason: Reason,
    /// Why, in words.
    pub detail: String,
    /// What it was measured beside; left out where there was nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub comparison: Option<Comparison>,
}

/// Why a version answers requests that name none, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PublicationReason)]
pub enum Reason {
    /// No model had the name.
    NewName,
    /// It is better than the version that answered.
    Better,
    /// It is as good: published, as it is newer.
    Equal,
    /// It is worse: registered alone.
    Worse,
    /// Too few images tell the two apart: published.
    FewImages,
    /// There are no validation images: registered alone.
    NoValidation,
    /// The version that answered could not be measured: registered alone.
    NotMeasured,
    /// A model with other labels has got the name since the job was accepted: registered alone.
    OtherLabels,
    /// The request lets it replace a model with other labels.
    Replaced,
    /// The request says so.
    Always,
    /// The request says so.
    Never,
    /// Another version is pinned: it goes on answering.
    Pinned,
}

/// Two versions on the same images: those for validation that neither was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    /// The version that answered before.
    #[schema(example = "hymenoptera@1")]
    pub with: String,
    /// Images.
    pub images: u64,
    /// Share of them that the new version has right; null without images.
    #[schema(required = true)]
    pub accuracy: Option<f64>,
    /// Wilson's interval of it at 95 %.
    pub accuracy_interval: [f64; 2],
    /// Share of them that the version that answered has right; null without images.
    #[schema(required = true)]
    pub other_accuracy: Option<f64>,
    /// Wilson's interval of it at 95 %.
    pub other_accuracy_interval: [f64; 2],
}

impl Publication {
    /// That of a version that a job made; of an earlier graft's all that is known is that it was published.
    pub(super) fn of(version: &ModelVersion) -> Self {
        let lineage = version.metadata.lineage.as_ref();
        let known = lineage.and_then(|lineage| serde_json::from_value(lineage.publication.clone()?).ok());
        known.unwrap_or_else(|| Self {
            served: version.metadata.published,
            reason: Reason::Always,
            detail: "an earlier graft published it".to_owned(),
            comparison: None,
        })
    }
}

/// Registers what a run makes, as its recipe and the model of that name allow.
pub(super) struct Register<'a> {
    pub(super) finetuner: &'a Finetuner,
    pub(super) base: &'a ModelVersion,
    pub(super) recipe: &'a Recipe,
    pub(super) samples: &'a Samples,
    pub(super) job: &'a str,
    pub(super) observer: &'a dyn Observer,
}

impl Register<'_> {
    fn model(&self) -> Result<Option<Model>, Error> {
        let snapshot = self.finetuner.repository.scan().map_err(|source| self.refused(source))?;
        Ok(snapshot.model(&self.recipe.name).cloned())
    }

    fn refused(&self, source: crate::registry::Error) -> Error {
        Error::Register { name: self.recipe.name.clone(), source: source.into() }
    }

    /// The photos that the version was trained on, those of its base included.
    fn trained_on(&self, division: &TrainValSplit) -> TrainedOn {
        let own = photos(self.samples, &division.train);
        // A list that cannot be read is one that nobody has.
        own.and(self.base.trained_on().ok().flatten().unwrap_or_default())
    }

    fn decide(
        &self,
        model: Option<&Model>,
        made: &Made<'_>,
        trained_on: &TrainedOn,
        measured: &mut Known,
    ) -> Result<(bool, Publication), Error> {
        let Some(model) = model else {
            return Ok(decided(true, Reason::NewName, "no model had this name", None));
        };
        if model.version(model.stable.version).is_none() {
            let detail = "the version that was chosen cannot be read; take the choice back, or make this one stable";
            return Ok(decided(false, Reason::NotMeasured, detail, None));
        }
        let comparison = match has_labels(model, &self.recipe.classes) {
            false if self.recipe.replace && self.recipe.publish != Publish::Never => {
                let replaced = decided(true, Reason::Replaced, "it replaces a model with other labels", None);
                return Ok(pinned(model.stable, replaced));
            }
            false if self.recipe.publish != Publish::Never => {
                let detail = "a model with other labels got this name while the job ran; make it stable to replace that";
                return Ok(decided(false, Reason::OtherLabels, detail, None));
            }
            false => None,
            true => self.compare(model, made, trained_on, measured)?,
        };
        Ok(pinned(model.stable, judged(self.recipe.publish, made.division.val.is_empty(), comparison)))
    }

    /// Says what its user may not expect.
    fn warn(&self, version: &ModelVersion, publication: &Publication) {
        let expected = [Reason::NewName, Reason::Better, Reason::Replaced, Reason::Always, Reason::Never];
        if expected.contains(&publication.reason) {
            return;
        }
        let Metadata { name, version, .. } = &*version.metadata;
        let answers = if publication.served { "answers" } else { "does not answer" };
        let detail = format!("{name}@{version} {answers} requests for `{name}` without a version: {}", publication.detail);
        // Behind the last phase.
        let at = Position { phase: self.recipe.phases.len(), epoch: 0, step: 0 };
        self.observer.event(Event::Warning { at, detail });
    }

    /// The comparison with the version that answers; `None` when that cannot be measured.
    ///
    /// # Errors
    /// What passes when the run is tried again.
    fn compare(
        &self,
        model: &Model,
        made: &Made<'_>,
        trained_on: &TrainedOn,
        measured: &mut Known,
    ) -> Result<Option<Comparison>, Error> {
        let Some(stable) = model.version(model.stable.version) else { return Ok(None) };
        let number = stable.metadata.version;
        if let Some(known) = measured.get(&number) {
            return Ok(known.clone());
        }
        let compared = self.measure(stable, made, trained_on)?;
        let warn = |error: &String| tracing::warn!(model = model.name, version = number, error, "cannot be measured");
        let compared = compared.inspect_err(warn).ok();
        measured.insert(number, compared.clone());
        Ok(compared)
    }

    fn measure(
        &self,
        stable: &ModelVersion,
        made: &Made<'_>,
        trained_on: &TrainedOn,
    ) -> Result<Result<Comparison, String>, Error> {
        let known = self.known_training(stable);
        let is_common = |image: &Sample| !known.contains(image.content()) && !trained_on.contains(image.content());
        let common = made.division.val.iter().zip(made.predicted).map(|(&at, &class)| (&self.samples.images[at as usize], class));
        let common: Vec<(&Sample, usize)> = common.filter(|(image, _)| is_common(image)).collect();
        let mut classifier = match common.is_empty() {
            true => None,
            false => match self.finetuner.classifier(stable.clone()) {
                Ok(classifier) => Some(classifier),
                Err(error) => return Ok(Err(chain(&error))),
            },
        };
        let (mut own, mut other) = (0, 0);
        for (image, predicted) in &common {
            if self.observer.cancelled() {
                return Err(Error::Cancelled);
            }
            own += u64::from(*predicted == image.class);
            let bytes = match std::fs::read(&image.file) {
                Ok(bytes) => bytes,
                Err(source) if is_transient(&source) => {
                    return Err(Error::Io { action: "read the image", path: image.file.as_path().into(), source });
                }
                Err(error) => return Ok(Err(error.to_string())),
            };
            let classified = classifier.as_mut().map(|classifier| classifier.classify(&bytes)).transpose();
            let classified = match classified {
                Ok(classified) => classified,
                Err(error) => return Ok(Err(chain(&error))),
            };
            let best = classified.and_then(Result::ok).map(|classified| argmax(&classified.scores));
            other += u64::from(best == Some(image.class));
        }
        let images = common.len() as u64;
        let share = |right: u64| (images > 0).then(|| right as f64 / images as f64);
        Ok(Ok(Comparison {
            with: format!("{}@{}", stable.metadata.name, stable.metadata.version),
            images,
            accuracy: share(own),
            accuracy_interval: wilson(own, images),
            other_accuracy: share(other),
            other_accuracy_interval: wilson(other, images),
        }))
    }

    /// The photos that `version` is known to be trained on: by its own list, or as its recipe divides the same data set.
    fn known_training(&self, version: &ModelVersion) -> TrainedOn {
        if let Ok(Some(list)) = version.trained_on() {
            return list;
        }
        let lineage = version.metadata.lineage.as_ref().filter(|lineage| lineage.dataset == self.samples.fingerprint);
        let recipe = lineage.and_then(|lineage| serde_json::from_value::<Recipe>(lineage.recipe.clone()).ok());
        let division = recipe.map(|recipe| TrainValSplit::of(self.samples, recipe.validation.split, recipe.seed));
        division.map(|division| photos(self.samples, &division.train)).unwrap_or_default()
    }
}

/// Comparisons by the version that answers; `None` for one that could not be measured.
type Known = BTreeMap<u32, Option<Comparison>>;

impl Publisher for Register<'_> {
    fn published(&self) -> Result<Option<ModelVersion>, Error> {
        let versions = self.model()?.map(|model| model.versions).unwrap_or_default();
        let mine = |version: &ModelVersion| version.metadata.lineage.as_ref().is_some_and(|of| of.job == self.job);
        Ok(versions.into_iter().find(mine))
    }

    fn rehearse(&self, bytes: u64) -> Result<(), Error> {
        self.stage()?.rehearse(bytes).map_err(|source| self.refused(source))
    }

    fn stage(&self) -> Result<Staging, Error> {
        self.finetuner.repository.stage(&self.recipe.name).map_err(|source| self.refused(source))
    }

    fn publish(&self, mut staging: Staging, mut metadata: Metadata, made: &Made<'_>) -> Result<ModelVersion, Error> {
        let trained_on = self.trained_on(made.division);
        trained_on.write(staging.dir()).map_err(|source| self.refused(source))?;
        let mut measured = Known::new();
        loop {
            let model = self.model()?;
            let (published, publication) = self.decide(model.as_ref(), made, &trained_on, &mut measured)?;
            // A worker whose lease is lost must not publish: another has the job.
            if self.observer.cancelled() {
                return Err(Error::Cancelled);
            }
            metadata.published = published;
            if let Some(lineage) = &mut metadata.lineage {
                lineage.publication = serde_json::to_value(&publication).ok();
            }
            let seen = model.map(|model| model.stable);
            let outcome = staging.publish_if(metadata.clone(), |now| now == seen).map_err(|source| self.refused(source))?;
            match outcome {
                Published::Version(version) => {
                    self.warn(&version, &publication);
                    return Ok(version);
                }
                Published::Refused(refused) => staging = refused,
            }
        }
    }
}

fn photos(samples: &Samples, positions: &[u32]) -> TrainedOn {
    let mut photos = TrainedOn::default();
    positions.iter().for_each(|&at| photos.insert(samples.images[at as usize].content()));
    photos
}
