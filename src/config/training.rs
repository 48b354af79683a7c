//! `[training]`: what fine-tuning may use.
//!
//! Knows nothing of recipes: those are a client's, not an operator's.

use std::time::Duration;

use super::key::{Key, Values, integer, milliseconds};

/// `[training]`: what fine-tuning may use.
#[derive(Debug, Clone)]
pub struct TrainingConfig {
    /// Threads of a job, at low priority; default: as `runtime.threads`; `GRAFT__TRAINING__THREADS`.
    pub threads: usize,
    /// Bound on the cached tensors of all jobs together, in bytes; default 20 GiB; `GRAFT__TRAINING__CACHE_BYTES`.
    /// What does not fit is computed anew in every epoch.
    pub cache_bytes: u64,
    /// Memory that a job's training may take by its estimate, in bytes; default 16 GiB; `GRAFT__TRAINING__MEMORY_BYTES`.
    pub memory_bytes: u64,
    /// Time between checkpoints within an epoch, at most a job's lease; default 30 s; `GRAFT__TRAINING__CHECKPOINT_INTERVAL_MS`.
    pub checkpoint_interval: Duration,
}

pub(super) const KEYS: &[Key] = &[
    integer("training.threads", 1, 1024),
    integer("training.cache_bytes", 0, 1 << 50),
    integer("training.memory_bytes", 0, 1 << 50),
    milliseconds("training.checkpoint_interval_ms", 0),
];

impl TrainingConfig {
    /// `threads` are those of `[runtime]`.
    pub(super) fn from_values(values: &Values, threads: usize) -> Self {
        let own = values.optional_integer("training.threads").map(|threads| usize::try_from(threads).unwrap_or(usize::MAX));
        Self {
            threads: own.unwrap_or(threads),
            cache_bytes: values.integer("training.cache_bytes"),
            memory_bytes: values.integer("training.memory_bytes"),
            checkpoint_interval: values.duration("training.checkpoint_interval_ms"),
        }
    }
}
