//! Fine-tuning jobs: from a request to a recipe, and from a recipe to a version that is served.
//!
//! Joins what `jobs` knows of queues and `training` of recipes; decides nothing that they do not.

mod follow;
mod forecast;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use self::follow::Follow;
use crate::{
    config::{Config, RuntimeConfig, TrainingConfig},
    datasets::{self, Datasets},
    inference::{Engine, Note},
    jobs::{self, Control, Failure, Job, NewJob, Plan, PlanError, Planner, Runner},
    message::Folders,
    preprocess::Limits,
    registry::{ModelVersion, Repository, starter},
    runtime::{self, Runtime},
    telemetry::chain,
    training::{
        self, Context, Estimate, Samples, cache,
        recipe::{Recipe, Request},
    },
};

/// Plans and runs fine-tuning jobs.
pub struct Finetuner {
    runtime: Runtime,
    repository: Repository,
    datasets: Datasets,
    engine: Engine,
    providers: RuntimeConfig,
    training: TrainingConfig,
    /// Time between checkpoints within an epoch: no longer than the lease, so that a dead worker's work is not lost with it.
    checkpoint_interval: Duration,
    /// How much lower than serving the priority of measurements is.
    nice: u8,
    limits: Limits,
    /// Folder of the jobs' checkpoints, a folder per job.
    checkpoints: PathBuf,
    /// Folder of all frontier caches.
    caches: PathBuf,
    /// This server's folders, and what a client may call them.
    folders: Folders,
    /// Held while a plan is measured: that takes sessions of the base, whose weights must not be in memory once per request.
    measuring: Mutex<()>,
    /// Runs the engine's asynchronous calls from the job's thread.
    handle: tokio::runtime::Handle,
}

impl Finetuner {
    /// A finetuner over the server's parts; called on the runtime that serves.
    pub fn new(runtime: Runtime, repository: Repository, datasets: Datasets, engine: Engine, config: &Config) -> Self {
        Self {
            folders: Folders::new([(&*config.data.dir, "data.dir"), (&*config.models.dir, "models.dir")]),
            runtime,
            repository,
            datasets,
            engine,
            providers: config.runtime.clone(),
            training: config.training.clone(),
            nice: config.jobs.nice,
            checkpoint_interval: config.training.checkpoint_interval.min(config.jobs.lease),
            limits: Limits::from(&config.images),
            caches: config.data.dir.join("cache"),
            checkpoints: config.data.dir.join("jobs"),
            measuring: Mutex::default(),
            handle: tokio::runtime::Handle::current(),
        }
    }

    /// The version that `request` starts from, with what is to be known of it, or what is wrong with the field.
    fn base(&self, request: &Request) -> Result<(ModelVersion, Vec<String>), PlanError> {
        let named = request.base_model().map_err(|problem| invalid(&problem.field, &problem.detail))?;
        let (model, version) = named.map_or((None, None), |(name, version)| (Some(name.to_owned()), version));
        let plan = self.engine.plan(&crate::inference::Request { model, version, ..Default::default() });
        let plan = plan.map_err(|error| invalid("base", &error.to_string()))?;
        // That a base is untrained the recipe says itself.
        let chosen = plan.notes.iter().filter(|note| !matches!(note, Note::Untrained { .. }));
        let notes = chosen.map(|note| format!("base: {note}")).collect();
        Ok((plan.version, notes))
    }

    fn samples(&self, request: &Request) -> Result<Samples, PlanError> {
        let Some(id) = &request.dataset else {
            return Err(invalid("dataset", "is missing; give the id of a data set (`GET /datasets` lists them)"));
        };
        match self.datasets.get(id) {
            Ok(dataset) => Ok(Samples::from(&dataset)),
            Err(error @ datasets::Error::Unknown { .. }) => Err(invalid("dataset", &error.to_string())),
            Err(error) => Err(PlanError::Failed(error.into())),
        }
    }

    /// Where the job `id` keeps its checkpoints.
    fn folder(&self, id: &str) -> PathBuf {
        self.checkpoints.join(id)
    }

    /// What the frozen part of `base` is run and cached with.
    fn cache<'a>(&'a self, base: &'a ModelVersion) -> cache::Context<'a> {
        cache::Context {
            runtime: &self.runtime,
            base,
            choice: self.providers.model_providers.get(&base.metadata.name).copied().unwrap_or(self.providers.provider),
            threads: NonZeroUsize::new(self.training.threads).unwrap_or(NonZeroUsize::MIN),
            limits: self.limits,
            root: &self.caches,
            bound: self.training.cache_bytes,
        }
    }

