//! Bodies of `/jobs`, `/jobs/{id}` and `POST /jobs/KIND`.
//!
//! Shapes of the wire alone; what they hold is decided in `jobs`.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    finetuning::Epoch,
    http::openapi::{JobPlan, JobProgress, JobResult, JobSubject},
    jobs::{Details, Document, Failure, Job, LeaseReport, LeaseStatus, Spec, State, Summary, Timestamp, Written},
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

/// What a job is to do, with everything resolved; besides, what its kind says of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedJob {
    /// The kind of job, as in `POST /jobs/KIND`.
    #[schema(example = "finetune")]
    pub kind: String,
    #[serde(flatten)]
    #[schema(ignore)]
    pub subject: Document,
    #[serde(flatten)]
    #[schema(ignore)]
    pub plan: Document,
    /// What to know before it starts.
    pub warnings: Vec<String>,
}

/// A job that was accepted; the same for every request with its `Idempotency-Key`. Besides, what its kind says of it.
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

/// A job in a list; what is not known yet is left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobDto {
    /// Its id.
    #[schema(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    pub id: String,
    /// The kind of job, as in `POST /jobs/KIND`.
    #[schema(example = "finetune")]
    pub kind: String,
    /// Where it stands.
    pub state: State,
    #[serde(flatten)]
    #[schema(value_type = JobSubject)]
    pub subject: Document,
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
    /// Whether somebody asked to cancel it.
    pub cancel_requested: bool,
    /// How its worker stands, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub lease: Option<LeaseDto>,
    /// What keeps it from going on, while it waits for that to pass or to be mended: its worker tries again, at least every minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FailureDto>, nullable = false)]
    pub waiting: Option<Failure>,
    #[serde(flatten)]
    #[schema(value_type = JobProgress)]
    pub progress: Document,
    /// RFC 3339 time when it should end, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    pub estimated_finish: Option<Timestamp>,
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
    #[serde(flatten)]
    #[schema(value_type = JobPlan)]
    pub plan: Written,
    /// One per epoch, with its validation metrics; a page of them. Empty for kinds that have none.
    #[schema(value_type = Vec<JobEpoch>)]
    pub history: Vec<Written>,
    /// What to give as `after` for the next page of `history`; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<u64>,
    /// What to know, in order.
    pub warnings: Vec<String>,
    /// What it made, once it has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JobResult>, nullable = false)]
    pub result: Option<Box<RawValue>>,
}

/// An epoch in a job's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobEpoch {
    /// What was measured.
    #[serde(flatten)]
    pub epoch: Epoch,
    /// Steps of the phase up to its end.
    pub step: u64,
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

/// Why a job failed, or what it waits for.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureDto {
    /// What went wrong, as a program reads it.
    #[schema(example = "disk_full")]
    pub code: String,
    /// What went wrong, in words.
    pub detail: String,
}

impl From<Spec> for PlannedJob {
    fn from(Spec { kind, subject, plan, warnings }: Spec) -> Self {
        Self { kind, subject, plan, warnings }
    }
}

impl From<Job> for AcceptedJob {
    fn from(job: Job) -> Self {
        Self { id: job.id, state: State::Queued, created: job.created, plan: job.spec.into() }
    }
}

impl From<LeaseReport> for LeaseDto {
    fn from(LeaseReport { status, reported, expires }: LeaseReport) -> Self {
        Self { status, reported, expires }
    }
}

impl JobDto {
    /// `job`, and how its worker's lease stands.
    pub fn new(job: Summary, lease: Option<LeaseReport>) -> Self {
        // Of a job that does not run, nobody knows when it ends.
        let runs = lease.is_some_and(|lease| lease.status == LeaseStatus::Held);
        let progress = job.progress.unwrap_or_default();
        let estimated_finish = progress.estimated_finish().filter(|_| runs);
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            subject: job.subject,
            created: job.created,
            started: job.started,
            finished: job.finished,
            cancel_requested: job.cancel_requested,
            lease: lease.map(LeaseDto::from),
            waiting: progress.waiting.filter(|_| job.state == State::Running),
            progress: progress.details,
            estimated_finish,
            error: job.error,
        }
    }
}

impl JobDetail {
    /// What is shown of a job, with its worker's lease.
    pub fn new(details: Details, lease: Option<LeaseReport>) -> Self {
        let Details { summary, plan, warnings, history, next, result } = details;
        Self { job: JobDto::new(summary, lease), plan, history, next, warnings, result }
    }
}
