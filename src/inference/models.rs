//! Loaded models: workers by version, configured ones pinned, the others within a bound of bytes, least recently used out.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{info, warn};

use super::{Error, ModelId, view, worker::Worker};
use crate::{
    config::{ModelsConfig, RuntimeConfig},
    registry::ModelVersion,
    runtime::Runtime,
};

/// The loaded models of an engine.
pub(super) struct Models {
    runtime: Runtime,
    runtime_config: RuntimeConfig,
    max_loaded_bytes: u64,
    /// Models that stay loaded. A plain mutex: looked into and replaced only.
    pinned: Mutex<BTreeSet<String>>,
    /// Least recently used first. A plain mutex: held for look-ups only, never while a model loads.
    loaded: Mutex<VecDeque<Arc<Worker>>>,
    /// One model loads at a time, so that the bound on bytes holds; asynchronous, because loading takes seconds.
    loading: tokio::sync::Mutex<()>,
}

impl Models {
    pub(super) fn new(runtime: Runtime, models: &ModelsConfig, runtime_config: RuntimeConfig) -> Self {
        let max_loaded_bytes = models.max_loaded_bytes;
        let (pinned, loaded) = (Mutex::default(), Mutex::default());
        Self { runtime, runtime_config, max_loaded_bytes, pinned, loaded, loading: tokio::sync::Mutex::new(()) }
    }

    /// Says which models stay loaded.
    pub(super) fn pin(&self, names: impl IntoIterator<Item = String>) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = names.into_iter().collect();
    }

    /// Whether any model is loaded.
    pub(super) fn any_loaded(&self) -> bool {
        !self.lock().is_empty()
    }

    /// The worker of a version when it is loaded; it becomes the most recently used.
    pub(super) fn loaded(&self, version: &ModelVersion) -> Option<Arc<Worker>> {
        let mut loaded = self.lock();
        let position = loaded.iter().position(|worker| serves(worker, version))?;
        let worker = loaded.remove(position).expect("the position was just found");
        loaded.push_back(Arc::clone(&worker));
        Some(worker)
    }

    /// The worker of a version without touching its place in the order.
    pub(super) fn peek(&self, version: &ModelVersion) -> Option<Arc<Worker>> {
        self.lock().iter().find(|worker| serves(worker, version)).cloned()
    }

    /// The worker of `version`, loading it when it is not.
    ///
    /// # Errors
    /// A model larger than the bound, or one that does not load.
    pub(super) async fn load(&self, version: &ModelVersion) -> Result<Arc<Worker>, Error> {
        if let Some(worker) = self.loaded(version) {
            return Ok(worker);
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(worker) = self.loaded(version) {
            return Ok(worker);
        }
        let dropped = self.make_room(version)?;
        let (runtime, config, wanted) = (self.runtime.clone(), self.runtime_config.clone(), version.clone());
        let started = std::time::Instant::now();
        let start = move || {
            dropped.into_iter().for_each(unload);
            Worker::start(runtime, wanted, &config)
        };
        let model = || ModelId::describe(version);
        let worker = tokio::task::spawn_blocking(start).await.map_err(|_| Error::WorkerGone { model: model() })??;
        info!(model = model(), ms = started.elapsed().as_millis() as u64, "loaded and warm");
        if !version.metadata.pretrained {
            warn!(model = model(), pretrained = false, "these weights are UNTRAINED: answers mean nothing");
        }
        if worker.version().metadata.correction != version.metadata.correction {
            view::warn_of(worker.version());
        }
        let worker = Arc::new(worker);
        self.lock().push_back(Arc::clone(&worker));
        Ok(worker)
    }

    /// Forgets a worker whose thread died, so that the next request loads the model again.
    pub(super) fn forget(&self, version: &ModelVersion) {
        self.lock().retain(|worker| !serves(worker, version));
    }

    /// Forgets every worker that `keep` does not want: versions that left the repository.
    pub(super) fn retain(&self, keep: impl Fn(&ModelVersion) -> bool) {
        let mut loaded = self.lock();
        let (kept, gone): (_, VecDeque<_>) = std::mem::take(&mut *loaded).into_iter().partition(|worker| keep(worker.version()));
        *loaded = kept;
        // Sessions take their time to end: nobody waits for the lock meanwhile.
        drop(loaded);
        drop(gone);
    }

    /// Takes models out of the list until `version` fits.
    fn make_room(&self, version: &ModelVersion) -> Result<Vec<Arc<Worker>>, Error> {
        let needed = version.metadata.weights.bytes;
        if needed > self.max_loaded_bytes {
            return Err(Error::TooLargeToLoad { model: ModelId::describe(version), bytes: needed, bound: self.max_loaded_bytes });
        }
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut loaded = self.lock();
        let mut dropped = Vec::new();
        while loaded.iter().map(|worker| bytes(worker)).sum::<u64>() + needed > self.max_loaded_bytes {
            let name = |worker: &Arc<Worker>| worker.version().metadata.name.clone();
            let replaced = loaded.iter().position(|worker| name(worker) == version.metadata.name);
            let unpinned = loaded.iter().position(|worker| !pinned.contains(&name(worker)));
            let Some(position) = unpinned.or(replaced) else {
                let free = self.max_loaded_bytes - loaded.iter().map(|worker| bytes(worker)).sum::<u64>();
                return Err(Error::TooLargeToLoad { model: ModelId::describe(version), bytes: needed, bound: free });
            };
            let worker = loaded.remove(position).expect("the position was just found");
            info!(model = name(&worker), version = worker.version().metadata.version, "unloading to make room");
            dropped.push(worker);
        }
        Ok(dropped)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Worker>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serves(worker: &Worker, version: &ModelVersion) -> bool {
    worker.version().dir() == version.dir() && worker.version().metadata.weights.sha256 == version.metadata.weights.sha256
}

fn bytes(worker: &Worker) -> u64 {
    worker.version().metadata.weights.bytes
}

/// Waits for the last request that uses `worker`, then for its thread.
fn unload(mut worker: Arc<Worker>) {
    loop {
        match Arc::try_unwrap(worker) {
            Ok(last) => return last.join(),
            Err(shared) => worker = shared,
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
