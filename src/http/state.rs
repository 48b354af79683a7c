//! What every handler shares: the engine, the data sets, the bounds, the metrics.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::{access::Door, error::ApiError, intake::Intake};
use crate::{
    access::Gate,
    config::ServerConfig,
    datasets::Datasets,
    inference::Engine,
    jobs::{self, Jobs, Kinds, Removal, Resource},
    telemetry::Telemetry,
    work::{Budget, Client, Desk, Lane, Seat},
};

/// A cheap handle to the server's shared parts.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
    door: Door,
    jobs: Option<Arc<JobsPart>>,
}

struct Inner {
    engine: Engine,
    datasets: Datasets,
    server: ServerConfig,
    intake: Intake,
    telemetry: Option<Telemetry>,
    /// Where jobs, data sets and versions are looked up, chosen and deleted: mostly short, and never behind plans.
    store: Desk,
    /// One place per model that is being downloaded.
    downloads: Budget,
    /// Where they are opened.
    opening: Lane,
    /// Where files of data sets are deleted that nobody finds any more: as many wait as were removed.
    deleting: Lane,
    /// Whether the server goes down: streams that would not end by themselves end then.
    closing: watch::Sender<bool>,
}

/// What the routes of jobs share.
pub(super) struct JobsPart {
    /// The jobs.
    pub jobs: Jobs,
    /// The kinds of jobs that are accepted.
    pub kinds: Kinds,
    /// One place per open event stream.
    pub streams: Budget,
    /// Where jobs are planned: seconds of work for some.
    pub plans: Desk,
}

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

impl State {
    /// State over `engine` and `datasets`, with the bounds of `server`; without `telemetry`, `/metrics` is empty.
    pub fn new(engine: Engine, datasets: Datasets, server: ServerConfig, telemetry: Option<Telemetry>) -> Self {
        let intake = Intake::new(&server, engine.admissions().clone());
        // Without keys to look at, nobody has one.
        let gate = Gate::new(server.auth, Vec::new(), false, Instant::now());
        let door = Door::new(gate, server.metrics_need_key);
        let closing = watch::channel(false).0;
        let store = Desk::new("store", STORE_AT_ONCE, STORE, server.max_client_percent);
        let downloads = Budget::shared(DOWNLOADS, server.max_client_percent, 1);
        let opening = Lane::new("download", OPENED_AT_ONCE, usize::MAX);
        let deleting = Lane::new("delete", 1, usize::MAX).with_nice(DELETING_NICE);
        let inner = Inner { engine, datasets, server, intake, telemetry, store, downloads, opening, deleting, closing };
        Self { inner: Arc::new(inner), door, jobs: None }
    }

    /// The same with jobs, of which those of `kinds` are accepted.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs, kinds: Kinds) -> Self {
        let percent = self.server().max_client_percent;
        let streams = Budget::shared(jobs.config().max_streams as u64, percent, 1);
        let plans = Desk::new("plan", PLANNED_AT_ONCE, PLANS, percent);
        Self { jobs: Some(Arc::new(JobsPart { jobs, kinds, streams, plans })), ..self }
    }

    /// The same behind `gate`, which lets in whom it knows.
    #[must_use]
    pub fn behind(self, gate: Gate) -> Self {
        let door = Door::new(gate, self.server().metrics_need_key);
        Self { door, ..self }
    }

    /// What answers.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What holds data sets.
    pub fn datasets(&self) -> &Datasets {
        &self.inner.datasets
    }

    /// Addresses, bounds and times.
    pub fn server(&self) -> &ServerConfig {
        &self.inner.server
    }

    /// What lets request bodies in.
    pub fn intake(&self) -> &Intake {
        &self.inner.intake
    }

    /// A seat of `client` at the desk of the stores.
    ///
    /// # Errors
    /// [`ApiError::StoreBusy`].
    pub(super) fn seat(&self, client: &Client) -> Result<Seat, ApiError> {
        self.inner.store.seat(client).map_err(|_| ApiError::StoreBusy)
    }

    /// Places of models that are being downloaded.
    pub(super) fn downloads(&self) -> &Budget {
        &self.inner.downloads
    }

    /// Where models are opened that are downloaded.
    pub(super) fn opening(&self) -> &Lane {
        &self.inner.opening
    }

    /// Where the files of what was removed are deleted.
    pub(super) fn deleting(&self) -> &Lane {
        &self.inner.deleting
    }

    /// Who is let in.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// The jobs.
    ///
    /// # Errors
    /// [`ApiError::NoJobs`] for a server without.
    pub(super) fn jobs(&self) -> Result<&Arc<JobsPart>, ApiError> {
        self.jobs.as_ref().ok_or(ApiError::NoJobs)
    }

    /// Lets `resource` be removed, which no unfinished job may use; with `others`, one of which must stay. A server without jobs lets
    /// everything go.
    pub(super) async fn remove(&self, resource: Resource, others: Option<&[Resource]>) -> Result<Option<Removal>, jobs::Error> {
        let Some(part) = &self.jobs else { return Ok(None) };
        part.jobs.remove(resource, others).await.map(Some)
    }

    /// Ends the streams that would not end by themselves.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
    }

    /// Tells when [`Self::close`] is called.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.inner.closing.subscribe()
    }

    /// Every metric in Prometheus's text format.
    pub fn metrics_text(&self) -> String {
        self.inner.telemetry.as_ref().map(Telemetry::render).unwrap_or_default()
    }
}
