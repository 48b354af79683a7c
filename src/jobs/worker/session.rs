//! One job in a worker's hands: keeps the lease, stores what it reports, passes on the wish to stop.
//!
//! The only writer of its job while the lease lasts. Reports are stored together, twice a second, not one by one: each
//! transaction waits for the disk. A job that the machine keeps from going on waits here, under its lease, and is run again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use super::{
    line::{Message, StopFlag, line},
    pause::Pause,
    thread::{self, Outcome},
};
use crate::{
    jobs::{
        control::Stop,
        error::Error,
        event::{Event, WAITING},
        handle::{Changes, Jobs},
        job::{Failure, Job, Progress},
        kind::AnyKind,
        state::State,
        store::{Lease, Report, Standing},
    },
    telemetry::{News, Trouble, chain},
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
    /// How far the job is, by its last report.
    progress: Progress,
    /// What it waits for, since its last checkpoint.
    waits_for: Option<Failure>,
    pause: Pause,
    /// When the lease was extended, on the clock that nobody sets.
    written: Duration,
    /// Whether another worker has the job.
    is_lost: bool,
    /// What keeps the job's progress from being stored.
    unstored: Trouble,
}

impl Session {
    /// A session under `lease`, which was asked for at `since` on the clock that nobody sets.
    pub fn new(jobs: Jobs, lease: Lease, since: Duration, stopping: watch::Receiver<bool>) -> Self {
        Self {
            stop: StopFlag::new(Arc::clone(jobs.clock()), since + jobs.config().lease),
            jobs,
            lease,
            stopping,
            pending: Report::default(),
            progress: Progress::default(),
            waits_for: None,
            pause: Pause::default(),
            written: since,
            is_lost: false,
            unstored: Trouble::default(),
        }
    }

    /// Runs `job` to its end, as often as the machine keeps it from that; gives the state that was written, `None` when another worker
    /// has the job.
    pub async fn run(mut self, mut job: Job, kind: Option<Arc<dyn AnyKind>>) -> Result<Option<State>, Error> {
        self.progress = Progress { waiting: None, ..job.progress.clone().unwrap_or_default() };
        loop {
            let outcome = self.attempt(job.clone(), kind.clone()).await;
            let is_transient = outcome.as_ref().is_err_and(|failure| failure.is_transient);
            if let (Err(failure), true, None) = (&outcome, is_transient, self.stop.get()) {
                self.wait(failure).await;
            }
            let was_silent = self.stop.get() == Some(Stop::LeaseLost);
            if was_silent && !self.regain().await {
                return Ok(None);
            }
            if outcome.is_ok() || self.stop.get().is_some() || !(is_transient || was_silent) {
                return Ok(self.end(outcome).await);
            }
            job.progress = Some(self.progress.clone());
            tracing::info!(job = job.id, "job is run again");
        }
    }

    /// Runs `job` once.
    async fn attempt(&mut self, job: Job, kind: Option<Arc<dyn AnyKind>>) -> Outcome {
        let (line, inbox) = line(self.stop.clone(), self.lease.number);
        let id = job.id.clone();
        let outcome = match thread::start(kind, job, line, self.jobs.config().nice) {
            Ok(done) => {
                self.attend(inbox).await;
                done.await.unwrap_or_else(|_| Err(Failure::new("panic", "the job's thread ended without a word")))
            }
            Err(source) => {
                let error = Error::Thread { id, source };
                tracing::error!(error = &error as &dyn std::error::Error, "a job failed");
                Err(Failure::new("no_thread", error.to_string()).caused_by(&error))
            }
        };
        self.persist().await;
        outcome
    }

    /// Waits before the job is run again, and says what for; until there is a reason to stop at the latest.
    async fn wait(&mut self, failure: &Failure) {
        let pause = self.pause.next();
        if self.waits_for.as_ref() != Some(failure) {
            tracing::warn!(job = self.lease.job, code = failure.code, detail = failure.detail, ?pause, "a job waits");
            let event = Event::new(WAITING).with("code", failure.code.as_str()).with("detail", failure.detail.as_str());
            self.pending.events.push(event);
            self.waits_for = Some(failure.clone());
        }
        self.pending.progress = Some(Progress { waiting: Some(failure.clone()), ..self.progress.clone() });
        let (mut changes, mut ticks) = (self.jobs.changes(), self.ticks());
        let mut over = std::pin::pin!(sleep(pause));
        self.note_shutdown();
        while self.stop.get().is_none() {
            tokio::select! {
                () = &mut over => break,
                _ = ticks.tick() => self.tick().await,
                () = news(&mut changes, &self.lease) => self.look().await,
                Ok(()) = self.stopping.changed() => self.note_shutdown(),
            }
        }
        self.pending.progress = Some(self.progress.clone());
    }

