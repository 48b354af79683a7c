//! What graft does for whoever asks, over any transport: models answer, data sets and versions are removed, jobs are planned and
//! accepted and followed, each within bounds that its work holds until it is over.
//!
//! Knows no HTTP: a transport reads requests, asks here, and writes answers.

mod changes;
mod error;
mod events;
mod submission;

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::watch;

pub use self::{
    error::Error,
    events::{EventPage, EventText, Look},
    submission::Submission,
};
use crate::{
    config::ServerConfig,
    datasets::Datasets,
    inference::{Admission, Engine},
    jobs::{AnyKind, Jobs, Kinds},
    work::{Budget, Client, Desk, Exceeded, Lane, Seat, Share},
};

/// Models that are downloaded at once: each has its files open. Fewer are checked at once, since the first time all is read.
const DOWNLOADS: u64 = 32;
const OPENED_AT_ONCE: usize = 2;

/// How much lower the priority of deleting files is.
const DELETING_NICE: u8 = 10;

/// Jobs that are planned at once, and how many may be planned or wait for it.
const PLANNED_AT_ONCE: usize = 2;
const PLANS: u64 = 16;

/// What reads or changes the stores at once, and how much may or waits for it.
const STORE_AT_ONCE: usize = 4;
const STORE: u64 = 64;

/// A cheap handle to all that answers.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    jobs: Option<Arc<JobsPart>>,
}

struct Inner {
    engine: Engine,
    datasets: Datasets,
    /// What one client may have of each bound.
    percent: u8,
    /// Where requests are read and answers are written; any number may wait, as each has its memory.
    encoding: Lane,
    /// Where jobs, data sets and versions are looked up, chosen and deleted: mostly short, and never behind plans.
    store: Desk,
    /// One place per model that is being downloaded.
    downloads: Budget,
    /// Where they are opened.
    opening: Lane,
    /// Where files of data sets are deleted that nobody finds any more: as many wait as were removed.
    deleting: Lane,
    /// Whether the process goes down: streams that would not end by themselves end then.
    closing: watch::Sender<bool>,
}

struct JobsPart {
    jobs: Jobs,
    kinds: Kinds,
    /// One place per open event stream.
    streams: Budget,
    /// Where jobs are planned: seconds of work for some.
    plans: Desk,
}

impl Service {
    /// A service over `engine` and `datasets`, with the bounds of `server`.
    pub fn new(engine: Engine, datasets: Datasets, server: &ServerConfig) -> Self {
        let percent = server.max_client_percent;
        let inner = Inner {
            engine,
            datasets,
            percent,
            encoding: Lane::new("encode", threads(), usize::MAX),
            store: Desk::new("store", STORE_AT_ONCE, STORE, percent),
            downloads: Budget::shared(DOWNLOADS, percent, 1),
            opening: Lane::new("download", OPENED_AT_ONCE, usize::MAX),
            deleting: Lane::new("delete", 1, usize::MAX).with_nice(DELETING_NICE),
            closing: watch::channel(false).0,
        };
        Self { inner: Arc::new(inner), jobs: None }
    }

    /// The same with jobs, of which those of `kinds` are accepted.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs, kinds: Kinds) -> Self {
        let streams = Budget::shared(jobs.config().max_streams as u64, self.inner.percent, 1);
        let plans = Desk::new("plan", PLANNED_AT_ONCE, PLANS, self.inner.percent);
        Self { jobs: Some(Arc::new(JobsPart { jobs, kinds, streams, plans })), ..self }
    }

    /// What answers.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What holds data sets.
    pub fn datasets(&self) -> &Datasets {
        &self.inner.datasets
    }

    /// The jobs.
    ///
    /// # Errors
    /// [`Error::NoJobs`].
    pub fn jobs(&self) -> Result<&Jobs, Error> {
        Ok(&self.part()?.jobs)
    }

    /// The kind of jobs called `name`, if it is accepted.
    ///
    /// # Errors
    /// [`Error::NoJobs`].
    pub fn kind(&self, name: &str) -> Result<&Arc<dyn AnyKind>, Error> {
        self.part()?.kinds.get(name).ok_or(Error::NoJobs)
    }

    /// Where requests are read and answers are written.
    pub fn encoding(&self) -> &Lane {
        &self.inner.encoding
    }

    /// A seat of `client` where the stores are read and changed.
    ///
    /// # Errors
    /// [`Error::StoreBusy`].
    pub fn seat(&self, client: &Client) -> Result<Seat, Error> {
        self.inner.store.seat(client).map_err(|_| Error::StoreBusy)
    }

    /// A place of `client` for a model that is being downloaded.
    ///
    /// # Errors
    /// [`Error::TooManyDownloads`].
    pub fn download(&self, client: &Client) -> Result<Share, Error> {
        self.inner.downloads.take(client, 1).map_err(|_| Error::TooManyDownloads)
    }

    /// What `open` opens to be downloaded, a few at a time.
    pub async fn opened<T: Send + 'static>(&self, admission: &Admission, open: impl FnOnce() -> T + Send + 'static) -> T {
        self.inner.opening.run(admission.origin(), open).await.expect("any number may wait")
    }

    /// A place of `client` for a stream of events.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`], [`Error::NoJobs`].
    pub fn stream(&self, client: &Client) -> Result<Share, Error> {
        let streams = &self.part()?.streams;
        streams.take(client, 1).map_err(|exceeded| match exceeded {
            Exceeded::Client => Error::TooManyStreams { limit: streams.per_client(), of_client: true },
            Exceeded::Bound => Error::TooManyStreams { limit: streams.bound(), of_client: false },
        })
    }

    /// Ends the streams that would not end by themselves.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
    }

    /// Tells when [`Self::close`] is called.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.inner.closing.subscribe()
    }

    fn part(&self) -> Result<&Arc<JobsPart>, Error> {
        self.jobs.as_ref().ok_or(Error::NoJobs)
    }
}

/// Threads that read and write at once: those of the machine.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
