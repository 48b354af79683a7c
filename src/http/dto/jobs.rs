//! Bodies of `/jobs`, `/jobs/{id}` and `/jobs/finetune`.
//!
//! Shapes of the wire alone; what they hold is decided in `jobs`.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    http::openapi::{Epoch, JobResult},
    jobs::{Base, Failure, Job, LeaseState, LeaseStatus, NewJob, Progress, State, StoredEvent, Timestamp},
    training::{Estimate, recipe::Recipe},
};

/// The answer of `/jobs`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobsAnswer {
    /// The newest first.
    pub jobs: Vec<JobDto>,
    /// What `after` takes for the next page; null on the last.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// What a job is to do, with everything resolved.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedJob {
    /// Name of the model that it makes.
    #[schema(example = "hymenoptera")]
    pub name: String,
    /// Data set that it reads.
    pub dataset: String,
    /// Model version that it starts from.
    pub base: BaseDto,
    /// The recipe with every default filled in.
    #[schema(value_type = Recipe)]
    pub recipe: Value,
    /// What it will cost.
    #[schema(value_type = Estimate)]
    pub estimates: Value,
    /// What to know before it starts.
    pub warnings: Vec<String>,
}

/// A job that was accepted; the same for every request with its `Idempotency-Key`.
#[derive(Debug, Serialize, ToSchema)]
pub struct AcceptedJob {
    /// Its id; `/jobs/{id}` is its place.
    #[schema(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    pub id: String,
    /// `queued`.
    pub state: State,
    /// RFC 3339 time of acceptance.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
    pub created: Timestamp,
    /// What it is to do.
    #[serde(flatten)]
    pub plan: PlannedJob,
}

/// A model version.
#[derive(Debug, Serialize, ToSchema)]
pub struct BaseDto {
    /// The model.
    #[schema(example = "inception_v3")]
    pub model: String,
    /// Its version.
    #[schema(example = 1)]
    pub version: u32,
}

/// A job in a list; what is not known yet is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobDto {
    /// Its id.
    #[schema(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// Name of the model that it makes.
    #[schema(example = "hymenoptera")]
    pub name: String,
    /// Data set that it reads.
    pub dataset: String,
    /// Model version that it starts from.
    pub base: BaseDto,
    /// RFC 3339 time of acceptance.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
    pub created: Timestamp,
    /// RFC 3339 time when a worker took it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub started: Option<Timestamp>,
    /// RFC 3339 time of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub finished: Option<Timestamp>,
    /// Whether somebody asked to cancel it; it stops within two seconds.
    pub cancel_requested: bool,
    /// How its worker stands, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lease: Option<LeaseDto>,
    /// How far it is.
    #[serde(flatten)]
    pub progress: ProgressDto,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FailureDto>, nullable = false)]
    pub error: Option<Failure>,
}

/// One job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobDetail {
    /// As in the list.
    #[serde(flatten)]
    pub job: JobDto,
    /// The recipe with every default filled in.
    #[schema(value_type = Recipe)]
    pub recipe: Value,
    /// What it was expected to cost.
    #[schema(value_type = Estimate)]
    pub estimates: Value,
    /// One per epoch, with its validation metrics.
    #[schema(value_type = Vec<Epoch>)]
    pub history: Vec<Map<String, Value>>,
    /// What to know, in order.
    pub warnings: Vec<String>,
    /// What it made, once it has succeeded: model, version, report.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JobResult>, nullable = false)]
    pub result: Option<Value>,
}

/// A worker's lease of a running job.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeaseDto {
    /// `held`: its worker reports. `overdue`: its worker is silent, and nothing may be running. `lost`: its worker's process is
    /// dead, nothing is running, and the job goes on with the next worker, from its last checkpoint.
    pub status: LeaseStatus,
    /// RFC 3339 time when its worker reported last.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00Z")]
    pub reported: Timestamp,
    /// RFC 3339 time from which another worker takes the job of one that is silent.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:30Z")]
    pub expires: Timestamp,
}

