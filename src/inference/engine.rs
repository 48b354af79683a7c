//! The engine: which model answers a request, what is loaded, and what the repository holds.
//!
//! How an answer is computed is in [`super::run`].

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use tracing::{error, info, warn};

use super::{
    Admissions, Choice, Error, Needs, Note, Plan, Readiness, Request,
    choice::{self, choose},
    decoding::Decoding,
    failures::Failures,
    find::find,
    models::Models,
    plan, view,
    worker::Worker,
};
use crate::{
    config::{Config, ImagesConfig, ModelsConfig, RuntimeConfig, ServerConfig},
    message::Folders,
    preprocess::{Decoder, Limits},
    registry::{ModelVersion, Repository, Snapshot},
    runtime::Runtime,
    telemetry::{News, Trouble},
    work::{Memory, Origin},
};

/// The handle that HTTP and the command line share; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: ModelsConfig,
    limits: Limits,
    repository: Repository,
    models: Models,
    /// A plain lock: replaced whole by a scan, read for a moment.
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held from a scan to the change of the snapshot, so that an older scan never replaces a newer one.
    scanning: Arc<tokio::sync::Mutex<()>>,
    /// Why models are not loaded that should be.
    failures: Failures,
    decoding: Decoding,
    admissions: Admissions,
}

/// What an engine goes by.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// What is loaded.
    pub models: &'a ModelsConfig,
    /// What an image may cost.
    pub images: &'a ImagesConfig,
    /// Threads and queues.
    pub runtime: &'a RuntimeConfig,
    /// What a request may cost.
    pub server: &'a ServerConfig,
}

impl<'a> Settings<'a> {
    /// Those of `config`.
    pub fn of(config: &'a Config) -> Self {
        Self { models: &config.models, images: &config.images, runtime: &config.runtime, server: &config.server }
    }
}

