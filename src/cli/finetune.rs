//! `graft finetune`: teaches a model the classes of a folder, without a server.
//!
//! The same recipe, trainer and checks as `POST /jobs/finetune`; a run that was interrupted goes on when it is given again.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use clap::Args;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Global, answer,
    context::{find, open},
    progress::{Progress, Unit},
    read_as::ReadAsFlags,
};
use crate::{
    config::Config,
    datasets::{Dataset, Datasets},
    inference::{Needs, choose},
    preprocess::Limits,
    registry::{Calibration, ModelVersion, Repository, make_folder},
    runtime::{Runtime, lower_priority},
    training::{
        self, Context, Outcome, Samples, cache,
        event::{Event, Observer, Place},
        recipe::{Problem, Recipe, Request, Validation},
    },
};

/// Teach a model new classes from a folder of labelled photos.
///
/// The folder holds a folder per class, or `train/`, `val/` and `test/` (under any of their usual names) with these; what is in
/// `test/` is measured once, at the end. Without a recipe Keras's two phases are run: the
/// new head alone, then the head with the top blocks.
#[derive(Debug, Args)]
pub(super) struct Finetune {
    /// Folder of class folders
    folder: PathBuf,
    /// The model to start from, NAME or NAME@VERSION [default: models.default if it is trained, else a trained one]
    #[arg(long)]
    base: Option<String>,
    /// Name of the model that comes out
    #[arg(long)]
    name: Option<String>,
    /// A JSON file with any fields of the body of `POST /jobs/finetune`
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// What initial weights, order and split are derived from [default: 0]
    #[arg(long)]
    seed: Option<i64>,
    /// Only print the recipe as it would be run, as JSON
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    read_as: ReadAsFlags,
}

impl Finetune {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let repository = open(&config)?;
        // What the request alone shows is told before the folder is copied.
        let request = self.request()?;
        let found = request.check();
        if !found.is_empty() {
            return Err(problems(found));
        }
        let base = base(&repository.scan()?, &request, &config)?;
        eprintln!("reading {}", self.folder.display());
        let datasets = Datasets::open(config.datasets.clone(), &config.data.dir, Limits::from(&config.images))?;
        let dataset = datasets.copy_folder(&self.folder, self.read_as.into())?;
        self.train(&config, &repository, &base, &request, &dataset)
    }

    /// Trains on `dataset`, the folder's copy.
    fn train(
        &self,
        config: &Config,
        repository: &Repository,
        base: &ModelVersion,
        request: &Request,
        dataset: &Dataset,
    ) -> anyhow::Result<()> {
        for skipped in &dataset.skipped {
            eprintln!("left out {}: {}", skipped.path, skipped.reason);
        }
        let samples = Samples::from(dataset);
        let recipe = request.resolve(base, &samples).map_err(problems)?;
        recipe.fits(config.training.memory_bytes).map_err(problems)?;
        let Validation { train, val, test, classes, .. } = &recipe.validation;
        eprintln!("{} classes; {train} images to train on, {val} to validate on, {test} for the test at the end", classes.len());
        recipe.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        if self.dry_run {
            return Ok(answer::line(serde_json::to_string_pretty(&recipe)?)?);
        }
        let folder = config.data.dir.join("runs").join(identity(&recipe)?);
        let runtime = Runtime::open(&config.runtime)?;
        let provider = config.runtime.model_providers.get(&base.metadata.name).copied().unwrap_or(config.runtime.provider);
        let found = training::untrainable(base, &recipe, provider.provider);
        if !found.is_empty() {
            return Err(problems(found));
        }
        let job = run_id(&folder)?;
        lower_priority(config.jobs.nice);
        let context = Context {
            cache: cache::Context {
                runtime: &runtime,
                base,
                choice: provider,
                threads: NonZeroUsize::new(config.training.threads).unwrap_or(NonZeroUsize::MIN),
                limits: Limits::from(&config.images),
                root: &config.data.dir.join("cache"),
                bound: config.training.cache_bytes,
            },
            repository,
            checkpoint_interval: config.training.checkpoint_interval,
            folder: &folder.join("checkpoints"),
            job: &job,
        };
        let display = Display(Mutex::new(Shown { progress: None, steps: recipe.steps_per_epoch }));
        let outcome = training::run(context, &recipe, &samples, &display)?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        print(&outcome)
    }

    /// The file's request, with the flags in their place.
    fn request(&self) -> anyhow::Result<Request> {
        let mut request = match &self.recipe {
            None => Request::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
                let (request, found) = Request::from_json(&value);
                if !found.is_empty() {
                    return Err(problems(found));
                }
                request
            }
        };
        request.dataset = Some(self.folder.display().to_string());
        request.base = self.base.clone().or(request.base);
        request.name = self.name.clone().or(request.name);
        request.seed = self.seed.or(request.seed);
        Ok(request)
    }
}

