//! What happened to a job, in order; ids are consecutive from 1 within a job.
//!
//! Knows nothing of how events travel to clients.

use serde::Serialize;
use serde_json::Value;

use super::{job::Written, kind::Document, time::Timestamp};

/// Appended when a job is accepted, or given back to the queue.
pub(super) const QUEUED: &str = "queued";
/// Appended when a worker takes a job.
pub(super) const RUNNING: &str = "running";
/// Appended when a job cannot go on and waits, under its worker's lease.
pub(super) const WAITING: &str = "waiting";
/// The last event of every job.
pub(super) const END: &str = "end";
/// An event whose `text` shows among the job's warnings.
pub(super) const WARNING: &str = "warning";
/// An event whose data shows among the job's epochs.
pub(super) const EPOCH: &str = "epoch";

/// Something that a running job reports.
///
/// `queued`, `running`, `waiting` and `end` are the store's own. `epoch` and `warning` (with `text`) show in the job itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What kind of thing happened, in snake case.
    pub kind: String,
    /// Where in the job; an event of this kind and mark is appended once, however often it is reported.
    pub mark: Option<Mark>,
    /// What else is to say.
    pub data: Document,
}

/// A place in a job: what a resumed run passes again has the same mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mark {
    /// Phase, from 1; 0 before the first.
    pub phase: u32,
    /// Epoch within the phase, from 1; 0 before the first.
    pub epoch: u32,
    /// Step within the phase, from 1; 0 before the first.
    pub step: u64,
}

/// An event as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Its number within the job, from 1.
    pub id: u64,
    /// What happened, and where.
    pub event: Event,
    /// When it was stored.
    pub at: Timestamp,
}

/// An event as it is written, with its mark: what it becomes as values is many times as large.
#[derive(Debug)]
pub struct WrittenEvent {
    /// Its number within the job, from 1.
    pub id: u64,
    /// What kind of thing happened.
    pub kind: String,
    /// The mark and the data.
    pub document: Written,
    /// When it was stored.
    pub at: Timestamp,
}

impl WrittenEvent {
    /// Whether it is the last of its job.
    pub fn is_end(&self) -> bool {
        self.kind == END
    }
}

impl Event {
    /// An event without a mark: each report of it counts.
    pub fn new(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), mark: None, data: Document::new() }
    }

    /// The same at a place in the job: reported once.
    #[must_use]
    pub fn at(mut self, phase: u32, epoch: u32, step: u64) -> Self {
        self.mark = Some(Mark { phase, epoch, step });
        self
    }

    /// The same with one more value.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    /// Something the user should know, without which the job goes on.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(WARNING).with("text", text.into())
    }

    /// The mark and the data as one JSON object.
    pub fn document(&self) -> Document {
        let mut document = Document::new();
        if let Some(Mark { phase, epoch, step }) = self.mark {
            document.insert("phase".into(), phase.into());
            document.insert("epoch".into(), epoch.into());
            document.insert("step".into(), step.into());
        }
        document.extend(self.data.clone());
        document
    }

    /// Whether it tells how an epoch went.
    pub fn is_epoch(&self) -> bool {
        self.kind == EPOCH
    }

    /// Whether it is the last of its job.
    pub fn is_end(&self) -> bool {
        self.kind == END
    }
}
