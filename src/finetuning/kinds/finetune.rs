//! Jobs that teach a model new classes.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Parts, add, dataset_resource, known, version_resource};
use crate::{
    access::Scope,
    finetuning::{
        Finetuned, Place,
        follow::{Follow, TrainingProgress},
    },
    jobs::{Attachment, Control, Failure, Kind, PlanError, Planned, Task},
    runtime,
    training::{
        self, Estimate, Samples,
        recipe::{Recipe, Request},
    },
};

/// Teaches a model new classes.
pub struct Finetune {
    parts: Arc<Parts>,
    /// Folder of the jobs' checkpoints, a folder per job.
    checkpoints: PathBuf,
}

/// What a list shows of a fine-tuning.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = FinetuneSubject)]
pub struct Subject {
    /// Name of the model that it makes.
    #[schema(example = "hymenoptera")]
    name: String,
    /// Data set that it reads.
    dataset: String,
    /// Model version that it starts from.
    base: Base,
}

/// A model version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = JobBase)]
pub struct Base {
    /// The model.
    #[schema(example = "inception_v3")]
    model: String,
    /// Its version.
    #[schema(example = 1)]
    version: u32,
}

/// The rest of a fine-tuning's plan.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = FinetunePlan)]
pub struct Plan {
    /// The recipe with every default filled in.
    recipe: Recipe,
    /// What it will cost; absent from a plan of an earlier graft that cannot be read.
    #[serde(deserialize_with = "readable")]
    estimates: Option<Estimate>,
}

impl Finetune {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self { checkpoints: parts.data_dir.join("jobs"), parts }
    }

    fn planned(&self, request: &Value) -> Result<Planned<Self>, PlanError> {
        let finetuner = &self.parts.finetuner;
        let (request, mut problems) = Request::from_json(request);
        let base = finetuner.base(&request).map_err(|problem| PlanError::Invalid(vec![problem]));
        let samples = self.parts.dataset(request.dataset.as_deref()).map(|dataset| Samples::from(&dataset));
        let (base, notes) = known(base, &mut problems)?.unzip();
        let samples = known(samples, &mut problems)?;
        let found = match (&base, &samples) {
            (Some(base), Some(samples)) => finetuner.resolve(&request, base, samples),
            // Most of what is wrong shows on any data set.
            (Some(base), None) => request.resolve(base, &Samples::stand_in()),
            (None, _) => Err(request.check()),
        };
        let recipe = found.map_err(|found| add(&mut problems, found)).ok();
        let (Some(base), Some(samples), Some(recipe), true) = (base, samples, recipe, problems.is_empty()) else {
            return Err(PlanError::Invalid(problems));
        };
        let untrainable = finetuner.untrainable(&base, &recipe);
        if !untrainable.is_empty() {
            return Err(PlanError::Invalid(untrainable));
        }
        let estimates = finetuner.estimate(&base, &recipe, &samples).map_err(|error| PlanError::Failed(error.into()))?;
        let warnings = notes.into_iter().flatten().chain(recipe.warnings.clone()).chain(estimates.warnings()).collect();
        let (model, version) = (recipe.base.model.clone(), recipe.base.version);
        Ok(Planned {
            uses: vec![dataset_resource(&recipe.dataset), version_resource(&model, version)],
            subject: Subject { name: recipe.name.clone(), dataset: recipe.dataset.clone(), base: Base { model, version } },
            plan: Plan { recipe, estimates: Some(estimates) },
            warnings,
        })
    }

    fn train(&self, task: &Task<Self>, control: &dyn Control) -> Result<Finetuned, Failure> {
        let (parts, Plan { recipe, estimates }) = (&self.parts, &task.plan);
        let dataset = parts.datasets.get(&recipe.dataset).map_err(|error| parts.failure("dataset_gone", &error))?;
        let samples = Samples::from(&dataset);
        let base = parts.version(&recipe.base.model, recipe.base.version)?;
        let follow = Follow::new(control, recipe, estimates.as_ref(), task.progress.as_ref());
        let place = Place { folder: &self.checkpoints.join(&task.id), job: &task.id, lease: control.lease() };
        let made = parts.finetuner.train(&base, recipe, &samples, place, &follow);
        let made = made.map_err(|error| self.failure(&error, recipe))?;
        parts.rescan();
        Ok(made)
    }

    /// Why a run failed; that its base has gone meanwhile explains whatever happened.
    fn failure(&self, error: &training::Error, recipe: &Recipe) -> Failure {
        use training::Error;
        let needs_base = matches!(error, Error::Base(_) | Error::Graph { .. } | Error::Runtime { .. } | Error::Learner { .. });
        let gone = needs_base.then(|| self.parts.version(&recipe.base.model, recipe.base.version).err()).flatten();
        gone.unwrap_or_else(|| self.parts.failure(code(error), error))
    }
}

impl Kind for Finetune {
    const NAME: &'static str = "finetune";
    const SUMMARY: &'static str = "Fine-tune a model on a data set";
    const DESCRIPTION: &'static str =
        "Teaches a model the classes of a data set: the new head first, then the top blocks, by Keras's definitions. Only `dataset` \
         and `name` are required.";
    const EXAMPLE: &'static str = r#"{"dataset": "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10", "name": "hymenoptera"}"#;
    const SCOPE: Scope = Scope::Train;
    type Request = Request;
    type Subject = Subject;
    type Plan = Plan;
    type Progress = TrainingProgress;
    type Result = Finetuned;

    fn plan(&self, request: &Value, _: Option<&Attachment>) -> Result<Planned<Self>, PlanError> {
        self.parts.folders.for_client(|| self.planned(request))
    }

    fn run(&self, task: Task<Self>, control: &dyn Control) -> Result<Finetuned, Failure> {
        let result = self.train(&task, control);
        runtime::trim();
        result
    }

    fn leftovers(&self) -> Vec<String> {
        let folders = std::fs::read_dir(&self.checkpoints).into_iter().flatten().flatten();
        let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
        // Whatever else somebody put there is not graft's to remove.
        names.filter(|name| uuid::Uuid::try_parse(name).is_ok()).collect()
    }

    fn discard(&self, id: &str) {
        let folder = self.checkpoints.join(id);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove the checkpoints of a job that has ended");
        }
    }
}

/// Why a run failed, as a program reads it.
fn code(error: &training::Error) -> &'static str {
    use training::{Error, checkpoint::CheckpointError};
    match error {
        _ if error.is_disk_full() => "disk_full",
        Error::Checkpoint(CheckpointError::NotFinite { .. }) | Error::Diverged { .. } => "diverged",
        Error::Checkpoint(CheckpointError::Superseded { .. }) => "lease_lost",
        Error::Io { .. } | Error::NoRoom { .. } | Error::Checkpoint(_) => "disk",
        Error::Image { .. } => "image",
        Error::Graph { .. } | Error::Learner { .. } | Error::Size { .. } => "graph",
        Error::Runtime { .. } => "runtime",
        Error::BaseChanged { .. } | Error::Base(_) => "base_changed",
        Error::DatasetChanged { .. } => "dataset_changed",
        Error::Parity { .. } => "parity",
        Error::Register { .. } => "register",
        Error::Cancelled => "cancelled",
    }
}

/// An estimate only says how long a run takes: one that cannot be read is none.
fn readable<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Estimate>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(Estimate::deserialize(value).ok())
}
