//! Jobs that measure a version on a data set.

use std::{sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Parts, dataset_resource, invalid, known, read, version_resource};
use crate::{
    access::Scope,
    datasets::{Dataset, Split},
    finetuning::{Evaluated, Evaluation, Truths},
    inference::{Classified, ModelId},
    jobs::{Attachment, Control, Failure, Kind, PlanError, Planned, Progress, Task, document},
    message::{FieldProblem, Listed, excerpt},
    registry::{Metadata, ModelVersion, named_model},
    runtime,
};

/// Measures a version on a data set.
pub struct Evaluate {
    parts: Arc<Parts>,
}

/// A request to measure a version; `dataset` and `model` are required.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = EvaluateRequest)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// The model, `NAME` or `NAME@VERSION`; the stable version without.
    #[schema(value_type = String, required = true, example = "hymenoptera@1")]
    model: Option<String>,
    /// Id of the data set, whose classes are called as the model's labels, WordNet ids or indices.
    #[schema(value_type = String, required = true)]
    dataset: Option<String>,
    /// Which of its images: `train`, `val`, `test` or `all`; `val` without, else `test`, else all.
    #[schema(value_type = Option<String>, nullable = false, example = "val")]
    split: Option<String>,
}

/// What a list shows of an evaluation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = EvaluateSubject)]
pub struct Subject {
    /// The model.
    #[schema(example = "hymenoptera")]
    model: String,
    /// Its version.
    #[schema(example = 1)]
    version: u32,
    /// Data set that it is measured on.
    dataset: String,
    /// The split that is measured; null where the data set has none.
    #[schema(required = true)]
    split: Option<String>,
}

/// The rest of an evaluation's plan.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = EvaluatePlan)]
pub struct Plan {
    /// Images that are measured.
    images: usize,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EvaluateProgress {
    /// `evaluating`.
    stage: &'static str,
    /// Images measured.
    done: usize,
    /// Images in all.
    total: usize,
}

const SPLITS: [(&str, Split); 3] = [("train", Split::Train), ("val", Split::Val), ("test", Split::Test)];
const ALL: &str = "all";

impl Evaluate {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { parts }
    }

    fn planned(&self, request: &Value) -> Result<Planned<Self>, PlanError> {
        let request: Request = read(request)?;
        let mut problems = Vec::new();
        let version = known(self.version(request.model.as_deref()), &mut problems)?;
        let dataset = known(self.parts.dataset(request.dataset.as_deref()), &mut problems)?;
        let (Some(version), Some(dataset)) = (version, dataset) else { return Err(PlanError::Invalid(problems)) };
        let split = split(&dataset, request.split.as_deref()).map_err(|problem| PlanError::Invalid(vec![problem]))?;
        truths(&version, &dataset).map_err(|detail| invalid("dataset", detail))?;
        let images = images(&dataset, split.as_deref()).count();
        if images == 0 {
            return Err(invalid("split", format!("is `{}`, of which the data set has no images", split.unwrap_or_default())));
        }
        let (model, number) = (version.metadata.name.clone(), version.metadata.version);
        Ok(Planned {
            uses: vec![dataset_resource(&dataset.id), version_resource(&model, number)],
            warnings: self.warnings(&version, &dataset, split.as_deref()),
            subject: Subject { model, version: number, dataset: dataset.id.clone(), split },
            plan: Plan { images },
        })
    }

    fn version(&self, model: Option<&str>) -> Result<ModelVersion, PlanError> {
        let Some(model) = model else { return Err(invalid("model", "is missing; name one of `GET /models`")) };
        let (name, version) = named_model(model).map_err(|error| invalid("model", error.to_string()))?;
        let request = crate::inference::Request { model: Some(name.to_owned()), version, top_k: Some(1), ..Default::default() };
        let plan = self.parts.engine.plan(&request).map_err(|error| invalid("model", error.to_string()))?;
        Ok(plan.version)
    }

    /// What makes a report say less than it seems to.
    fn warnings(&self, version: &ModelVersion, dataset: &Dataset, split: Option<&str>) -> Vec<String> {
        let untrained = (!version.metadata.pretrained)
            .then(|| format!("model: `{}` has untrained weights: this report means nothing", version.metadata.name));
        let list = version.trained_on().ok().flatten().unwrap_or_default();
        let trained = images(dataset, split).filter(|image| list.contains(&image.sha256)).count();
        let trained = (trained > 0).then(|| format!("dataset: the model was trained on {trained} of the images"));
        untrained.into_iter().chain(trained).collect()
    }

