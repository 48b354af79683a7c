//! A run: phase after phase over cached tensors, from the last checkpoint on, until the best epoch is registered.
//!
//! Knows nothing of jobs: who follows a run is an [`Observer`], and where it left off is in its folder.

mod best;
mod evaluate;
mod head;
mod phase;
mod progress;
mod publish;
mod trainable;
mod warnings;

use std::{
    path::Path,
    time::{Duration, Instant},
};

pub use self::trainable::untrainable;
use self::{
    head::Trained,
    progress::{Progress, Tensors},
    trainable::spec,
};
use super::{
    Error, Samples, TrainValSplit,
    cache::{self, FrontierCache},
    checkpoint::{CheckpointError, Checkpoints},
    event::{EpochMetrics, Event, Observer, Position},
    learner::{self, Learner, LearnerError},
    recipe::{Phase, Pool, Recipe},
    report::ClassificationReport,
};
use crate::{
    graph::BuildError,
    registry::{Metadata, ModelVersion, Staging},
};

/// What a run is made with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What the frozen part is run and cached with; the rest runs on the same runtime, provider and threads.
    pub cache: cache::Context<'a>,
    /// Where the best epoch goes.
    pub publisher: &'a dyn Publisher,
    /// Time between checkpoints within an epoch.
    pub checkpoint_interval: Duration,
    /// Folder of this run's checkpoints.
    pub folder: &'a Path,
    /// Number of who writes there, greater than those of all before.
    pub lease: u64,
    /// Who runs it: one version is registered per job, however often it is run.
    pub job: &'a str,
}

/// Takes what a run makes: one version per job, however often the job is run.
pub trait Publisher: Sync {
    /// The version that an earlier run of the same job published.
    ///
    /// # Errors
    /// A repository that cannot be read.
    fn published(&self) -> Result<Option<ModelVersion>, Error>;

    /// Whether a version of `bytes` bytes could be published now; asked before anything is trained.
    ///
    /// # Errors
    /// What publication would fail of.
    fn rehearse(&self, bytes: u64) -> Result<(), Error>;

    /// A folder for the version in the making.
    ///
    /// # Errors
    /// A repository that cannot be written.
    fn stage(&self) -> Result<Staging, Error>;

    /// Publishes the version, which is whole, and answers as it was trained.
    ///
    /// # Errors
    /// A repository that cannot be written; [`Error::Cancelled`].
    fn publish(&self, staging: Staging, metadata: Metadata, made: &Made<'_>) -> Result<ModelVersion, Error>;
}

/// What a publisher may know of a version besides its files.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// The images that it was trained on and validated with.
    pub division: &'a TrainValSplit,
    /// The class that it gives each validation image, in their order.
    pub predicted: &'a [usize],
}

/// What came out of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The version registered.
    pub version: ModelVersion,
    /// What the best epoch does on the validation images.
    pub report: ClassificationReport,
    /// And on the test images, which no epoch was chosen by; `None` without any.
    pub test: Option<ClassificationReport>,
    /// Every epoch.
    pub history: Vec<EpochMetrics>,
    /// Which of them was the best.
    pub best: usize,
    /// What the user should know of the result.
    pub warnings: Vec<String>,
}

/// Trains as `recipe` says and registers the best epoch; goes on from the last checkpoint in the run's folder.
///
/// Blocks until the end; its threads have the caller's priority. The same recipe gives the same weights bit for bit, interrupted
/// or not, on the CPU of the same machine with the same library and threads.
///
/// # Errors
/// [`Error::Cancelled`] when the observer says so, and whatever keeps the run from its end; what it learnt stays in its folder.
pub fn run(context: Context<'_>, recipe: &Recipe, samples: &Samples, observer: &dyn Observer) -> Result<Outcome, Error> {
    let mut run = Run::open(context, recipe, samples, observer)?;
    while let Some(phase) = recipe.phases.get(run.progress.at.phase) {
        run.phase(phase)?;
    }
    run.finish()
}

struct Run<'a> {
    context: Context<'a>,
    recipe: &'a Recipe,
    samples: &'a Samples,
    observer: &'a dyn Observer,
    division: TrainValSplit,
    /// Class of every image.
    classes: Vec<usize>,
    trained: Trained,
    checkpoints: Checkpoints,
    checkpointed: Instant,
    progress: Progress,
    tensors: Tensors,
    /// Room for the caches of later phases, while none of them is open.
    later: Vec<cache::Hold>,
}

