//! `[jobs]`: the queue of fine-tuning jobs and the workers that take from it.
//!
//! Knows nothing of what a job does.

use std::time::Duration;

use super::key::{Key, Values, integer, milliseconds};

/// `[jobs]`: the queue of fine-tuning jobs and the workers that take from it.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Jobs that run at once in this process, 0 for a process that only accepts them; default 1; `GRAFT__JOBS__WORKERS`.
    pub workers: usize,
    /// Jobs that may wait; default 100; `GRAFT__JOBS__MAX_QUEUED`.
    pub max_queued: u32,
    /// What one client may have of them, in percent: `server.max_client_percent`.
    pub max_client_percent: u8,
    /// Finished jobs that are kept with their events, the newest; default 1000; `GRAFT__JOBS__MAX_FINISHED`.
    pub max_finished: u32,
    /// How long a worker may be silent before its job goes to another; default 30 s; `GRAFT__JOBS__LEASE_MS`.
    pub lease: Duration,
    /// How often a job may die with its worker since its last checkpoint; default 3; `GRAFT__JOBS__MAX_ATTEMPTS`.
    pub max_attempts: u32,
    /// How much lower than serving the priority of a job's threads is, 0 to 19; default 19; `GRAFT__JOBS__NICE`.
    pub nice: u8,
    /// Event streams that may be open at once; default 64; `GRAFT__JOBS__MAX_STREAMS`.
    pub max_streams: usize,
}

pub(super) const KEYS: &[Key] = &[
    integer("jobs.workers", 0, 64),
    integer("jobs.max_queued", 1, 100_000),
    integer("jobs.max_finished", 1, 1_000_000),
    milliseconds("jobs.lease_ms", 1000),
    integer("jobs.max_attempts", 1, 100),
    integer("jobs.nice", 0, 19),
    integer("jobs.max_streams", 1, 100_000),
];

impl JobsConfig {
    /// Jobs of one client that may wait while the others have `others`, at least one.
    pub fn max_queued_per_client(&self, others: u32) -> u32 {
        let share = u64::from(self.max_queued.saturating_sub(others)) * u64::from(self.max_client_percent) / 100;
        u32::try_from(share.max(1)).unwrap_or(u32::MAX)
    }

    pub(super) fn from_values(values: &Values) -> Self {
        let small = |key: &str| u32::try_from(values.integer(key)).expect("the key's range is within that of u32");
        Self {
            workers: values.size("jobs.workers"),
            max_queued: small("jobs.max_queued"),
            max_client_percent: u8::try_from(values.integer("server.max_client_percent")).expect("a percentage fits"),
            max_finished: small("jobs.max_finished"),
            lease: values.duration("jobs.lease_ms"),
            max_attempts: small("jobs.max_attempts"),
            nice: u8::try_from(values.integer("jobs.nice")).expect("the key's range is within that of u8"),
            max_streams: values.size("jobs.max_streams"),
        }
    }
}
