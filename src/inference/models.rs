//! Loaded models: workers by version, those that must be loaded pinned, the others within a bound of bytes, least recently used
//! out.
//!
//! One is loaded at a time, in turns of clients ([`Loads`]), so that nobody else takes the room that it makes. Bytes are counted
//! until a model's thread has ended ([`Room`]), so that the bound holds while one goes and another comes.

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::{
    Error, ModelId,
    loads::Loads,
    view,
    worker::{Capacity, Worker},
};
use crate::{
    config::{ModelsConfig, RuntimeConfig, ServerConfig},
    registry::ModelVersion,
    runtime::Runtime,
    work::Origin,
};

/// The loaded models of an engine; cheap to clone.
#[derive(Clone)]
pub(super) struct Models {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    runtime_config: RuntimeConfig,
    capacity: Capacity,
    max_loaded_bytes: u64,
    /// A plain mutex: held for look-ups only, never while a model loads.
    state: Mutex<State>,
    /// Told when a model's bytes are free.
    freed: Notify,
    /// One model is loaded at a time: it takes disk and processor.
    loads: Loads<Key, Loaded>,
}

#[derive(Default)]
struct State {
    /// Versions that stay loaded.
    pinned: HashSet<Key>,
    /// Least recently used first.
    loaded: VecDeque<Arc<Worker>>,
    /// Bytes of all that is in memory: loaded, being loaded, and not yet gone.
    held: u64,
}

/// A version's folder and the sum of its weights: a folder may be published anew.
type Key = (PathBuf, String);
type Loaded = Result<Arc<Worker>, Arc<Error>>;

/// Bytes of a model that is in memory, given back when dropped.
pub(super) struct Room {
    models: Arc<Inner>,
    bytes: u64,
}

impl Models {
    pub(super) fn new(runtime: Runtime, models: &ModelsConfig, runtime_config: RuntimeConfig, server: &ServerConfig) -> Self {
        let inner = Inner {
            runtime,
            capacity: Capacity::new(&runtime_config, server),
            runtime_config,
            max_loaded_bytes: models.max_loaded_bytes,
            state: Mutex::default(),
            freed: Notify::new(),
            loads: Loads::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says which versions stay loaded; those that did so far may go.
    pub(super) fn pin(&self, versions: &[ModelVersion]) {
        self.inner.lock().pinned = versions.iter().map(key).collect();
    }

    /// Whether any model is loaded.
    pub(super) fn any_loaded(&self) -> bool {
        !self.inner.lock().loaded.is_empty()
    }

    /// The versions that are loaded.
    pub(super) fn loaded(&self) -> Vec<ModelVersion> {
        self.inner.lock().loaded.iter().map(|worker| worker.version().clone()).collect()
    }

    /// The worker of a version without touching its place in the order.
    pub(super) fn peek(&self, version: &ModelVersion) -> Option<Arc<Worker>> {
        self.inner.lock().loaded.iter().find(|worker| serves(worker, version)).cloned()
    }

    /// The worker of `version` when it is loaded; it becomes the most recently used.
    pub(super) fn used(&self, version: &ModelVersion) -> Option<Arc<Worker>> {
        self.inner.lock().used(version)
    }

    /// The worker of `version`, which becomes the most recently used; it is loaded in the turn of `origin` when it is not.
    ///
    /// # Errors
    /// A model larger than the bound leaves room for, or one that does not load.
    pub(super) async fn load(&self, version: &ModelVersion, origin: Origin) -> Result<Arc<Worker>, Error> {
        {
            let mut state = self.inner.lock();
            if let Some(worker) = state.used(version) {
                return Ok(worker);
            }
            self.inner.check_size(&state, version)?;
        }
        let found = || self.used(version).map(Ok);
        let load = || load(Arc::clone(&self.inner), version.clone());
        let loaded = self.inner.loads.get(key(version), origin, found, load).await;
        let gone = || Err(Arc::new(Error::WorkerGone { model: ModelId::describe(version) }));
        loaded.unwrap_or_else(gone).map_err(Error::Shared)
    }

    /// Forgets a worker whose thread died, so that the next request loads the model again; one that was started since stays.
    pub(super) fn forget(&self, dead: &Worker) {
        let mut state = self.inner.lock();
        let position = state.loaded.iter().position(|worker| std::ptr::eq(Arc::as_ptr(worker), dead));
        let gone = position.and_then(|position| state.loaded.remove(position));
        drop(state);
        drop(gone);
    }

    /// Forgets every worker that `keep` does not want: versions that left the repository.
    pub(super) fn retain(&self, keep: impl Fn(&ModelVersion) -> bool) {
        let mut state = self.inner.lock();
        let (kept, gone): (_, VecDeque<_>) =
            std::mem::take(&mut state.loaded).into_iter().partition(|worker| keep(worker.version()));
        state.loaded = kept;
        // Nobody waits for the lock while they end.
        drop(state);
        drop(gone);
    }
}

/// Loads `version` and puts it with the others.
async fn load(models: Arc<Inner>, version: ModelVersion) -> Loaded {
    let worker = Arc::new(start(&models, &version).await.map_err(Arc::new)?);
    models.lock().loaded.push_back(Arc::clone(&worker));
    Ok(worker)
}

/// Starts the worker of `version` once there is room, which is made for files that are whole.
async fn start(models: &Arc<Inner>, version: &ModelVersion) -> Result<Worker, Error> {
    let started = std::time::Instant::now();
    let model = || ModelId::describe(version);
    let unchecked = version.clone();
    reading(version, move || Ok(unchecked.open().map(drop)?)).await?;
    let room = models.room(version).await?;
    let (loading, wanted) = (Arc::clone(models), version.clone());
    let start = move || Worker::start(loading.runtime.clone(), wanted, &loading.runtime_config, loading.capacity, room);
    let worker = reading(version, start).await?;
    info!(model = model(), ms = started.elapsed().as_millis() as u64, "loaded and warm");
    if !version.metadata.pretrained {
        warn!(model = model(), pretrained = false, "these weights are UNTRAINED: answers mean nothing");
    }
    if worker.version().metadata.correction != version.metadata.correction {
        view::warn_of(worker.version());
    }
    Ok(worker)
}

/// Does what reads the files of `version`.
async fn reading<T: Send + 'static>(
    version: &ModelVersion,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::WorkerGone { model: ModelId::describe(version) })?
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a version that would not fit if all that may go went, before anything goes.
    fn check_size(&self, state: &State, version: &ModelVersion) -> Result<(), Error> {
        let needed = version.metadata.weights.bytes;
        let stays = |worker: &&Arc<Worker>| state.pinned.contains(&key(worker.version())) && !serves(worker, version);
        let staying: u64 = state.loaded.iter().filter(stays).map(|worker| bytes(worker)).sum();
        let bound = self.max_loaded_bytes.saturating_sub(staying);
        if needed > bound {
            return Err(Error::TooLargeToLoad { model: ModelId::describe(version), bytes: needed, bound });
        }
        Ok(())
    }