    /// What `recipe` costs, once it is known that it can be run.
    fn estimate(&self, base: &ModelVersion, recipe: &Recipe, samples: &Samples) -> Result<Estimate, PlanError> {
        let _one_at_a_time = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = self.cache(base);
        let problems = self.folders.for_client(|| training::untrainable(base, recipe, cache.choice.provider));
        if !problems.is_empty() {
            return Err(invalid_fields(problems));
        }
        let measured = || {
            // A thread of its own: what is lowered here must not serve.
            runtime::lower_priority(self.nice);
            Estimate::measured(cache, recipe, samples)
        };
        let estimate = std::thread::scope(|scope| scope.spawn(measured).join());
        runtime::trim();
        let estimate = estimate.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        estimate.map_err(|error| PlanError::Failed(error.into()))
    }

    fn train(&self, job: &Job, folder: &Path, control: &dyn Control) -> Result<Value, Failure> {
        let recipe: Recipe = serde_json::from_value(job.spec.recipe.clone())
            .map_err(|error| Failure::new("foreign_recipe", format!("the recipe is that of another graft: {error}")))?;
        let dataset = self.datasets.get(&recipe.dataset).map_err(|error| self.failed("dataset_gone", &error))?;
        let samples = Samples::from(&dataset);
        let base = self.find(&recipe)?;
        let follow = Follow::new(control, &recipe, job);
        let context = Context {
            cache: self.cache(&base),
            repository: &self.repository,
            checkpoint_interval: self.checkpoint_interval,
            folder,
            job: &job.id,
        };
        let outcome = training::run(context, &recipe, &samples, &follow).map_err(|error| self.failure(&error, &recipe))?;
        // Served from this moment on; what a scan cannot read now, the next one will.
        if let Err(error) = self.handle.block_on(self.engine.rescan()) {
            tracing::warn!(error = chain(&error), "cannot scan the model repository after a job");
        }
        let metadata = &outcome.version.metadata;
        let mut result = json!({
            "model": metadata.name,
            "version": metadata.version,
            "best": follow::epoch_json(&outcome.history[outcome.best]),
            "history": outcome.history.iter().map(follow::epoch_json).collect::<Vec<_>>(),
            "report": outcome.report,
        });
        if let Some(calibration) = &metadata.calibration {
            result["calibration"] = json!(calibration);
        }
        if let Some(test) = &outcome.test {
            result["test"] = json!(test);
        }
        Ok(result)
    }

    /// A failure as a client reads it: without paths of this server, which the log has.
    fn failed(&self, code: &str, error: &dyn std::error::Error) -> Failure {
        let (full, shown) = (chain(error), self.folders.for_client(|| chain(error)));
        if full != shown {
            tracing::warn!(code, error = full, "a client sees this failure without paths");
        }
        Failure::new(code, shown)
    }

    /// Why a run failed; that its base has gone meanwhile explains whatever happened.
    fn failure(&self, error: &training::Error, recipe: &Recipe) -> Failure {
        use training::Error;
        let needs_base = matches!(error, Error::Graph { .. } | Error::Runtime { .. } | Error::Learner { .. });
        let gone = needs_base.then(|| self.find(recipe).err()).flatten();
        gone.unwrap_or_else(|| self.failed(code(error), error))
    }

    /// The base as it was when the job was accepted.
    fn find(&self, recipe: &Recipe) -> Result<ModelVersion, Failure> {
        let (name, version) = (&recipe.base.model, recipe.base.version);
        let snapshot = self.repository.scan().map_err(|error| self.failed("repository", &error))?;
        let found = snapshot.model(name).and_then(|model| model.version(version)).cloned();
        found.ok_or_else(|| Failure::new("base_gone", format!("the base {name}@{version} is no longer in the repository")))
    }
}

