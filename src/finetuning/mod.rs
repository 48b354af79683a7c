//! Fine-tuning for HTTP and command line alike: what a request means, what it costs, its run, and what becomes of the result.
//!
//! Joins data sets, training and jobs, and has the kinds of jobs. Knows neither HTTP nor terminals.

mod epoch;
mod evaluation;
mod follow;
mod forecast;
pub mod kinds;
mod name;
mod publication;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use utoipa::ToSchema;

pub use self::{
    epoch::Epoch,
    evaluation::{Evaluated, Evaluation, Truths},
    publication::{Comparison, Publication, Reason},
};
use self::{name::Name, publication::Register};
use crate::{
    config::{Config, ProviderChoice, RuntimeConfig, TrainingConfig},
    inference::{Classifier, Engine, Note},
    message::FieldProblem,
    preprocess::Decoder,
    registry::{Calibration, ModelVersion, Repository},
    runtime::{self, Runtime},
    training::{
        self, Context, Estimate, Outcome, Samples, cache,
        event::Observer,
        recipe::{Recipe, Request},
        report::ClassificationReport,
    },
    work,
};

/// Plans and runs fine-tuning on the models of an engine.
pub struct Finetuner {
    runtime: Runtime,
    repository: Repository,
    engine: Engine,
    providers: RuntimeConfig,
    training: TrainingConfig,
    /// Time between checkpoints within an epoch: no longer than the lease, so that a dead worker's work is not lost with it.
    checkpoint_interval: Duration,
    decoder: Decoder,
    /// Folder of all frontier caches.
    caches: PathBuf,
    /// Held while a plan reads weights of the base, to check it and to measure it: they must not be in memory once per request.
    measuring: Mutex<()>,
}

/// How much lower than serving the priority of measurements is: a client waits for them, so that they have a third of the processor that
/// as many threads of serving have, where training has what is left over.
const MEASURING_NICE: u8 = 5;

/// Where a run keeps what it goes on from, and what the version that it makes says of it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Folder of its checkpoints.
    pub folder: &'a Path,
    /// Its id: however often it is run, it makes one version.
    pub job: &'a str,
    /// Number of who runs it, greater than those of all before; files have it in their names.
    pub lease: u64,
}

/// What a fine-tuning made.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = FinetuneResult)]
pub struct Finetuned {
    /// Name of the model.
    #[schema(example = "hymenoptera")]
    pub model: String,
    /// Its version.
    #[schema(example = 1)]
    pub version: u32,
    /// Whether requests that name no version get it, and why.
    #[serde(flatten)]
    pub publication: Publication,
    /// The epoch whose weights it has.
    pub best: Epoch,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// How good it is on the validation images.
    pub report: ClassificationReport,
    /// How its scores are calibrated; left out without validation images, and where the recipe says `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub calibration: Option<Calibration>,
    /// How good it is on the test images, which nothing was chosen by; left out where the data set has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub test: Option<ClassificationReport>,
    /// What is to be known of it: few validation images, an accuracy that says nothing, learning rates that did not train.
    pub warnings: Vec<String>,
}

impl Finetuner {
    /// A finetuner on `engine`'s models, which `repository` holds.
    pub fn new(runtime: Runtime, repository: Repository, engine: Engine, config: &Config) -> Self {
        Self {
            runtime,
            repository,
            providers: config.runtime.clone(),
            training: config.training.clone(),
            checkpoint_interval: config.training.checkpoint_interval.min(config.jobs.lease),
            decoder: engine.decoder().clone(),
            engine,
            caches: config.data.dir.join("cache"),
            measuring: Mutex::default(),
        }
    }

    /// The version that `request` starts from, with what is to be known of it.
    ///
    /// # Errors
    /// What is wrong with `base`.
    pub fn base(&self, request: &Request) -> Result<(ModelVersion, Vec<String>), FieldProblem> {
        let named = request.base_model()?;
        let (model, version) = named.map_or((None, None), |(name, version)| (Some(name.to_owned()), version));
        let plan = self.engine.plan(&crate::inference::Request { model, version, ..Default::default() });
        let plan = plan.map_err(|error| FieldProblem::new("base", error.to_string()))?;
        // That a base is untrained the recipe says itself.
        let chosen = plan.notes.iter().filter(|note| !matches!(note, Note::Untrained { .. }));
        let notes = chosen.map(|note| format!("base: {note}")).collect();
        Ok((plan.version, notes))
    }

