//! What a running job may ask its worker and report to it.
//!
//! Knows nothing of the store.

use super::{event::Event, job::Progress};

/// A running job's line to its worker.
pub trait Control: Send + Sync {
    /// Why to stop, if so; cheap, to be polled between steps, at least every second. Once set it stays.
    fn stop(&self) -> Option<Stop>;

    /// Number of the worker's lease, greater than those of all that had the job before: whatever a job writes has it in its name.
    fn lease(&self) -> u64;

    /// Whether to stop.
    fn cancelled(&self) -> bool {
        self.stop().is_some()
    }

    /// Reports an event; it is stored within half a second, or by the next [`Self::flush`].
    fn event(&self, event: Event);

    /// Reports how far the job is; of several in a row the last counts.
    fn progress(&self, progress: Progress);

    /// Waits until everything reported is durable, or [`Self::cancelled`].
    ///
    /// Call it before a checkpoint is written: a run that resumes there does not report earlier steps again.
    fn flush(&self);

    /// Says, after a checkpoint is durable, that the job made progress: its attempts start again.
    fn checkpointed(&self);
}

/// Why a job is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The process goes down; the job goes on later.
    Shutdown,
    /// The job is another worker's now: nothing may be published any more.
    LeaseLost,
}