impl Planner for Finetuner {
    fn plan(&self, request: &Value) -> Result<Plan, PlanError> {
        let (request, unreadable) = Request::from_json(request);
        let mut problems: Vec<jobs::Problem> = unreadable.into_iter().map(problem).collect();
        let (base, samples) = (self.base(&request), self.samples(&request));
        let (base, notes) = known(base, &mut problems)?.unzip();
        let samples = known(samples, &mut problems)?;
        let found = self.folders.for_client(|| match (&base, &samples) {
            (Some(base), Some(samples)) => request.resolve(base, samples),
            // Most of what is wrong shows on any data set.
            (Some(base), None) => request.resolve(base, &Samples::stand_in()),
            (None, _) => Err(request.check()),
        });
        let recipe = found.map_err(|found| add(&mut problems, found.into_iter().map(problem))).ok();
        let (Some(base), Some(samples), Some(recipe), true) = (base, samples, recipe, problems.is_empty()) else {
            return Err(PlanError::Invalid(problems));
        };
        recipe.fits(self.training.memory_bytes).map_err(invalid_fields)?;
        let estimate = self.estimate(&base, &recipe, &samples)?;
        let mut warnings = notes.unwrap_or_default();
        if recipe.name == self.engine.configured_default() || Some(recipe.name.as_str()) == starter() {
            warnings.push(format!(
                "name: `{}` answers requests that name no model; the new version will answer them, unless an older one is made stable",
                recipe.name
            ));
        }
        warnings.extend(recipe.warnings.iter().cloned());
        warnings.extend(estimate.warnings());
        let json = |value: Result<Value, serde_json::Error>| value.map_err(|error| PlanError::Failed(error.into()));
        Ok(NewJob {
            name: recipe.name.clone(),
            dataset: recipe.dataset.clone(),
            base: jobs::Base { model: recipe.base.model.clone(), version: recipe.base.version },
            warnings,
            estimates: json(serde_json::to_value(&estimate))?,
            recipe: json(serde_json::to_value(&recipe))?,
        })
    }
}

impl Runner for Finetuner {
    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        let held = self.datasets.hold(&job.spec.dataset, &job.id);
        let result = held.map_err(|error| self.failed("dataset_gone", &error));
        let result = result.and_then(|()| self.train(job, &self.folder(&job.id), control));
        self.datasets.release(&job.spec.dataset, &job.id);
        runtime::trim();
        result
    }

    fn leftovers(&self) -> Vec<String> {
        let folders = std::fs::read_dir(&self.checkpoints).into_iter().flatten().flatten();
        let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
        // Whatever else somebody put there is not graft's to remove.
        names.filter(|name| uuid::Uuid::try_parse(name).is_ok()).collect()
    }

    fn discard(&self, id: &str) {
        let folder = self.folder(id);
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove the checkpoints of a job that has ended");
        }
    }
}

fn invalid(field: &str, detail: &str) -> PlanError {
    PlanError::Invalid(vec![jobs::Problem { field: field.to_owned(), detail: detail.to_owned() }])
}

fn invalid_fields(problems: Vec<training::recipe::Problem>) -> PlanError {
    PlanError::Invalid(problems.into_iter().map(problem).collect())
}

fn problem(problem: training::recipe::Problem) -> jobs::Problem {
    jobs::Problem { field: problem.field, detail: problem.detail }
}

/// What was found, or `None` with what is wrong among the problems.
fn known<T>(found: Result<T, PlanError>, problems: &mut Vec<jobs::Problem>) -> Result<Option<T>, PlanError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(PlanError::Invalid(found)) => {
            add(problems, found.into_iter());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Adds what is wrong with fields of which nothing was said yet, nor of what they are in.
fn add(problems: &mut Vec<jobs::Problem>, found: impl Iterator<Item = jobs::Problem>) {
    let named: Vec<String> = problems.iter().map(|problem| problem.field.clone()).collect();
    let is_within = |field: &str, named: &String| {
        field.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    problems.extend(found.filter(|problem| !named.iter().any(|named| named.is_empty() || is_within(&problem.field, named))));
}

/// Why a run failed, as a program reads it.
fn code(error: &training::Error) -> &'static str {
    use training::{Error, checkpoint::CheckpointError};
    match error {
        _ if error.is_disk_full() => "disk_full",
        Error::Checkpoint(CheckpointError::NotFinite { .. }) | Error::Diverged { .. } => "diverged",
        Error::Io { .. } | Error::Checkpoint(_) => "disk",
        Error::Image { .. } => "image",
        Error::Graph { .. } | Error::Learner { .. } | Error::Size { .. } => "graph",
        Error::Runtime { .. } => "runtime",
        Error::BaseChanged { .. } => "base_changed",
        Error::DatasetChanged { .. } => "dataset_changed",
        Error::Parity { .. } => "parity",
        Error::Register { .. } => "register",
        Error::Cancelled => "cancelled",
    }
}
