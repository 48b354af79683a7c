//! A request, a base and a data set become a recipe, or all that is wrong with them.
//!
//! Decides what is asked; runs nothing.

use sha2::{Digest, Sha256};

use super::{
    draft::{Draft, PhaseDraft},
    head::head,
    layers::Foundation,
    preset::Preset,
    problem::{Choice, Problem, Problems},
    request::{LayerRef, Request},
    resolved::{Base, BatchNorm, ClassCount, ClassWeighting, Head, Phase, Pool, Recipe, Trainable, Validation},
};
use crate::{
    arch,
    datasets::Split,
    graph::Graph,
    message::Listed,
    preprocess::{Orientation, Preprocessing},
    registry::{Metadata, ModelVersion},
    training::{Samples, TrainValSplit, batches},
};

/// Share of every class for validation when nothing else is said.
const VALIDATION_SPLIT: f64 = 0.2;

impl Request {
    /// The recipe for `base` and `samples`; nothing is run or queued.
    ///
    /// # Errors
    /// Everything that is wrong, each with its field and a way out.
    pub fn resolve(&self, base: &ModelVersion, samples: &Samples) -> Result<Recipe, Vec<Problem>> {
        match base.open_graph() {
            Ok(graph) => self.resolve_on(&base.metadata, &graph, samples),
            Err(error) => {
                let mut problems = Problems(self.check());
                let Metadata { name, version, .. } = &*base.metadata;
                problems.add(
                    "base",
                    match base.graph_path().exists() {
                        true => format!("cannot be read: {error}; import the model again"),
                        false => format!("`{name}@{version}` is no longer in the repository; choose another"),
                    },
                );
                Err(problems.0)
            }
        }
    }

    /// As [`Self::resolve`], for a graph that has been read.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_on(&self, metadata: &Metadata, graph: &Graph, samples: &Samples) -> Result<Recipe, Vec<Problem>> {
        let (mut problems, mut warnings) = (Problems::default(), Vec::new());
        let draft = Draft::of(self, &mut problems);
        let preprocessing = preprocessing(self, Some(&metadata.preprocessing), &mut problems);
        let head = head(&draft.head, metadata, samples.classes.len(), &mut problems);
        let phases = head.as_ref().map(|head| phases(&draft, metadata, graph, head, &mut problems, &mut warnings));
        refuse_refreezing(phases.as_deref().unwrap_or_default(), &mut problems);
        let (division, validation) = validation(&draft, samples, &mut problems, &mut warnings);
        let (Some(head), Some(phases), Some(preprocessing), true) = (head, phases, preprocessing, problems.0.is_empty()) else {
            return Err(problems.0);
        };
        warnings.splice(0..0, untrained(metadata));
        warnings.extend(samples.warnings.iter().map(|warning| format!("dataset: {warning}")));
        warnings.extend(head_first(&phases));
        warnings.extend(self.without_effect(&head, &phases));
        Ok(Recipe {
            dataset: draft.dataset,
            fingerprint: samples.fingerprint.clone(),
            name: draft.name,
            replace: draft.replace,
            publish: draft.publish,
            base: base(metadata, graph),
            classes: samples.classes.clone(),
            preprocessing,
            head,
            phases,
            batch_size: draft.batch_size,
            steps_per_epoch: batches::steps_per_epoch(division.train.len(), draft.batch_size),
            seed: draft.seed,
            class_weighting: draft.class_weighting,
            class_weights: class_weights(draft.class_weighting, &validation.classes),
            validation,
            early_stopping: draft.early_stopping,
            horizontal_flip: draft.horizontal_flip,
            batch_norm: draft.batch_norm,
            calibration: draft.calibration,
            warnings,
        })
    }

    /// Warnings of what is said and changes nothing.
    fn without_effect(&self, head: &Head, phases: &[Phase]) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.head.as_ref().is_some_and(|head| head.pool.is_some()) && head.pool == Pool::None {
            warnings.push(format!("head.pool: changes nothing, since `{}`, on which the head sits, is a vector", head.on));
        }
        let is_affine = self.batch_norm == Some(Choice::Known(BatchNorm::Affine));
        if is_affine && phases.iter().all(|phase| phase.trainable == Trainable::Head) {
            warnings.push("batch_norm: `affine` changes nothing, since only the head trains".to_owned());
        }
        warnings
    }
}

/// A later phase must train all that earlier ones did: what is frozen is computed from the base as it was brought.
///
/// Phases that are wrong by themselves are told first: what they would train is not known.
fn refuse_refreezing(phases: &[Phase], problems: &mut Problems) {
    if problems.0.iter().any(|problem| problem.field.starts_with("phases")) {
        return;
    }
    for (index, pair) in (1..).zip(phases.windows(2)) {
        let is_kept = |name: &str| pair[1].parameters.iter().any(|kept| kept.name == name);
        if let Some(lost) = pair[0].parameters.iter().find(|parameter| !is_kept(&parameter.name)) {
            let detail =
                format!("freezes `{}`, which the phase before it trains; begin at the same layer or an earlier one", lost.name);
            problems.add(format!("phases[{index}]"), detail);
        }
    }
}

/// The base's preprocessing with EXIF orientation applied, unless the request says otherwise; `None` without a base.
pub(super) fn preprocessing(request: &Request, base: Option<&Preprocessing>, problems: &mut Problems) -> Option<Preprocessing> {
    let wanted = request.preprocessing.clone().unwrap_or_default();
    let orientation = problems.choice("preprocessing.orientation", wanted.orientation.as_ref(), Orientation::Exif);
    let own = base.map_or(crate::preprocess::Resize::Nearest, |base| base.resize);
    let resize = problems.choice("preprocessing.resize", wanted.resize.as_ref(), own);
    base.map(|base| Preprocessing { orientation, resize, ..base.clone() })
}