impl<'a> Run<'a> {
    fn open(context: Context<'a>, recipe: &'a Recipe, samples: &'a Samples, observer: &'a dyn Observer) -> Result<Self, Error> {
        let base = context.cache.base.open().map_err(Error::Base)?;
        let trained = Trained::new(&base, recipe).map_err(|source| graph_error(&context, source))?;
        context.publisher.rehearse(version_bytes(&context, &trained))?;
        let checkpoints = Checkpoints::open(context.folder, context.lease)?;
        let (progress, tensors) = checkpoints.newest()?.map(Tensors::of).unwrap_or_default();
        if progress != Progress::default() {
            observer.event(Event::Resumed { at: progress.at });
            observer.flush();
        }
        Ok(Self {
            division: TrainValSplit::of(samples, recipe.validation.split, recipe.seed),
            classes: samples.images.iter().map(|image| image.class).collect(),
            checkpointed: Instant::now(),
            context,
            recipe,
            samples,
            observer,
            trained,
            checkpoints,
            progress,
            tensors,
            later: Vec::new(),
        })
    }

    /// The cache of `phase`, filled.
    fn cache(&mut self, phase: &Phase) -> Result<FrontierCache<'a>, Error> {
        let mut cache = FrontierCache::open(self.context.cache, self.recipe, phase, self.samples)?;
        self.later = cache.later();
        let (number, phases) = (self.progress.at.phase, self.recipe.phases.len());
        if let Some(detail) = cache.warning().filter(|_| number < phases) {
            self.observer.event(Event::CacheTooSmall { phase: number, detail });
        }
        cache.fill(&self.division.picks(self.recipe.horizontal_flip), &mut |filled| {
            // Behind the last phase the cache is read once more, for the report.
            if number < phases {
                self.observer.event(Event::Caching { phase: number, done: filled.done, total: filled.total });
            }
            !self.observer.cancelled()
        })?;
        Ok(cache)
    }

    /// What `phase` trains, with the base's values and the head's first ones.
    fn learner(&self, phase: &Phase) -> Result<Learner, Error> {
        let graph = self.trained.behind(&phase.frontier).map_err(|source| graph_error(&self.context, source))?;
        let spec = spec(&self.trained, self.recipe, phase, self.context.cache.choice.provider);
        let cache::Context { runtime, threads, choice, .. } = self.context.cache;
        let place = learner::Placement { runtime, threads, provider: choice };
        Learner::new(place, &graph, &spec, self.vector().1).map_err(|source| self.failed(source))
    }

    /// The layer that gives the vector which the head reads, and its tensor.
    fn vector(&self) -> (&str, &str) {
        let (first, head) = (&self.trained.layers[0], &self.recipe.head);
        if head.pool == Pool::None { (&head.on, &head.tensor) } else { (&first.name, &first.name) }
    }

    /// Takes over what `learner` knows, and writes a checkpoint.
    fn checkpoint(&mut self, learner: &Learner) -> Result<(), Error> {
        let parameters = learner.parameters().map_err(|source| self.failed(source))?;
        self.tensors.now.extend(parameters);
        self.tensors.state = learner.state().map_err(|source| self.failed(source))?.into_iter().collect();
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        self.observer.flush();
        let named = self.tensors.named();
        let named: Vec<(&str, _)> = named.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
        self.checkpoints.write(&self.progress, &named).map_err(|error| self.unwritten(error))?;
        self.checkpointed = Instant::now();
        self.observer.checkpointed(self.progress.at);
        Ok(())
    }

    /// Why no checkpoint was written; weights that are no numbers have no loss either.
    fn unwritten(&self, error: CheckpointError) -> Error {
        let Position { phase, epoch, step } = self.progress.at;
        let steps = self.recipe.steps_per_epoch;
        let at = if step == 0 { Position { phase, epoch: epoch.saturating_sub(1), step: steps } } else { self.progress.at };
        match (error, self.recipe.phases.get(phase)) {
            (CheckpointError::NotFinite { .. }, Some(phase)) => {
                Error::Diverged { loss: f64::NAN, at, learning_rate: phase.learning_rate }
            }
            (error, _) => error.into(),
        }
    }

    /// Whether the run is to go on; asked before whatever takes long.
    fn go_on(&self) -> Result<(), Error> {
        if self.observer.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// A failure of a learner; one that was stopped was cancelled.
    fn failed(&self, source: LearnerError) -> Error {
        if self.observer.cancelled() { Error::Cancelled } else { Error::Learner { model: model(&self.context), source } }
    }
}

/// About as many bytes as the version will have: its base's and its head's.
fn version_bytes(context: &Context<'_>, trained: &Trained) -> u64 {
    let base = context.cache.base;
    let graph = std::fs::metadata(base.graph_path()).map_or(0, |file| file.len());
    let values = trained.layers.iter().flat_map(|layer| &layer.weights).map(|weight| weight.shape.iter().product::<usize>());
    base.metadata.weights.bytes + graph + 4 * values.sum::<usize>() as u64
}

fn graph_error(context: &Context<'_>, source: impl Into<BuildError>) -> Error {
    Error::Graph { model: model(context), source: source.into() }
}

fn model(context: &Context<'_>) -> String {
    context.cache.model()
}
