//! The handle that HTTP and workers share: the store, the clock, the bounds, and news of changes.
//!
//! Knows neither SQL nor HTTP.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::broadcast::{self, error::RecvError};

use super::{
    error::Error,
    event::{StoredEvent, WrittenEvent},
    job::{Claim, Details, Job, LeaseReport, LeaseStatus, NewJob, Summary},
    kind::Resource,
    state::State,
    store::{self, Admission, Ahead, HistoryPage, Hold, Listing, RemovalNote, Store, Stretch},
    time::{Clock, Timestamp},
};
use crate::{config::JobsConfig, work::Client};

/// News that a slow listener may be behind; then it is told that anything may have changed.
const NEWS: usize = 256;

/// The jobs of this server; cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    config: JobsConfig,
    clock: Clock,
    /// Ids of jobs that changed. Only a hint: what changed is read from the store, which other processes write too.
    news: broadcast::Sender<Arc<str>>,
}

/// News of changed jobs, from the moment of subscription.
pub struct Changes(broadcast::Receiver<Arc<str>>);

impl Jobs {
    /// Opens the store in the folder `dir`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open(config: &JobsConfig, dir: &Path, clock: Clock) -> Result<Self, Error> {
        let store = Store::open(dir).await?;
        let news = broadcast::channel(NEWS).0;
        Ok(Self { inner: Arc::new(Inner { store, config: config.clone(), clock, news }) })
    }

    /// Whether jobs can be kept.
    ///
    /// # Errors
    /// As [`Store::check`].
    pub async fn check(&self) -> Result<(), Error> {
        self.store().check().await
    }

    /// The file of the store in the folder `dir`.
    pub fn file(dir: &Path) -> PathBuf {
        dir.join(store::FILE)
    }

    /// Looks up an idempotency key of `client`, or holds it for this request; `body` is the SHA-256 of the request's body. The
    /// holder of an API key has keys of their own, those without one share theirs.
    ///
    /// # Errors
    /// [`Error::KeyReused`] with another body, [`Error::KeyInProgress`] while the first is still being accepted; [`Error::Gone`];
    /// [`Error::Corrupt`].
    pub async fn reserve(&self, client: &Client, key: &str, body: &str) -> Result<Admission<Reservation>, Error> {
        self.store().keeps().await?;
        Ok(match self.store().reserve(client, (key, body), self.now()).await? {
            Admission::Known(id) => Admission::Known(id),
            Admission::New(hold) => Admission::New(Reservation { jobs: self.clone(), hold: Some(hold) }),
        })
    }

    /// The job `id` as it was accepted. Nothing is read before `hold` has let in its bytes of memory.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; those of `hold`.
    pub async fn accepted<E: From<Error>>(&self, id: &str, hold: impl FnOnce(u64) -> Result<(), E>) -> Result<Job, E> {
        self.store().accepted(id, hold).await
    }

    /// Accepts a job of `client`: from here on it is not lost, and its reservation is used up.
    ///
    /// # Errors
    /// [`Error::QueueFull`]; [`Error::Removed`] when something that it uses is being removed; [`Error::KeyInProgress`] when the
    /// reservation was taken over; [`Error::Gone`]; [`Error::Corrupt`].
    pub async fn enqueue(&self, client: &Client, new: &NewJob, reservation: Option<&mut Reservation>) -> Result<Job, Error> {
        self.store().keeps().await?;
        let hold = reservation.as_ref().and_then(|reservation| reservation.hold.as_ref());
        let job = self.store().enqueue(client, new, hold, &self.inner.config, self.now()).await?;
        if let Some(reservation) = reservation {
            reservation.hold = None;
        }
        // A job in a file that nobody will open again is none.
        self.store().in_place().await?;
        self.announce(&job.id);
        Ok(job)
    }

    /// Cancels a waiting job at once; a running one stops soon.
    ///
    /// # Errors
    /// As [`Store::cancel`].
    pub async fn cancel(&self, id: &str) -> Result<Summary, Error> {
        let job = self.store().cancel(id, self.now()).await?;
        self.announce(id);
        Ok(job)
    }

    /// One job.
    ///
    /// # Errors
    /// As [`Store::job`].
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        self.store().job(id).await
    }

    /// What a list shows of one job.
    ///
    /// # Errors
    /// As [`Store::summary`].
    pub async fn summary(&self, id: &str) -> Result<Summary, Error> {
        self.store().summary(id).await
    }

    /// What is shown of one job, with a page of its history, within the memory that `hold` lets in.
    ///
    /// # Errors
    /// As [`Store::details`].
    pub async fn details<E: From<Error>>(
        &self,
        id: &str,
        page: HistoryPage,
        hold: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Details, E> {
        self.store().details(id, page, hold).await
    }

    /// Jobs, the newest first, within the memory that `hold` lets in.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list<E: From<Error>>(
        &self,
        listing: &Listing,
        hold: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Vec<Summary>, E> {
        self.store().list(listing, hold).await
    }

    /// How many jobs are kept in each state.
    ///
    /// # Errors
    /// As [`Store::counts`].
    pub async fn counts(&self) -> Result<Vec<(State, u64)>, Error> {
        self.store().counts().await
    }

    /// What there is of a job's events behind an id: at most `limit`, and no more than `bytes` of text unless the first is
    /// longer.
    ///
    /// # Errors
    /// As [`Store::ahead`].
    pub async fn ahead(&self, id: &str, after: u64, limit: u32, bytes: u64) -> Result<Ahead, Error> {
        self.store().ahead(id, after, limit, bytes).await
    }

    /// The events of a stretch.
    ///
    /// # Errors
    /// As [`Store::written`].
    pub async fn written(&self, stretch: Stretch) -> Result<Vec<WrittenEvent>, Error> {
        self.store().written(stretch).await
    }

    /// Events of a job after an id, whatever memory they take.
    ///
    /// # Errors
    /// As [`Store::events`].
    pub async fn events(&self, id: &str, after: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        self.store().events(id, after, limit).await
    }

    /// Lets `resource` be removed: from now on no job that uses it is accepted. Who removes it calls this first and then
    /// [`Removal::done`]; a removal that is dropped did not happen.
    ///
    /// With `others`, at least one of them must not be on its way out too.
    ///
    /// # Errors
    /// [`Error::InUse`] by an unfinished job; [`Error::Last`] of `others`.
    pub async fn remove(&self, resource: Resource, others: Option<&[Resource]>) -> Result<Removal, Error> {
        let note = self.store().begin_removal(&resource, others, self.now()).await?;
        Ok(Removal { jobs: self.clone(), note: Some(note) })
    }

    /// News from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.inner.news.subscribe())
    }

    /// How the claim of a running job's worker stands. Looks at the file system.
    pub fn lease(&self, claim: Option<&Claim>) -> Option<LeaseReport> {
        let claim = claim?;
        let reported = claim.expires.minus(claim.lasts());
        let status = match () {
            () if self.store().is_abandoned(claim) => LeaseStatus::Lost,
            // One heartbeat may be late, and a clock a little off.
            () if reported.plus(2 * heartbeat(claim.lasts())) < self.now() => LeaseStatus::Overdue,
            () => LeaseStatus::Held,
        };
        Some(LeaseReport { status, reported, expires: claim.expires })
    }

    /// How long a worker is silent at most.
    pub(super) fn heartbeat(&self) -> Duration {
        heartbeat(self.inner.config.lease)
    }

    /// The bounds.
    pub fn config(&self) -> &JobsConfig {
        &self.inner.config
    }

    /// The store, for workers.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Time since some moment, on the clock that nobody sets.
    pub(super) fn elapsed(&self) -> Duration {
        self.inner.clock.elapsed()
    }

    /// The clock.
    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Gives the jobs of workers that are silent or dead to the queue; says which.
    ///
    /// # Errors
    /// As [`Store::requeue_expired`].
    pub(super) async fn requeue_expired(&self) -> Result<Vec<String>, Error> {
        let (clock, config) = (&self.inner.clock, &self.inner.config);
        self.store().requeue_expired(clock.now(), clock.elapsed(), config.max_attempts).await
    }

    /// Gives a key up; should this fail, it is free after a minute.
    async fn end(&self, hold: &Hold) {
        if let Err(error) = self.store().give_up(hold).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot give an idempotency key up");
        }
    }

    /// Tells that a job changed.
    pub(super) fn announce(&self, id: &str) {
        // Nobody listening is fine.
        let _ = self.inner.news.send(id.into());
    }
}