impl Engine {
    /// An engine over a repository, scanned once; nothing is loaded yet.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn new(runtime: Runtime, repository: Repository, settings: Settings<'_>) -> Result<Self, Error> {
        let Settings { models, images, runtime: runtime_config, server } = settings;
        let snapshot = repository.scan()?;
        view::warn_of_new(&snapshot, &Snapshot::default());
        let snapshot = RwLock::new(Arc::new(snapshot));
        let inner = Inner {
            config: models.clone(),
            limits: Limits::from(images),
            models: Models::new(runtime, models, runtime_config.clone(), server),
            failures: Failures::new(Folders::new([(repository.root(), "models.dir")])),
            repository,
            snapshot,
            scanning: Arc::default(),
            decoding: Decoding::new(images, server, runtime_config),
            admissions: Admissions::new(server),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Resolves model, version, layers and classes, and checks every parameter, before anything is decoded.
    ///
    /// # Errors
    /// Unknown model, version or layer, no class asked for, untrained weights that may not be served.
    pub fn plan(&self, request: &Request) -> Result<Plan, Error> {
        let snapshot = self.snapshot();
        let layers = request.features.as_ref().map_or(&[][..], |features| &features.layers);
        let needs = Needs { classes: request.top_k.is_some(), layers };
        // A number alone means a version of the configured default, whatever else is served.
        let numbered = request.version.map(|_| &self.inner.config.default);
        let (version, note) = match request.model.as_ref().or(numbered) {
            Some(name) => (find(&snapshot, name, request.version)?, None),
            None => {
                let Choice { version, note } = self.choose(&snapshot, needs)?;
                (version, note)
            }
        };
        self.may_serve(&version)?;
        let version = self.as_loaded(version);
        let corrected = Note::corrected(&version.metadata);
        let untrained = choice::untrained(&snapshot, &self.inner.config.default, &version.metadata, needs);
        let plan = plan::resolve(&snapshot, version, request)?;
        let notes = note.into_iter().chain(untrained).chain(corrected).chain(plan.notes.iter().cloned()).collect();
        Ok(Plan { notes, ..plan })
    }

    fn choose(&self, snapshot: &Snapshot, needs: Needs<'_>) -> Result<Choice, Error> {
        choose(snapshot, &self.inner.config.default, needs, |version| self.inner.failures.is_broken(version))
    }

    /// What lets requests in.
    pub fn admissions(&self) -> &Admissions {
        &self.inner.admissions
    }

    /// Name of the configured default.
    pub fn configured_default(&self) -> &str {
        &self.inner.config.default
    }

    /// What an image may cost.
    pub fn limits(&self) -> Limits {
        self.inner.limits
    }

    /// Whether the configured models are loaded and warm; where none is configured, whether any model is; and where none is to be
    /// loaded, whether any model is there.
    pub fn readiness(&self) -> Readiness {
        let snapshot = self.snapshot();
        let ready = self.inner.config.preload.is_none() && self.inner.models.any_loaded();
        let mut wanted = if ready { Vec::new() } else { self.wanted(&snapshot) };
        if snapshot.models.is_empty() && wanted.is_empty() {
            wanted.push(self.inner.config.default.clone());
        }
        let missing = wanted.into_iter().filter_map(|name| {
            let version = match find(&snapshot, &name, None) {
                Ok(version) => version,
                Err(error) => return Some((name, error.to_string())),
            };
            let loaded = self.inner.models.peek(&version).is_some();
            let reason = || self.inner.failures.reason(&version).unwrap_or_else(|| "loading".to_owned());
            (!loaded).then(|| (name.clone(), reason()))
        });
        Readiness { missing: missing.collect() }
    }

    /// Names of the models that must be loaded: the configured ones, else the one that answers requests without a model.
    fn wanted(&self, snapshot: &Snapshot) -> Vec<String> {
        let choice = || self.default(snapshot).unwrap_or_else(|| self.inner.config.default.clone());
        self.inner.config.preload.clone().unwrap_or_else(|| vec![choice()])
    }

    /// The model that answers `/predict` without a model; `None` in an empty repository.
    pub(super) fn default(&self, snapshot: &Snapshot) -> Option<String> {
        Some(self.choose(snapshot, Needs::CLASSES).ok()?.version.metadata.name.clone())
    }

    /// Whether the models that must be loaded may be served, those that are in the repository.
    ///
    /// # Errors
    /// [`Error::Untrained`] for one whose weights are untrained while the configuration forbids that.
    pub fn refuse_untrained(&self) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let present = self.wanted(&snapshot).into_iter().filter_map(|name| find(&snapshot, &name, None).ok());
        present.into_iter().try_for_each(|version| self.may_serve(&version))
    }

    /// Loads and warms the models that must be loaded and are not; what fails is kept for [`Self::readiness`].
    ///
    /// Where none is configured and the one that should answer does not load, the next best does; the other is tried again every
    /// 30 s.
    pub async fn preload(&self) {
        self.retry().await;
        let mut tried = BTreeSet::new();
        loop {
            let snapshot = self.snapshot();
            self.pin_wanted(&snapshot);
            let wanted: Vec<String> = self.wanted(&snapshot).into_iter().filter(|name| tried.insert(name.clone())).collect();
            if wanted.is_empty() {
                return;
            }
            for name in wanted {
                match find(&snapshot, &name, None) {
                    Ok(version) if self.inner.models.peek(&version).is_some() => self.inner.failures.forget(&version),
                    // What fails is noted there.
                    Ok(version) => drop(self.load(&version, Origin::local()).await),
                    Err(error) => self.inner.failures.note_missing(&name, &error),
                }
            }
        }
    }

    /// Keeps the models that must be loaded, in the versions that answer now.
    fn pin_wanted(&self, snapshot: &Snapshot) {
        let versions = self.wanted(snapshot).into_iter().filter_map(|name| find(snapshot, &name, None).ok());
        self.inner.models.pin(&versions.collect::<Vec<_>>());
    }

    /// Loads what would answer if it had not failed, once it is time to.
    async fn retry(&self) {
        if self.inner.config.preload.is_some() {
            return;
        }
        let snapshot = self.snapshot();
        let Ok(ideal) = choose(&snapshot, &self.inner.config.default, Needs::CLASSES, |_| false) else { return };
        if self.inner.failures.is_due(&ideal.version) {
            drop(self.load(&ideal.version, Origin::local()).await);
        }
    }