/// How far a job is.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ProgressDto {
    /// `caching`, `training`, `evaluating` or `exporting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "training")]
    pub stage: Option<String>,
    /// Phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub phase: Option<u32>,
    /// Number of phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub phases: Option<u32>,
    /// Epoch of the phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub epoch: Option<u32>,
    /// Number of epochs of the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub epochs: Option<u32>,
    /// Step of the phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub step: Option<u64>,
    /// Number of steps of the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub steps: Option<u64>,
    /// Training loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub loss: Option<f64>,
    /// Training accuracy, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub accuracy: Option<f64>,
    /// Speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub images_per_second: Option<f64>,
    /// RFC 3339 time when it should end, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub estimated_finish: Option<Timestamp>,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureDto {
    /// What went wrong, as a program reads it.
    #[schema(example = "not_finite")]
    pub code: String,
    /// What went wrong, in words.
    pub detail: String,
}

impl From<Base> for BaseDto {
    fn from(Base { model, version }: Base) -> Self {
        Self { model, version }
    }
}

impl From<NewJob> for PlannedJob {
    fn from(plan: NewJob) -> Self {
        let NewJob { name, dataset, base, recipe, estimates, warnings } = plan;
        Self { name, dataset, base: base.into(), recipe, estimates, warnings }
    }
}

impl From<Job> for AcceptedJob {
    fn from(job: Job) -> Self {
        Self { id: job.id, state: State::Queued, created: job.created, plan: job.spec.into() }
    }
}

impl From<LeaseState> for LeaseDto {
    fn from(LeaseState { status, reported, expires }: LeaseState) -> Self {
        Self { status, reported, expires }
    }
}

impl JobDto {
    /// `job`, and how its worker's lease stands.
    pub fn new(job: &Job, lease: Option<LeaseState>) -> Self {
        let mut progress = job.progress.as_ref().map(ProgressDto::from).unwrap_or_default();
        // Of a job that does not run, nobody knows when it ends.
        if lease.is_none_or(|lease| lease.status != LeaseStatus::Held) {
            progress.estimated_finish = None;
        }
        Self {
            id: job.id.clone(),
            state: job.state,
            name: job.spec.name.clone(),
            dataset: job.spec.dataset.clone(),
            base: job.spec.base.clone().into(),
            created: job.created,
            started: job.started,
            finished: job.finished,
            cancel_requested: job.cancel_requested,
            lease: lease.map(LeaseDto::from),
            progress,
            error: job.error.clone(),
        }
    }
}

impl From<&Progress> for ProgressDto {
    fn from(progress: &Progress) -> Self {
        Self {
            stage: progress.stage.clone(),
            phase: progress.phase,
            phases: progress.phases,
            epoch: progress.epoch,
            epochs: progress.epochs,
            step: progress.step,
            steps: progress.steps,
            loss: progress.loss,
            accuracy: progress.accuracy,
            images_per_second: progress.images_per_second,
            estimated_finish: progress.estimated_finish(),
        }
    }
}

impl JobDetail {
    /// `job` with its worker's lease, and its `epoch` and `warning` events.
    pub fn new(job: Job, lease: Option<LeaseState>, highlights: &[StoredEvent]) -> Self {
        let text = |event: &StoredEvent| Some(event.event.data.get("text")?.as_str()?.to_owned());
        let (epochs, warnings): (Vec<_>, Vec<_>) = highlights.iter().partition(|event| event.event.is_epoch());
        let summary = JobDto::new(&job, lease);
        Self {
            job: summary,
            history: epochs.into_iter().map(|event| event.event.document()).collect(),
            warnings: job.spec.warnings.into_iter().chain(warnings.into_iter().filter_map(text)).collect(),
            recipe: job.spec.recipe,
            estimates: job.spec.estimates,
            result: job.result,
        }
    }
}