fn phases(
    draft: &Draft,
    metadata: &Metadata,
    graph: &Graph,
    head: &Head,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Vec<Phase> {
    let foundation = match Foundation::new(metadata, graph, head, draft.batch_norm) {
        Ok(foundation) => foundation,
        Err(error) => {
            problems.add("base", format!("cannot be cut at `{}`: {error}", head.on));
            return Vec::new();
        }
    };
    if draft.batch_norm == BatchNorm::Affine && !foundation.weighted.iter().any(has_shift) {
        warnings.push("batch_norm: `affine` changes nothing, since the base has no batch normalisation".to_owned());
    }
    let default = draft.phases.is_none().then(|| default_phases(metadata, draft.preset, warnings));
    let drafts = draft.phases.as_ref().or(default.as_ref()).map_or(&[][..], Vec::as_slice);
    let phase = |(index, draft)| foundation.phase(&format!("phases[{index}]"), draft, problems, warnings);
    drafts.iter().enumerate().filter_map(phase).collect()
}

fn has_shift(node: &crate::graph::WeightedNode) -> bool {
    node.parameters.iter().any(|weight| weight.role == crate::graph::Role::Shift)
}

/// The head, then the top blocks of an architecture that graft knows; of other graphs the head alone.
fn default_phases(metadata: &Metadata, preset: Preset, warnings: &mut Vec<String>) -> Vec<PhaseDraft> {
    let architecture = arch::by_name(&metadata.architecture, false);
    let last_frozen = architecture.and_then(|architecture| metadata.layer(architecture.transfer.frontier()));
    let start = last_frozen.map(|last_frozen| last_frozen.index as i64 + 1);
    if start.is_none() {
        warnings.push(
            "phases: only the head trains, since graft does not know the blocks of this base; add a phase with `trainable_from`"
                .to_owned(),
        );
    }
    let head = PhaseDraft::of_defaults(None, preset);
    let top = start.map(|start| PhaseDraft::of_defaults(Some(LayerRef::Index(start)), preset));
    std::iter::once(head).chain(top).collect()
}

fn validation(
    draft: &Draft,
    samples: &Samples,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> (TrainValSplit, Validation) {
    let has_folder = samples.images.iter().any(|image| image.split == Split::Val);
    let split = match (has_folder, draft.validation_split) {
        (true, Some(_)) => {
            problems.add("validation_split", "does not go with a data set that has its own `val/` folder; leave it out");
            None
        }
        (true, None) => None,
        (false, share) => Some(share.unwrap_or(VALIDATION_SPLIT)),
    };
    let division = TrainValSplit::of(samples, split, draft.seed);
    let counts = division.counts(samples).into_iter().zip(&samples.classes);
    let classes: Vec<ClassCount> =
        counts.map(|([train, val, test], name)| ClassCount { name: name.clone(), train, val, test }).collect();
    if classes.len() < 2 {
        problems.add("dataset", format!("has {} classes; a classifier needs at least two class folders", classes.len()));
    }
    for class in classes.iter().filter(|class| class.train == 0) {
        problems.add("dataset", format!("has no training image of class `{}`; add some, or remove its folder", class.name));
    }
    if division.val.is_empty() {
        if draft.early_stopping.is_some() {
            problems.add("early_stopping", "needs validation images; set `validation_split` above 0, or leave it out");
        }
    } else {
        let unmeasured: Vec<&str> = classes.iter().filter(|class| class.val == 0).map(|class| class.name.as_str()).collect();
        if !unmeasured.is_empty() {
            warnings.push(format!("dataset: no validation image of class {}", Listed::of(unmeasured)));
        }
    }
    let (train, val, test) = (division.train.len(), division.val.len(), division.test.len());
    let validation = Validation { split, train, val, test, classes };
    warnings.extend(validation.warning());
    (division, validation)
}

fn class_weights(weighting: ClassWeighting, classes: &[ClassCount]) -> Vec<f64> {
    match weighting {
        ClassWeighting::None => vec![1.0; classes.len()],
        ClassWeighting::Balanced => batches::class_weights(&classes.iter().map(|class| class.train).collect::<Vec<_>>()),
    }
}

fn base(metadata: &Metadata, graph: &Graph) -> Base {
    let hash = Sha256::digest(graph.to_bytes());
    Base {
        model: metadata.name.clone(),
        version: metadata.version,
        architecture: metadata.architecture.clone(),
        weights_sha256: metadata.weights.sha256.clone(),
        graph_sha256: hex::encode(hash),
        pretrained: metadata.pretrained,
    }
}

fn untrained(metadata: &Metadata) -> Option<String> {
    let Metadata { name, version, architecture, .. } = metadata;
    (!metadata.pretrained).then(|| {
        format!(
            "base: `{name}@{version}` has untrained weights: its features mean little and accuracy will be poor; \
             `graft pull {architecture}` brings trained ones"
        )
    })
}

/// A warning when the base trains before the head has.
fn head_first(phases: &[Phase]) -> Option<String> {
    let first = phases.first().filter(|phase| phase.trainable != Trainable::Head)?;
    let Trainable::From { layer, .. } = &first.trainable else { return None };
    Some(format!(
        "phases[0]: a new head's first gradients disturb the layers from `{layer}` on; \
         put a phase with `\"trainable\": \"head\"` before it"
    ))
}