    fn measure(&self, task: &Task<Self>, control: &dyn Control) -> Result<Evaluated, Failure> {
        let (parts, subject) = (&self.parts, &task.subject);
        let dataset = parts.datasets.get(&subject.dataset).map_err(|error| parts.failure("dataset_gone", &error))?;
        let version = parts.version(&subject.model, subject.version)?;
        let truths = truths(&version, &dataset).map_err(|detail| Failure::new("dataset_changed", detail))?;
        let names: Vec<String> = version.metadata.labels.iter().map(|label| label.label.clone()).collect();
        let mut evaluation = Evaluation::new(&truths, &names);
        let classifier = parts.finetuner.classifier(version.clone());
        let mut classifier = classifier.map_err(|error| parts.failure("runtime", &error))?;
        let (started, total) = (Instant::now(), images(&dataset, subject.split.as_deref()).count());
        let report = |done: usize| {
            let elapsed = started.elapsed().as_secs_f64();
            control.progress(Progress {
                remaining_seconds: (done > 0).then(|| elapsed / done as f64 * (total - done) as f64),
                details: document(&EvaluateProgress { stage: "evaluating", done, total }).unwrap_or_default(),
                ..Progress::default()
            });
        };
        for (done, image) in images(&dataset, subject.split.as_deref()).enumerate() {
            if control.cancelled() {
                return Err(Failure::new("cancelled", "the job was stopped"));
            }
            report(done);
            let bytes = std::fs::read(dataset.file(image)).map_err(|error| parts.failure("disk", &error))?;
            let failed = |error| {
                let failure = parts.failure("runtime", &error);
                Failure { detail: format!("{}: {}", image.path, failure.detail), ..failure }
            };
            match classifier.classify(&bytes).map_err(failed)? {
                Ok(Classified { scores, novel }) => evaluation.count(&image.path, image.class, &scores, novel),
                Err(error) => evaluation.skip(&image.path, error.to_string()),
            }
        }
        report(total);
        Ok(evaluation.finish(ModelId::of(&version), subject.split.as_deref(), &[]))
    }
}

impl Kind for Evaluate {
    const NAME: &'static str = "evaluate";
    const SUMMARY: &'static str = "Measure a version on a data set";
    const DESCRIPTION: &'static str =
        "Classifies the images of a data set, or of one of its splits, and reports accuracy, confusion and the worst images.";
    const EXAMPLE: &'static str = r#"{"dataset": "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10", "model": "hymenoptera@1"}"#;
    const SCOPE: Scope = Scope::Train;
    type Request = Request;
    type Subject = Subject;
    type Plan = Plan;
    type Progress = EvaluateProgress;
    type Result = Evaluated;

    fn plan(&self, request: &Value, _: Option<&Attachment>) -> Result<Planned<Self>, PlanError> {
        self.parts.folders.for_client(|| self.planned(request))
    }

    fn run(&self, task: Task<Self>, control: &dyn Control) -> Result<Evaluated, Failure> {
        let result = self.measure(&task, control);
        runtime::trim();
        result
    }
}

/// The split to measure: never what models are trained on, unless it is asked for.
fn split(dataset: &Dataset, wanted: Option<&str>) -> Result<Option<String>, FieldProblem> {
    let has = |split: Split| dataset.images.iter().any(|image| image.split == split);
    let has_splits = has(Split::Val) || has(Split::Test);
    match wanted {
        Some(ALL) => Ok(has_splits.then(|| ALL.to_owned())),
        Some(wanted) if SPLITS.iter().any(|(name, _)| *name == wanted) => match has_splits {
            true => Ok(Some(wanted.to_owned())),
            false => Err(FieldProblem::new("split", format!("is `{wanted}`, but the data set has no splits; leave it out"))),
        },
        Some(other) => {
            let detail = format!("is `{}`; use `train`, `val`, `test` or `all`", excerpt(other));
            Err(FieldProblem::new("split", detail))
        }
        None => Ok([("val", Split::Val), ("test", Split::Test)].into_iter().find(|(_, split)| has(*split)).map(|(name, _)| name.to_owned())),
    }
}

fn images<'d>(dataset: &'d Dataset, split: Option<&str>) -> impl Iterator<Item = &'d crate::datasets::ImageEntry> {
    let split = SPLITS.iter().find(|(name, _)| Some(*name) == split).map(|(_, split)| *split);
    dataset.images.iter().filter(move |image| split.is_none_or(|split| image.split == split))
}

fn truths(version: &ModelVersion, dataset: &Dataset) -> Result<Truths, String> {
    let classes = dataset.classes.iter().map(|class| class.name.as_str());
    Truths::of(classes, &version.metadata.labels).map_err(|wrong| {
        let Metadata { name, labels, .. } = &*version.metadata;
        let labels = Listed::of(labels.iter().map(|label| &label.label));
        format!("has classes that `{name}` does not have: {wrong:#}; those of the model are {labels}")
    })
}