/// How long a worker with such a lease is silent at most.
fn heartbeat(lease: Duration) -> Duration {
    lease / 10
}

/// An idempotency key held for the request that came first; dropping it gives the key up, unless a job was accepted with it.
#[must_use]
pub struct Reservation {
    jobs: Jobs,
    /// `None` once it is over.
    hold: Option<Hold>,
}

impl Reservation {
    /// Gives the key of a refused request up: the next one with it is a first again.
    pub async fn give_up(mut self) {
        if let Some(hold) = self.hold.take() {
            self.jobs.end(&hold).await;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let jobs = self.jobs.clone();
        tokio::spawn(async move { jobs.end(&hold).await });
    }
}

/// The right to remove something that jobs use.
#[must_use]
pub struct Removal {
    jobs: Jobs,
    /// `None` once it is done.
    note: Option<RemovalNote>,
}

impl Removal {
    /// Says that it is gone.
    pub fn done(mut self) {
        self.note = None;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let Some(note) = self.note.take() else { return };
        let jobs = self.jobs.clone();
        // What stays can be used again; should this fail, it can after a day.
        tokio::spawn(async move {
            if let Err(error) = jobs.store().give_removal_up(&note).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot end a removal");
            }
        });
    }
}

impl Changes {
    /// Waits for news of any job, at most `patience`: other processes change jobs without telling.
    pub async fn any(&mut self, patience: Duration) {
        let news = async {
            if let Err(RecvError::Closed) = self.0.recv().await {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(patience, news).await;
    }

    /// Waits for news of the job `id`, or of too many to tell; at most `patience`.
    pub async fn of(&mut self, id: &str, patience: Duration) {
        let news = async {
            loop {
                match self.0.recv().await {
                    Ok(changed) if *changed == *id => return,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(patience, news).await;
    }
}