    /// The recipe for `base` and `samples`, which can be run, with what is to be known of the name that it gives away.
    ///
    /// # Errors
    /// Everything that is wrong, each with its field and a way out.
    pub fn resolve(&self, request: &Request, base: &ModelVersion, samples: &Samples) -> Result<Recipe, Vec<FieldProblem>> {
        let resolved = request.resolve(base, samples);
        let validation = resolved.as_ref().map_or(0, |recipe| recipe.validation.val);
        let name = Name::look_up(self, request, &samples.classes, validation);
        let (mut recipe, warnings) = match (resolved, name) {
            (Ok(recipe), Ok(warnings)) => (recipe, warnings),
            (Ok(_), Err(problem)) => return Err(vec![problem]),
            (Err(problems), name) => return Err(problems.into_iter().chain(name.err()).collect()),
        };
        recipe.fits(self.training.memory_bytes)?;
        recipe.warnings.splice(0..0, warnings);
        Ok(recipe)
    }

    /// What of `base` the recipe cannot be trained through; empty when it can be run.
    pub fn untrainable(&self, base: &ModelVersion, recipe: &Recipe) -> Vec<FieldProblem> {
        let _one_at_a_time = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        training::untrainable(base, recipe, self.choice(base).provider)
    }

    /// What a recipe costs that can be run: seconds on the threads of training, one plan at a time.
    ///
    /// # Errors
    /// A base that cannot be run, an image that cannot be read.
    pub fn estimate(&self, base: &ModelVersion, recipe: &Recipe, samples: &Samples) -> Result<Estimate, training::Error> {
        let _one_at_a_time = self.measuring.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = self.cache(base);
        let measured = || {
            // A thread of its own: what is lowered here must not serve.
            work::lower_priority(MEASURING_NICE);
            Estimate::measured(cache, recipe, samples)
        };
        let estimate = std::thread::scope(|scope| scope.spawn(measured).join());
        runtime::trim();
        estimate.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Trains as `recipe` says, publishes the best epoch as the recipe and the model of that name allow, and says what became of
    /// it. Goes on from what an earlier run left in `place`; blocks until the end.
    ///
    /// # Errors
    /// As [`training::run`].
    pub fn train(
        &self,
        base: &ModelVersion,
        recipe: &Recipe,
        samples: &Samples,
        place: Place<'_>,
        observer: &dyn Observer,
    ) -> Result<Finetuned, training::Error> {
        let register = Register { finetuner: self, base, recipe, samples, job: place.job, observer };
        let context = Context {
            cache: self.cache(base),
            publisher: &register,
            checkpoint_interval: self.checkpoint_interval,
            folder: place.folder,
            job: place.job,
            lease: place.lease,
        };
        training::run(context, recipe, samples, observer).map(Finetuned::from)
    }

    /// A classifier of `version` on the threads of training.
    fn classifier(&self, version: ModelVersion) -> Result<Classifier, crate::inference::Error> {
        let choice = self.choice(&version);
        Classifier::open(&self.runtime, version, choice, self.threads(), self.decoder.clone())
    }

    fn choice(&self, version: &ModelVersion) -> ProviderChoice {
        let of_model = self.providers.model_providers.get(&version.metadata.name);
        of_model.copied().unwrap_or(self.providers.provider)
    }

    fn threads(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.training.threads).unwrap_or(NonZeroUsize::MIN)
    }

    /// What the frozen part of `base` is run and cached with.
    fn cache<'a>(&'a self, base: &'a ModelVersion) -> cache::Context<'a> {
        cache::Context {
            runtime: &self.runtime,
            base,
            choice: self.choice(base),
            threads: self.threads(),
            decoder: &self.decoder,
            root: &self.caches,
            bound: self.training.cache_bytes,
        }
    }
}

impl From<Outcome> for Finetuned {
    fn from(outcome: Outcome) -> Self {
        let metadata = &outcome.version.metadata;
        Self {
            model: metadata.name.clone(),
            version: metadata.version,
            publication: Publication::of(&outcome.version),
            best: outcome.history[outcome.best].into(),
            history: outcome.history.iter().copied().map(Epoch::from).collect(),
            report: outcome.report,
            calibration: metadata.calibration.clone(),
            test: outcome.test,
            warnings: outcome.warnings,
        }
    }
}