/// The version that `request` starts from.
fn base(snapshot: &crate::registry::Snapshot, request: &Request, config: &Config) -> anyhow::Result<ModelVersion> {
    let named = request.base_model().map_err(|problem| anyhow::anyhow!("`{}` {}", problem.field, problem.detail))?;
    let Some((name, version)) = named else {
        let choice = choose(snapshot, &config.models.default, Needs::default(), |_| false)?;
        choice.note.iter().for_each(|note| eprintln!("{note}"));
        return Ok(choice.version);
    };
    find(snapshot, name, version)
}

/// The same recipe is the same run: one that was interrupted goes on.
fn identity(recipe: &Recipe) -> anyhow::Result<String> {
    let mut recipe = recipe.clone();
    // Where the images lay does not matter; what they are, the fingerprint tells.
    recipe.dataset.clear();
    let hash = Sha256::digest(serde_json::to_vec(&recipe)?);
    Ok(hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// The id of the run in `folder`: the same until the run has ended, so that it registers one version however often it goes on.
fn run_id(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("id");
    if let Some(id) = std::fs::read_to_string(&path).ok().filter(|id| Uuid::try_parse(id).is_ok()) {
        return Ok(id);
    }
    let id = Uuid::now_v7().to_string();
    make_folder(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::write(&path, &id).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(id)
}

fn problems(problems: Vec<Problem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {} {}", problem.field, problem.detail)).collect();
    anyhow::anyhow!("the recipe cannot be run:\n{}", lines.join("\n"))
}

fn print(outcome: &Outcome) -> anyhow::Result<()> {
    let metadata = &outcome.version.metadata;
    answer::line(&outcome.report)?;
    if let Some(calibration) = &metadata.calibration {
        let Calibration { temperature, images, error_before, error_after, loss_before, loss_after, .. } = calibration;
        answer::line(format_args!(
            "calibrated on {images} images: temperature {temperature:.3}; cross-validated, loss {loss_before:.4} before and \
             {loss_after:.4} after, calibration error {error_before:.4} before and {error_after:.4} after"
        ))?;
    }
    if let Some(test) = &outcome.test {
        answer::line(format_args!("on the test images, which nothing was chosen by:\n{test}"))?;
    }
    Ok(answer::line(format_args!(
        "{}@{}: epoch {} of phase {} was the best; try `graft predict --model {} PHOTO`",
        metadata.name,
        metadata.version,
        outcome.history[outcome.best].epoch + 1,
        outcome.history[outcome.best].phase + 1,
        metadata.name
    ))?)
}

/// Shows a run on stderr.
struct Display(Mutex<Shown>);

struct Shown {
    progress: Option<(String, Progress)>,
    steps: u64,
}

impl Shown {
    fn at(&mut self, what: String, done: u64, total: u64) {
        if self.progress.as_ref().is_none_or(|(shown, _)| *shown != what) {
            self.end();
            self.progress = Some((what.clone(), Progress::new(&what, Unit::Items)));
        }
        if let Some((_, progress)) = &mut self.progress {
            progress.set(done, Some(total));
        }
    }

    fn end(&mut self) {
        if let Some((_, progress)) = self.progress.take() {
            progress.finish();
        }
    }
}

impl Observer for Display {
    fn event(&self, event: Event) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = shown.steps;
        match event {
            Event::Resumed { at } => eprintln!("resuming at phase {}, epoch {}", at.phase + 1, at.epoch + 1),
            Event::Warning { detail, .. } => eprintln!("warning: {detail}"),
            Event::Caching { phase, done, total } => {
                shown.at(format!("phase {}: frozen layers", phase + 1), done as u64, total as u64);
            }
            Event::Step { at, .. } => shown.at(format!("phase {}, epoch {}", at.phase + 1, at.epoch + 1), at.step, steps),
            Event::Epoch(metrics) => {
                shown.end();
                let validation = match (metrics.val_loss, metrics.val_accuracy) {
                    (Some(loss), Some(accuracy)) => format!("  val_loss {loss:.4}  val_accuracy {accuracy:.4}"),
                    _ => String::new(),
                };
                eprintln!(
                    "phase {} epoch {:>3}  loss {:.4}  accuracy {:.4}{validation}  {:.0} images/s",
                    metrics.phase + 1,
                    metrics.epoch + 1,
                    metrics.loss,
                    metrics.accuracy,
                    metrics.images_per_second
                );
            }
            Event::Evaluating { .. } => {}
            Event::Exporting => shown.end(),
        }
    }

    fn flush(&self) {}

    fn checkpointed(&self, _at: Place) {}

    fn cancelled(&self) -> bool {
        false
    }
}