    /// Whether the job is still this worker's after it was silent for too long; waits until the store says so.
    ///
    /// Nobody takes a job from a store that cannot be written.
    async fn regain(&mut self) -> bool {
        while !self.is_lost {
            self.stop = StopFlag::new(Arc::clone(self.jobs.clock()), self.written + self.jobs.config().lease);
            if self.write().await {
                self.note_shutdown();
                return true;
            }
            if *self.stopping.borrow_and_update() {
                return false;
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                Ok(()) = self.stopping.changed() => {}
            }
        }
        false
    }

    /// Serves the line until the job is done.
    async fn attend(&mut self, mut inbox: mpsc::Receiver<Message>) {
        let (mut changes, mut ticks) = (self.jobs.changes(), self.ticks());
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

    fn ticks(&self) -> Interval {
        let mut ticks = interval(TICK.min(self.jobs.heartbeat()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
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
            Message::Progress(progress) => {
                self.progress = progress.clone();
                self.pending.progress = Some(progress);
            }
            Message::Checkpointed => {
                (self.pause, self.waits_for) = (Pause::default(), None);
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
        if reported || self.jobs.elapsed().saturating_sub(self.written) >= self.jobs.heartbeat() {
            self.write().await;
        } else {
            self.look().await;
        }
    }

    /// Stores what is pending and extends the lease; whether that was possible.
    async fn write(&mut self) -> bool {
        let (now, elapsed, lease) = (self.jobs.now(), self.jobs.elapsed(), self.jobs.config().lease);
        let reported = !self.pending.events.is_empty() || self.pending.progress.is_some();
        match self.jobs.store().report(&self.lease, &self.pending, now, lease).await {
            Ok(standing) => {
                if self.unstored.news(None).is_some() {
                    tracing::info!(job = self.lease.job, "a job's progress can be stored again");
                }
                self.pending = Report::default();
                self.written = elapsed;
                self.stop.extend(elapsed + lease);
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

    fn note_failure(&mut self, error: &Error) {
        self.is_lost |= matches!(error, Error::LeaseLost { .. });
        if let Some(News::Wrong(error)) = self.unstored.news(Some(chain(error))) {
            tracing::warn!(job = self.lease.job, error, self.is_lost, "cannot store a job's progress");
        }
        if self.is_lost {
            self.stop.set(Stop::LeaseLost);
        }
    }

    /// Writes how the job ended, unless another worker has it; however long that takes, as nobody else can write meanwhile either.
    async fn end(&mut self, outcome: Outcome) -> Option<State> {
        let stop = self.stop.get();
        if let (Err(failure), None | Some(Stop::LeaseLost), false) = (&outcome, stop, self.is_lost) {
            tracing::warn!(job = self.lease.job, code = failure.code, detail = failure.detail, "a job failed");
        }
        while !self.is_lost {
            match self.try_end(&outcome, stop).await {
                Ok(state) => return Some(state),
                Err(error) => self.note_failure(&error),
            }
            if *self.stopping.borrow() && self.stop.is_silent() {
                break;
            }
            sleep(RETRY).await;
        }
        None
    }

    async fn try_end(&self, outcome: &Outcome, stop: Option<Stop>) -> Result<State, Error> {
        let (store, lease, now) = (self.jobs.store(), &self.lease, self.jobs.now());
        match (outcome, stop) {
            // What is made is made, even when somebody asked to stop at the last moment.
            (Ok(result), _) => store.complete(lease, result, now).await,
            (Err(_), Some(Stop::Cancelled)) => store.stop(lease, now).await,
            (Err(_), Some(Stop::Shutdown)) => store.release(lease, now).await,
            (Err(failure), None | Some(Stop::LeaseLost)) => store.fail(lease, failure, now).await,
        }
    }
}

/// Waits for news of the job; a tick does what patience would.
async fn news(changes: &mut Changes, lease: &Lease) {
    changes.of(&lease.job, Duration::from_secs(3600)).await;
}