    /// The worker of a version, loaded in the turn of `origin` if it is not; a failure to load it is noted, so that it does not answer
    /// unasked, and so that nothing is unloaded for the same files soon again.
    pub(super) async fn load(&self, version: &ModelVersion, origin: Origin) -> Result<Arc<Worker>, Error> {
        let Inner { models, failures, .. } = &*self.inner;
        if let Err(error) = self.may_serve(version) {
            failures.note(version, None, &error);
            return Err(error);
        }
        if let Some(worker) = models.used(version) {
            failures.forget(version);
            return Ok(worker);
        }
        let stamped = version.clone();
        let files = tokio::task::spawn_blocking(move || stamped.files_stamp()).await.map_err(|_| Error::ShuttingDown)?;
        if let Some(error) = files.and_then(|files| failures.lasting(version, files)) {
            return Err(Error::Shared(error));
        }
        let loaded = models.load(version, origin).await;
        match &loaded {
            Ok(_) => failures.forget(version),
            Err(error) => failures.note(version, files, error),
        }
        loaded
    }

    /// Scans the repository and loads new versions of configured models, every `scan_interval`, for ever.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(self.inner.config.scan_interval);
        let mut trouble = Trouble::default();
        loop {
            ticks.tick().await;
            match trouble.of(&self.rescan().await) {
                Some(News::Wrong(error)) => error!(error, "cannot scan the model repository; trying again"),
                Some(News::Over) => info!("the model repository can be scanned again"),
                None => {}
            }
            self.preload().await;
        }
    }

    /// Reads the repository again.
    ///
    /// # Errors
    /// The repository cannot be read; the last contents stay in force.
    pub async fn rescan(&self) -> Result<(), Error> {
        let scanning = Arc::clone(&self.inner.scanning).lock_owned().await;
        let engine = self.clone();
        // Whoever leaves, it goes on, and no other begins meanwhile.
        let scan = tokio::spawn(async move {
            let _scanning = scanning;
            engine.scan().await
        });
        scan.await.map_err(|_| Error::ShuttingDown)?
    }

    async fn scan(&self) -> Result<(), Error> {
        let repository = self.inner.repository.clone();
        repository.note_loaded(self.inner.models.loaded());
        let snapshot = tokio::task::spawn_blocking(move || repository.scan()).await.expect("a scan does not panic")?;
        let before = self.snapshot();
        for problem in snapshot.problems.iter().filter(|problem| !before.problems.contains(problem)) {
            warn!(path = problem.path, reason = problem.reason, "ignored in the model repository");
        }
        view::warn_of_new(&snapshot, &before);
        let snapshot = Arc::new(snapshot);
        // First, so that no request finds a version that is on its way out.
        *self.inner.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        // Requests that were planned with what was there before still find it loaded.
        let present = |version: &ModelVersion| {
            let mut versions =
                [&snapshot, &before].into_iter().flat_map(|snapshot| &snapshot.models).flat_map(|model| &model.versions);
            versions.any(|known| known.dir() == version.dir())
        };
        self.inner.models.retain(present);
        self.inner.failures.retain(present);
        self.pin_wanted(&snapshot);
        Ok(())
    }

    /// Decodes beside serving, within the same memory.
    pub fn decoder(&self) -> &Decoder {
        self.inner.decoding.beside()
    }

    /// Memory of images that are being decoded (`images.decoding_bytes`).
    pub fn decoding_memory(&self) -> &Memory {
        self.inner.decoding.memory()
    }

    pub(super) fn decoding(&self) -> &Decoding {
        &self.inner.decoding
    }

    pub(super) fn loaded_models(&self) -> &Models {
        &self.inner.models
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.inner.repository
    }

    /// A version as of the last scan, the stable one without `version`.
    pub(super) fn version(&self, name: &str, version: Option<u32>) -> Result<ModelVersion, Error> {
        find(&self.snapshot(), name, version)
    }

    fn may_serve(&self, version: &ModelVersion) -> Result<(), Error> {
        if version.metadata.pretrained || self.inner.config.allow_untrained {
            return Ok(());
        }
        Err(Error::Untrained { model: version.metadata.name.clone() })
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}
