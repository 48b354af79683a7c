//! One job in a worker's hands: keeps the lease, stores what it reports, passes on the wish to stop.
//!
//! The only writer of its job while the lease lasts. Reports are stored together, twice a second, not one by one: each
//! transaction waits for the disk.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    line::{Message, StopFlag, line},
    thread,
};
use crate::jobs::{
    control::Stop,
    error::Error,
    handle::{Changes, Jobs},
    job::{Failure, Job},
    kind::AnyKind,
    state::State,
    store::{Lease, Report, Standing},
    time::Timestamp,
};

/// How often reports are stored, and the wishes of other processes looked up.
const TICK: Duration = Duration::from_millis(500);

/// Pause before a write that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Events that are stored at once.
const BATCH: usize = 256;

/// A job in a worker's hands.
pub struct Session {
    jobs: Jobs,
    lease: Lease,
    stopping: watch::Receiver<bool>,
    stop: StopFlag,
    /// What is not stored yet.
    pending: Report,
    written: Instant,
    /// When the lease runs out unless the next write succeeds.
    until: Timestamp,
}

impl Session {
    pub fn new(jobs: Jobs, lease: Lease, stopping: watch::Receiver<bool>) -> Self {
        let until = jobs.now().plus(jobs.config().lease);
        let (stop, pending, written) = (StopFlag::default(), Report::default(), Instant::now());
        Self { jobs, lease, stopping, stop, pending, written, until }
    }

    /// Runs `job` to its end; gives the state that was written, `None` when the lease was lost before.
    pub async fn run(mut self, job: Job, kind: Option<Arc<dyn AnyKind>>) -> Result<Option<State>, Error> {
        let (line, inbox) = line(self.stop.clone());
        let id = job.id.clone();
        let outcome = match thread::start(kind, job, line, self.jobs.config().nice) {
            Ok(done) => {
                self.attend(inbox).await;
                done.await.unwrap_or_else(|_| Err(Failure::new("panic", "the job's thread ended without a word")))
            }
            Err(source) => {
                let error = Error::Thread { id, source };
                tracing::error!(error = &error as &dyn std::error::Error, "a job failed");
                Err(Failure::new("no_thread", error.to_string()))
            }
        };
        self.persist().await;
        self.end(outcome).await
    }

    /// Serves the line until the job is done.
    async fn attend(&mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut changes = self.jobs.changes();
        let mut ticks = interval(TICK.min(self.jobs.heartbeat()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.note_shutdown();
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.receive(message).await,
                    None => return,
                },
                _ = ticks.tick() => self.tick().await,
                () = news(&mut changes, &self.lease) => self.look().await,
                Ok(()) = self.stopping.changed() => self.note_shutdown(),
            }
        }
    }

    fn note_shutdown(&mut self) {
        if *self.stopping.borrow_and_update() {
            self.stop.set(Stop::Shutdown);
        }
    }

    async fn receive(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                self.pending.events.push(event);
                if self.pending.events.len() >= BATCH {
                    self.persist().await;
                }
            }
            Message::Progress(progress) => self.pending.progress = Some(progress),
            Message::Checkpointed => {
                self.pending.checkpointed = true;
                self.persist().await;
            }
            Message::Flush(done) => {
                self.persist().await;
                let _ = done.send(());
            }
        }
    }

    async fn tick(&mut self) {
        let Report { events, progress, .. } = &self.pending;
        let reported = !events.is_empty() || progress.is_some();
        if reported || self.written.elapsed() >= self.jobs.heartbeat() {
            self.write().await;
        } else {
            self.look().await;
        }
    }

    /// Stores what is pending and extends the lease; whether that was possible.
    async fn write(&mut self) -> bool {
        let (now, lease) = (self.jobs.now(), self.jobs.config().lease);
        let reported = !self.pending.events.is_empty() || self.pending.progress.is_some();
        match self.jobs.store().report(&self.lease, &self.pending, now, lease).await {
            Ok(standing) => {
                self.pending = Report::default();
                self.written = Instant::now();
                self.until = now.plus(lease);
                self.note(standing);
                if reported {
                    self.jobs.announce(&self.lease.job);
                }
                true
            }
            Err(error) => {
                self.note_failure(&error);
                false
            }
        }
    }

    /// Writes until it is stored or the lease is lost.
    async fn persist(&mut self) {
        while self.stop.get() != Some(Stop::LeaseLost) && !self.write().await {
            sleep(RETRY).await;
        }
    }

    async fn look(&mut self) {
        match self.jobs.store().standing(&self.lease).await {
            Ok(standing) => self.note(standing),
            Err(error) => self.note_failure(&error),
        }
    }

    fn note(&self, standing: Standing) {
        if standing.cancel_requested {
            self.stop.set(Stop::Cancelled);
        }
    }

    /// A lease that could not be extended in time may be another worker's already.
    fn note_failure(&self, error: &Error) {
        let lost = matches!(error, Error::LeaseLost { .. }) || self.jobs.now() >= self.until;
        tracing::warn!(job = self.lease.job, error = error as &dyn std::error::Error, lost, "cannot store a job's progress");
        if lost {
            self.stop.set(Stop::LeaseLost);
        }
    }

    /// Writes how the job ended, as long as the lease lasts.
    async fn end(&self, outcome: Result<Value, Failure>) -> Result<Option<State>, Error> {
        loop {
            if self.stop.get() == Some(Stop::LeaseLost) {
                return Ok(None);
            }
            match self.try_end(&outcome).await {
                Ok(state) => return Ok(Some(state)),
                Err(error) => self.note_failure(&error),
            }
            if self.stop.get() != Some(Stop::LeaseLost) {
                sleep(RETRY).await;
            }
        }
    }

    async fn try_end(&self, outcome: &Result<Value, Failure>) -> Result<State, Error> {
        let (store, lease, now) = (self.jobs.store(), &self.lease, self.jobs.now());
        match (outcome, self.stop.get()) {
            // What is made is made, even when somebody asked to stop at the last moment.
            (Ok(result), _) => store.complete(lease, result, now).await,
            (Err(_), Some(Stop::Cancelled)) => store.stop(lease, now).await,
            (Err(_), Some(Stop::Shutdown)) => store.release(lease, now).await,
            (Err(failure), None | Some(Stop::LeaseLost)) => {
                tracing::warn!(job = lease.job, code = failure.code, detail = failure.detail, "a job failed");
                store.fail(lease, failure, now).await
            }
        }
    }
}

/// Waits for news of the job; a tick does what patience would.
async fn news(changes: &mut Changes, lease: &Lease) {
    changes.of(&lease.job, Duration::from_secs(3600)).await;
}
