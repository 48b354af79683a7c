//! What runs a job, and what it may ask and tell while it does.
//!
//! Knows nothing of the store: a runner talks to its worker alone.

use serde_json::Value;

use super::{
    event::Event,
    job::{Failure, Job, Progress},
};

/// Does what a job asks for; blocking, on a thread of its own at low priority.
///
/// Threads that it starts inherit the priority. It resumes by itself from what an earlier run left behind.
pub trait Runner: Send + Sync + 'static {
    /// Runs `job` to its end, or until [`Control::cancelled`].
    ///
    /// # Errors
    /// Why there is no result; what it is does not matter once `control` says to stop.
    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure>;

    /// Ids of the jobs of which something lies around for a later run to go on from.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes what lies around of the job `id`; called when the job has ended and that is durable.
    fn discard(&self, _id: &str) {}
}

/// A runner's line to its worker.
pub trait Control: Send + Sync {
    /// Why to stop, if so; cheap, to be polled between steps, at least every second. Once set it stays.
    fn stop(&self) -> Option<Stop>;

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

    /// Tells, after a checkpoint is durable, that the job made progress: its attempts start again.
    fn checkpointed(&self);
}

/// Why a runner is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The process goes down; the job goes on later.
    Shutdown,
    /// The job is another worker's now: nothing may be published any more.
    LeaseLost,
}
