//! The worker: claims a job, runs it on a thread of its own, and writes down how it ended.
//!
//! `run_one` does one job and `run_until` only loops, so that tests drain the queue without sleeping.

mod line;
mod pause;
mod session;
mod thread;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use uuid::Uuid;

use self::session::Session;
use super::{error::Error, handle::Jobs, kind::Kinds, state::State};
use crate::telemetry::{News, Trouble};

/// How long an idle worker waits for jobs that another process accepted, or whose worker died.
const IDLE: Duration = Duration::from_secs(1);

/// No request for a job takes longer to be accepted.
const NEW: Duration = Duration::from_secs(60 * 60);

/// Runs jobs, one after the other.
pub struct Worker {
    jobs: Jobs,
    kinds: Kinds,
    /// Whether the process goes down: jobs are given back, none is taken.
    stopping: watch::Sender<bool>,
}

/// A job that left a worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub id: String,
    /// Where it stands now; `None` when another worker has it.
    pub state: Option<State>,
}

impl Worker {
    /// A worker that takes from `jobs` and lets `kinds` do them.
    pub fn new(jobs: Jobs, kinds: Kinds) -> Self {
        Self { jobs, kinds, stopping: watch::channel(false).0 }
    }

    /// Takes the job that waits longest, runs it to its end, and says how that was; `None` when none waits.
    ///
    /// # Errors
    /// The store's own.
    pub async fn run_one(&self) -> Result<Option<Ended>, Error> {
        let config = self.jobs.config();
        for id in self.jobs.requeue_expired().await? {
            tracing::warn!(job = id, "its worker died, or stood still for too long");
            self.jobs.announce(&id);
        }
        if *self.stopping.borrow() {
            return Ok(None);
        }
        let since = self.jobs.elapsed();
        let Some((job, lease)) = self.jobs.store().claim(self.jobs.now(), config.lease).await? else { return Ok(None) };
        self.jobs.announce(&job.id);
        let id = job.id.clone();
        tracing::info!(job = id, kind = job.spec.kind, subject = %serde_json::json!(job.spec.subject), attempt = job.attempts, "job started");
        let kind = self.kinds.get(&job.spec.kind).cloned();
        let session = Session::new(self.jobs.clone(), lease, since, self.stopping.subscribe());
        let state = session.run(job, kind).await?;
        self.jobs.announce(&id);
        let outcome = state.map_or("lost", State::name);
        metrics::counter!("graft_jobs_total", "outcome" => outcome).increment(1);
        tracing::info!(job = id, outcome, "job left its worker");
        self.tidy().await;
        Ok(Some(Ended { id, state }))
    }

    /// Runs jobs until `shutdown`; then the one at hand is told to stop, and given back.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) {
        let mut work = std::pin::pin!(self.work());
        tokio::select! {
            () = shutdown => {}
            () = &mut work => return,
        }
        self.stop();
        work.await;
    }

    /// Takes no further job; the one at hand is told to stop, and given back.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Discards what is kept of jobs that have ended, or that are known no more.
    async fn tidy(&self) {
        for kind in self.kinds.all() {
            let listed = Arc::clone(kind);
            for id in tokio::task::spawn_blocking(move || listed.leftovers()).await.unwrap_or_default() {
                let ended = match self.jobs.summary(&id).await {
                    Ok(job) => job.state.is_terminal(),
                    // One that is new may be about to be accepted.
                    Err(error) => matches!(error, Error::UnknownJob { .. }) && !is_new(&id),
                };
                if ended {
                    let kind = Arc::clone(kind);
                    // A panic in there has been logged, and the next call finds what is left.
                    let _ = tokio::task::spawn_blocking(move || kind.discard(&id)).await;
                }
            }
        }
    }

    async fn work(&self) {
        self.tidy().await;
        let mut changes = self.jobs.changes();
        let mut stopping = self.stopping.subscribe();
        let mut trouble = Trouble::default();
        while !*stopping.borrow_and_update() {
            let ran = self.run_one().await;
            match trouble.of(&ran) {
                Some(News::Wrong(error)) => tracing::error!(error, "the job store failed; trying again"),
                Some(News::Over) => tracing::info!("the job store works again"),
                None => {}
            }
            if let Ok(Some(_)) = ran {
                continue;
            }
            tokio::select! {
                () = changes.any(IDLE) => {}
                _ = stopping.changed() => {}
            }
        }
    }
}

/// Whether `id`, a UUIDv7, was made a short while ago.
fn is_new(id: &str) -> bool {
    let made = Uuid::try_parse(id).ok().and_then(|id| id.get_timestamp()).map(|at| Duration::from_secs(at.to_unix().0));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    made.is_some_and(|made| now.saturating_sub(made) < NEW)
}
