//! What tests of jobs share: a store in a temporary folder, a clock that only tests move, kinds made of closures.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    AnyKind, Attachment, Control, Error, Failure, Job, Jobs, NewJob, PlanError, Resource, Spec, StoredEvent, Time, Timestamp,
    document,
};
use crate::{config::JobsConfig, work::Client};

/// Lets in whatever is read.
pub fn unbounded(_: u64) -> Result<(), Error> {
    Ok(())
}

pub const LEASE: Duration = Duration::from_secs(30);

/// Jobs over a folder of their own.
pub struct Bench {
    pub jobs: Jobs,
    pub dir: TempDir,
    time: Arc<Hands>,
}

/// The time of day, and the time that passes.
struct Hands(Mutex<(Timestamp, Duration)>);

impl Time for Hands {
    fn now(&self) -> Timestamp {
        self.0.lock().expect("not poisoned").0
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().expect("not poisoned").1
    }
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: JobsConfig) -> Self {
        let time = Arc::new(Hands(Mutex::new((Timestamp(1_800_000_000_000), Duration::ZERO))));
        let dir = tempfile::tempdir().expect("a folder");
        let jobs = Jobs::open(&config, dir.path(), Arc::clone(&time) as _).await.expect("a new store");
        Self { jobs, dir, time }
    }

    /// Another process's handle on the same store.
    pub async fn replica(&self) -> Jobs {
        Jobs::open(self.jobs.config(), self.dir.path(), Arc::clone(&self.time) as _).await.expect("an existing store")
    }

    /// Ends a replica as a process ends that is killed.
    pub fn kill(&self, replica: Jobs) {
        drop(replica);
    }

    pub fn pass(&self, time: Duration) {
        let mut hands = self.time.0.lock().expect("not poisoned");
        *hands = (hands.0.plus(time), hands.1 + time);
    }

    /// Sets the time of day; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.time.0.lock().expect("not poisoned").0 = now;
    }

    /// What a worker does before it takes a job.
    pub async fn requeue(&self) -> Vec<String> {
        self.jobs.requeue_expired().await.expect("it works")
    }

    /// Lets the workers of all running jobs be silent for longer than their leases last.
    pub async fn fall_silent(&self) {
        self.requeue().await;
        self.pass(LEASE + Duration::from_secs(1));
        self.requeue().await;
    }

    pub async fn enqueue(&self, name: &str) -> Job {
        self.jobs.enqueue(&Client::local(), &new_job(name), None).await.expect("there is room")
    }

    /// A job's events; fails the test unless their ids are consecutive from 1 and only the last is an end.
    pub async fn events(&self, id: &str) -> Vec<StoredEvent> {
        let events = self.jobs.events(id, 0, 1000).await.expect("the job is kept");
        let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
        let ends: Vec<u64> = events.iter().filter(|event| event.event.is_end()).map(|event| event.id).collect();
        let finished = self.jobs.job(id).await.expect("the job is kept").state.is_terminal();
        assert_eq!(ends, if finished { vec![events.len() as u64] } else { Vec::new() });
        events
    }

    /// A job's events in short: kind, and step if it has one.
    pub async fn kinds(&self, id: &str) -> Vec<String> {
        let kind = |stored: &StoredEvent| match stored.event.mark {
            Some(mark) => format!("{} {}", stored.event.kind, mark.step),
            None => stored.event.kind.clone(),
        };
        self.events(id).await.iter().map(kind).collect()
    }
}

/// What the kind of jobs that tests make is called.
pub const KIND: &str = "does";

/// A kind whose jobs are a closure.
pub struct Does<F>(pub F);

impl<F: Fn(&Job, &dyn Control) -> Result<Value, Failure> + Send + Sync + 'static> AnyKind for Does<F> {
    fn plan(&self, _: &Value, _: Option<&Attachment>) -> Result<NewJob, PlanError> {
        Err(PlanError::Invalid(Vec::new()))
    }

    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        (self.0)(job, control)
    }
}

pub fn config() -> JobsConfig {
    JobsConfig {
        workers: 1,
        max_queued: 5,
        max_client_percent: 100,
        max_finished: 100,
        lease: LEASE,
        max_attempts: 2,
        nice: 0,
        max_streams: 2,
    }
}

pub fn new_job(name: &str) -> NewJob {
    let document = |value: Value| document(&value).expect("an object");
    let spec = Spec {
        kind: KIND.into(),
        subject: document(json!({"name": name})),
        plan: document(json!({"seed": 7})),
        warnings: vec!["few images".into()],
    };
    NewJob { id: None, spec, uses: vec![Resource("dataset/photos".into()), Resource("version/vgg16@1".into())] }
}