    /// Takes models out of the list until `version` fits beside the others, and waits until they have gone.
    async fn room(self: &Arc<Self>, version: &ModelVersion) -> Result<Room, Error> {
        let bytes = version.metadata.weights.bytes;
        let gone = {
            let mut state = self.lock();
            self.check_size(&state, version)?;
            state.evict(version, self.max_loaded_bytes)
        };
        // Nobody waits for the lock while they end.
        drop(gone);
        loop {
            // Listens before it looks, so that nothing is missed between the two.
            let freed = self.freed.notified();
            {
                let mut state = self.lock();
                if state.held + bytes <= self.max_loaded_bytes {
                    state.held += bytes;
                    return Ok(Room { models: Arc::clone(self), bytes });
                }
            }
            freed.await;
        }
    }
}

impl State {
    /// The worker of a version when it is loaded; it becomes the most recently used.
    fn used(&mut self, version: &ModelVersion) -> Option<Arc<Worker>> {
        let position = self.loaded.iter().position(|worker| serves(worker, version))?;
        let worker = self.loaded.remove(position)?;
        self.loaded.push_back(Arc::clone(&worker));
        Some(worker)
    }

    /// Bytes of what is loaded.
    fn bytes(&self) -> u64 {
        self.loaded.iter().map(|worker| bytes(worker)).sum()
    }

    /// Takes out what has to go for `version`: idle models before busy ones, which end when they have answered.
    fn evict(&mut self, version: &ModelVersion, bound: u64) -> Vec<Arc<Worker>> {
        let mut gone = Vec::new();
        while self.bytes() + version.metadata.weights.bytes > bound {
            let may_go = |worker: &Arc<Worker>| !self.pinned.contains(&key(worker.version()));
            let idle = self.loaded.iter().position(|worker| may_go(worker) && worker.is_idle());
            let busy = || self.loaded.iter().position(may_go);
            let Some(worker) = idle.or_else(busy).and_then(|position| self.loaded.remove(position)) else {
                break;
            };
            info!(model = ModelId::describe(worker.version()), "unloading to make room");
            gone.push(worker);
        }
        gone
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.models.lock().held -= self.bytes;
        self.models.freed.notify_waiters();
    }
}

fn key(version: &ModelVersion) -> Key {
    (version.dir().to_owned(), version.metadata.weights.sha256.clone())
}

fn serves(worker: &Worker, version: &ModelVersion) -> bool {
    worker.version().dir() == version.dir() && worker.version().metadata.weights.sha256 == version.metadata.weights.sha256
}

fn bytes(worker: &Worker) -> u64 {
    worker.version().metadata.weights.bytes
}
