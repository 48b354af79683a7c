//! The engine: resolves a request, decodes its images, queues them, and shapes the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};
use tokio::sync::Semaphore;
use tracing::{error, warn};

use super::{
    Answer, Choice, Error, Image, ModelView, Needs, Note, OnError, Plan, Readiness, Request, Timings,
    choice::{self, choose},
    failures::Failures,
    find::{find, find_model},
    models::Models,
    plan, view,
    worker::{Ran, Task, Worker},
};
use crate::{
    config::{ImagesConfig, ModelsConfig, RuntimeConfig},
    message::Folders,
    preprocess::{self, ImageError, Limits, Warning},
    registry::{Metadata, ModelVersion, Repository, Snapshot},
    runtime::Runtime,
    telemetry::chain,
    tensor::Tensor,
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
    scanning: tokio::sync::Mutex<()>,
    /// Why models are not loaded that should be.
    failures: Failures,
    /// One permit per decoding thread; decoding runs on the blocking pool.
    decoders: Arc<Semaphore>,
}

type Prepared = (Tensor, Vec<Warning>);

impl Engine {
    /// An engine over a repository, scanned once; nothing is loaded yet.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn new(
        runtime: Runtime,
        repository: Repository,
        config: &ModelsConfig,
        images: &ImagesConfig,
        runtime_config: &RuntimeConfig,
    ) -> Result<Self, Error> {
        let snapshot = repository.scan()?;
        view::warn_of_new(&snapshot, &Snapshot::default());
        let snapshot = RwLock::new(Arc::new(snapshot));
        let inner = Inner {
            config: config.clone(),
            limits: Limits::from(images),
            models: Models::new(runtime, config, runtime_config.clone()),
            failures: Failures::new(Folders::new([(repository.root(), "models.dir")])),
            repository,
            snapshot,
            scanning: tokio::sync::Mutex::default(),
            decoders: Arc::new(Semaphore::new(runtime_config.decode_threads)),
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

    /// Decodes `images` and runs `plan` on them, loading the model when it is not.
    ///
    /// # Errors
    /// [`Error::BadImages`] unless the plan skips them, a full queue, a model that does not load.
    pub async fn run(&self, plan: Plan, images: Vec<Image>) -> Result<Answer, Error> {
        let worker = match self.load(&plan.version).await {
            Err(error) if !plan.version.dir().exists() => return Err(self.gone(&plan.version).await.unwrap_or(error)),
            loaded => loaded?,
        };
        let plan = Plan { version: worker.version().clone(), ..plan };
        let _admitted = worker.admit(images.len())?;
        let started = Instant::now();
        let prepared = self.prepare(&plan, images).await;
        let decode = started.elapsed();
        if plan.on_error == OnError::Fail {
            let bad = |(position, image): (usize, &Result<Prepared, ImageError>)| Some((position, image.as_ref().err()?.clone()));
            let bad: Vec<_> = prepared.iter().enumerate().filter_map(bad).collect();
            if !bad.is_empty() {
                return Err(Error::BadImages(bad));
            }
        }
        let ran = self.infer(plan, &worker, prepared).await?;
        let timings = timings(decode, &ran);
        let images = ran.into_iter().map(|image| image.map(|ran| ran.answer)).collect();
        Ok(Answer { images, timings })
    }

    /// That `version` left the repository since it was planned with.
    async fn gone(&self, version: &ModelVersion) -> Option<Error> {
        self.rescan().await.err().or_else(|| {
            let Metadata { name, version, .. } = &*version.metadata;
            find(&self.snapshot(), name, Some(*version)).err()
        })
    }

    /// Decoding and preprocessing, at most `decode_threads` images at a time.
    async fn prepare(&self, plan: &Plan, images: Vec<Image>) -> Vec<Result<Prepared, ImageError>> {
        let spec = Arc::new(plan.preprocessing.clone());
        let tasks = images.into_iter().map(|image| {
            let (spec, limits, decoders) = (Arc::clone(&spec), self.inner.limits, Arc::clone(&self.inner.decoders));
            async move {
                let _decoder = decoders.acquire_owned().await.expect("the decoders' semaphore is never closed");
                let decode = move || Ok(preprocess::prepare(preprocess::decode(&image.bytes, &limits)?, &spec));
                let done = tokio::task::spawn_blocking(decode).await;
                done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
            }
        });
        join_all(tasks).await
    }

    async fn infer(
        &self,
        plan: Plan,
        worker: &Worker,
        prepared: Vec<Result<Prepared, ImageError>>,
    ) -> Result<Vec<Result<Ran, ImageError>>, Error> {
        let version = plan.version.clone();
        let task = Arc::new(Task::new(plan));
        let runs = prepared.into_iter().enumerate().map(|(position, image)| {
            let task = Arc::clone(&task);
            async move {
                let (input, warnings) = match image {
                    Ok(prepared) => prepared,
                    Err(error) => return Ok(Err(error)),
                };
                let mut ran = worker.infer(input, task, position).await?;
                ran.answer.warnings = warnings;
                Ok(Ok(ran))
            }
        });
        let ran = try_join_all(runs).await;
        if let Err(Error::WorkerGone { .. }) = ran {
            self.inner.models.forget(&version);
        }
        ran
    }

    /// Every model served, by name, ascending.
    pub fn models(&self) -> Vec<ModelView> {
        let snapshot = self.snapshot();
        let default = self.default(&snapshot);
        snapshot.models.iter().map(|model| self.view(model, default.as_deref())).collect()
    }

    /// One model.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn model(&self, name: &str) -> Result<ModelView, Error> {
        let snapshot = self.snapshot();
        find_model(&snapshot, name).map(|model| self.view(model, self.default(&snapshot).as_deref()))
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
            let reason = || self.inner.failures.reason(&name).unwrap_or_else(|| "loading".to_owned());
            (!loaded).then(|| (name.clone(), reason()))
        });
        Readiness { missing: missing.collect(), problems: snapshot.problems.clone() }
    }

    /// Names of the models that must be loaded: the configured ones, else the one that answers requests without a model.
    fn wanted(&self, snapshot: &Snapshot) -> Vec<String> {
        let choice = || self.default(snapshot).unwrap_or_else(|| self.inner.config.default.clone());
        self.inner.config.preload.clone().unwrap_or_else(|| vec![choice()])
    }

    /// The model that answers `/predict` without a model; `None` in an empty repository.
    fn default(&self, snapshot: &Snapshot) -> Option<String> {
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
            let wanted = self.wanted(&snapshot);
            self.inner.models.pin(wanted.iter().cloned());
            let wanted: Vec<String> = wanted.into_iter().filter(|name| tried.insert(name.clone())).collect();
            if wanted.is_empty() {
                return;
            }
            for name in wanted {
                match find(&snapshot, &name, None) {
                    Ok(version) if self.inner.models.peek(&version).is_some() => self.inner.failures.forget(&version),
                    // What fails is noted there.
                    Ok(version) => drop(self.load(&version).await),
                    Err(error) => self.inner.failures.note(&name, None, &error),
                }
            }
        }
    }

    /// Loads what would answer if it had not failed, once it is time to.
    async fn retry(&self) {
        if self.inner.config.preload.is_some() {
            return;
        }
        let snapshot = self.snapshot();
        let Ok(ideal) = choose(&snapshot, &self.inner.config.default, Needs::CLASSES, |_| false) else { return };
        if self.inner.failures.is_due(&ideal.version.metadata.name) {
            drop(self.load(&ideal.version).await);
        }
    }

    /// The worker of a version, loaded if it is not; a failure to load it is noted, so that it does not answer unasked.
    async fn load(&self, version: &ModelVersion) -> Result<Arc<Worker>, Error> {
        let loaded = match self.may_serve(version) {
            Ok(()) => self.inner.models.load(version).await,
            Err(error) => Err(error),
        };
        match &loaded {
            Ok(_) => self.inner.failures.forget(version),
            Err(error) => self.inner.failures.note(&version.metadata.name, Some(version), error),
        }
        loaded
    }

    /// Scans the repository and loads new versions of configured models, every `scan_interval`, for ever.
    pub async fn watch(&self) {
        let mut ticks = tokio::time::interval(self.inner.config.scan_interval);
        loop {
            ticks.tick().await;
            if let Err(error) = self.rescan().await {
                error!(error = chain(&error), "cannot scan the model repository");
            }
            self.preload().await;
        }
    }

    /// Reads the repository again.
    ///
    /// # Errors
    /// The repository cannot be read; the last contents stay in force.
    pub async fn rescan(&self) -> Result<(), Error> {
        let _scanning = self.inner.scanning.lock().await;
        let repository = self.inner.repository.clone();
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
        Ok(())
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

/// Wall times of a request; a run that several of its images shared counts once.
fn timings(decode: Duration, ran: &[Result<Ran, ImageError>]) -> Timings {
    let ran = || ran.iter().flatten();
    let runs: BTreeMap<u64, Duration> = ran().map(|ran| (ran.run, ran.inference)).collect();
    Timings { decode, queue: ran().map(|ran| ran.queue).max().unwrap_or_default(), inference: runs.values().sum() }
}
