//! A job as it is accepted and as it is stored.
//!
//! What its kind says of it is opaque JSON here.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    kind::{Document, Resource},
    state::State,
    time::Timestamp,
    transient::is_transient,
};

/// A job that is to be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, where something is kept under it already; else it gets one.
    pub id: Option<String>,
    /// What is to be done.
    pub spec: Spec,
    /// What must stay until it has ended.
    pub uses: Vec<Resource>,
}

/// What a job is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The kind of job.
    pub kind: String,
    /// What a list shows of it.
    pub subject: Document,
    /// What its kind gets back besides, as it is: everything that decides the result.
    pub plan: Document,
    /// What the user should know before it starts.
    pub warnings: Vec<String>,
}

/// What a list shows of a job: little, whatever its plan and its result are.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// A UUIDv7.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// The kind of job.
    pub kind: String,
    /// What its kind shows of it.
    pub subject: Document,
    /// Whether somebody asked to cancel it; its worker stops it soon.
    pub cancel_requested: bool,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When a worker took it for the first time.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Who has it, while it runs.
    pub claim: Option<Claim>,
}

/// What is shown of one job. Plan, history and result are as they are written: what they become as values is many times as large.
#[derive(Debug)]
pub struct Details {
    /// What a list shows, too.
    pub summary: Summary,
    /// What its kind was given besides.
    pub plan: Written,
    /// What the user should know, without repetitions: what was known when it was planned, and what it has told since.
    pub warnings: Vec<String>,
    /// A page of its epochs.
    pub history: Vec<Written>,
    /// Id of the last event in `history`, if there are more.
    pub next: Option<u64>,
    /// What it made, once it has succeeded.
    pub result: Option<Box<RawValue>>,
}

/// A JSON object whose values are as they are written.
pub type Written = BTreeMap<String, Box<RawValue>>;

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// A UUIDv7.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// What is to be done.
    pub spec: Spec,
    /// Workers that took it since its last checkpoint, the present one included.
    pub attempts: u32,
    /// Whether somebody asked to cancel it; its worker stops it soon.
    pub cancel_requested: bool,
    /// How far it is.
    pub progress: Option<Progress>,
    /// What it made, once it has succeeded.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When a worker took it for the first time.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Who has it, while it runs.
    pub claim: Option<Claim>,
}

/// A worker's claim to a running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The worker's process, the lease's own name, and how long it lasts, in milliseconds: `PROCESS/CLAIM/LEASE`.
    pub(super) owner: String,
    /// When another worker may take the job, unless its worker reports; for people, as clocks are set.
    pub expires: Timestamp,
}

impl Claim {
    /// How long leases last whose owner does not say: the default of `jobs.lease_ms`.
    const USUAL: Duration = Duration::from_secs(30);

    /// The owner's name for a claim called `name`, of a worker in `process`, that lasts for `lease` without a report.
    pub(super) fn owner(process: &str, name: Uuid, lease: Duration) -> String {
        format!("{process}/{name}/{}", lease.as_millis())
    }

    /// The worker's process.
    pub(super) fn process(&self) -> &str {
        self.owner.split('/').next().unwrap_or_default()
    }

    /// For how long its worker may be silent.
    pub(super) fn lasts(&self) -> Duration {
        let lasts = self.owner.split('/').nth(2).and_then(|lasts| lasts.parse().ok());
        lasts.map_or(Self::USUAL, Duration::from_millis)
    }
}

/// How a worker's claim to a running job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseReport {
    /// What is known of the worker.
    pub status: LeaseStatus,
    /// When its worker reported last.
    pub reported: Timestamp,
    /// When another worker takes the job at the latest, unless its worker reports.
    pub expires: Timestamp,
}

/// What is known of a running job's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaseStatus {
    /// It reports.
    Held,
    /// It has been silent for longer than it ever should be: nothing may be running.
    Overdue,
    /// Its process is dead: nothing is running, and the job waits for another worker.
    Lost,
}

/// Why a job failed, or what it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, as a program reads it, in snake case.
    pub code: String,
    /// What went wrong, in words, with the way out.
    pub detail: String,
    /// Whether it passes, or somebody can mend it: then the job waits and is run again.
    #[serde(skip)]
    pub is_transient: bool,
}

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Time that is left, counted from when this was reported; the store makes a time of day of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<f64>,
    /// What the job waits for, while it cannot go on; set by its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Failure>,
    /// When this was reported, in milliseconds since 1970; set by the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_ms: Option<i64>,
    /// What its kind says of it.
    #[serde(flatten)]
    pub details: Document,
}

impl Failure {
    /// A failure of that code.
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into(), is_transient: false }
    }

    /// The same, of which `error` is the cause.
    #[must_use]
    pub fn caused_by(self, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { is_transient: is_transient(error), ..self }
    }
}

impl Progress {
    /// When the job should end, as of the last report.
    pub fn estimated_finish(&self) -> Option<Timestamp> {
        let (reported, remaining) = (self.reported_ms?, self.remaining_seconds?);
        // Seconds beyond any job's life become the largest time.
        (remaining.is_finite() && remaining >= 0.0).then(|| Timestamp(reported.saturating_add((remaining * 1e3) as i64)))
    }
}
