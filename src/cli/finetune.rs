//! `graft finetune`: teaches a model the classes of a folder, without a server.
//!
//! The same recipe, trainer and checks as `POST /jobs/finetune`; a run that was interrupted goes on when it is given again.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;
use clap::Args;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Global, answer,
    context::open,
    progress::{Progress, Unit},
    read_as::ReadAsFlags,
};
use crate::{
    datasets::Datasets,
    finetuning::{Finetuned, Finetuner, Place, Publication},
    inference::{Engine, Settings},
    message::{FieldProblem, word},
    preprocess::Limits,
    registry::{Calibration, make_folder},
    runtime::Runtime,
    training::{
        Samples,
        event::{self, Event, Observer},
        recipe::{Preset, Publish, Recipe, Request, Validation},
    },
    work::lower_priority,
};

/// Teach a model new classes from a folder of labelled photos.
///
/// The folder holds a folder per class, or `train/`, `val/` and `test/` (under any of their usual names) with these; what is in
/// `test/` is measured once, at the end. Without a recipe there are
/// two phases: the new head alone, then the head with the top blocks.
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
    /// Use Keras's usual recipe for whatever the recipe file leaves out; the same as `"recipe": "keras"` in that file
    #[arg(long)]
    keras: bool,
    /// Take the name of a model with other labels
    #[arg(long)]
    replace: bool,
    /// Whether the result answers requests without a version where the name exists: if_better, always or never [default: if_better]
    #[arg(long, value_parser = word::<Publish>)]
    publish: Option<Publish>,
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
        // What the request alone shows is said before the folder is copied.
        let request = self.request()?;
        let found = request.check();
        if !found.is_empty() {
            return Err(problems(found));
        }
        let runtime = Runtime::open(&config.runtime)?;
        let engine = Engine::new(runtime.clone(), repository.clone(), Settings::of(&config))?;
        let finetuner = Finetuner::new(runtime, repository, engine, &config);
        let (base, notes) = finetuner.base(&request).map_err(unusable_base)?;
        notes.iter().for_each(|note| answer::note(format_args!("{note}")));
        answer::note(format_args!("reading {}", self.folder.display()));
        let datasets = Datasets::open(config.datasets.clone(), &config.data.dir, Limits::from(&config.images))?;
        let dataset = datasets.copy_folder(&self.folder, self.read_as.into())?;
        for skipped in &dataset.skipped {
            answer::note(format_args!("left out {}: {}", skipped.path, skipped.reason));
        }
        let samples = Samples::from(&*dataset);
        let recipe = finetuner.resolve(&request, &base, &samples).map_err(problems)?;
        announce(&recipe);
        if self.dry_run {
            return Ok(answer::exact(serde_json::to_string_pretty(&recipe)?)?);
        }
        let found = finetuner.untrainable(&base, &recipe);
        if !found.is_empty() {
            return Err(problems(found));
        }
        let folder = config.data.dir.join("runs").join(identity(&recipe)?);
        let place = Place { folder: &folder.join("checkpoints"), job: &run_id(&folder)?, lease: 0 };
        lower_priority(config.jobs.nice);
        let display = Display(Mutex::new(Shown { progress: None, steps: recipe.steps_per_epoch }));
        let made = finetuner.train(&base, &recipe, &samples, place, &display)?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        print(&made)
    }

    /// The file's request, with the flags in their place.
    fn request(&self) -> anyhow::Result<Request> {
        let mut request = match &self.recipe {
            None => Request::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| unread(path))?;
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
        request.replace = self.replace.then_some(true).or(request.replace);
        request.publish = self.publish.map(Into::into).or(request.publish);
        if self.keras {
            request.recipe = Some(Preset::Keras.into());
        }
        Ok(request)
    }
}

/// Why there is no recipe; the name of one is no file.
fn unread(path: &Path) -> String {
    let hint = if path == Path::new("keras") { "; `--keras` is Keras's own recipe" } else { "" };
    format!("cannot read {}{hint}", path.display())
}

/// Says what is going to be done, before it is.
fn announce(recipe: &Recipe) {
    let Validation { train, val, test, classes, .. } = &recipe.validation;
    answer::note(format_args!(
        "{} classes; {train} images to train on, {val} to validate on, {test} for the test at the end",
        classes.len()
    ));
    recipe.warnings.iter().for_each(|warning| answer::note(format_args!("warning: {warning}")));
}

/// The same recipe is the same run: one that was interrupted goes on.
fn identity(recipe: &Recipe) -> anyhow::Result<String> {
    let mut recipe = recipe.clone();
    // Where the images lay does not matter; what they are, the fingerprint tells.
    recipe.dataset.clear();
    // Nor does what is to be known of it: that changes with the repository.
    recipe.warnings.clear();
    let hash = Sha256::digest(serde_json::to_vec(&recipe)?);
    Ok(hex::encode(&hash[..16]))
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

fn unusable_base(FieldProblem { field, detail }: FieldProblem) -> anyhow::Error {
    let lists = "`graft models` lists what is there, `graft pull --list` what can be downloaded";
    problems(vec![FieldProblem { field, detail: format!("{detail} ({lists})") }])
}

fn problems(problems: Vec<FieldProblem>) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {} {}", problem.field, problem.detail)).collect();
    anyhow::anyhow!("the recipe cannot be run:\n{}", lines.join("\n"))
}

fn print(made: &Finetuned) -> anyhow::Result<()> {
    let Finetuned { model, version, publication, best, report, calibration, test, warnings, .. } = made;
    answer::lines(report)?;
    if let Some(calibration) = calibration {
        let Calibration { temperature, images, error_before, error_after, loss_before, loss_after, .. } = calibration;
        answer::line(format_args!(
            "calibrated on {images} images: temperature {temperature:.3}; cross-validated, loss {loss_before:.4} before and \
             {loss_after:.4} after, calibration error {error_before:.4} before and {error_after:.4} after"
        ))?;
    }
    if let Some(test) = test {
        answer::lines(format_args!("on the test images, which nothing was chosen by:\n{test}"))?;
    }
    for warning in warnings {
        answer::line(format_args!("warning: {warning}"))?;
    }
    answer::line(format_args!("{model}@{version}: epoch {} of phase {} was the best", best.epoch, best.phase))?;
    let Publication { served, detail, .. } = publication;
    let made = format!("{model}@{version}");
    let (answers, named) = if *served { ("answers", model) } else { ("does not answer", &made) };
    Ok(answer::line(format_args!(
        "{made} {answers} requests for {model} without a version: {detail}; try `graft predict --model {named} PHOTO`"
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
            Event::Resumed { at } => answer::note(format_args!("resuming at phase {}, epoch {}", at.phase + 1, at.epoch + 1)),
            Event::CacheTooSmall { detail, .. } | Event::Warning { detail, .. } => {
                shown.end();
                answer::note(format_args!("warning: {detail}"));
            }
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
                answer::note(format_args!(
                    "phase {} epoch {:>3}  loss {:.4}  accuracy {:.4}{validation}  {:.0} images/s",
                    metrics.phase + 1,
                    metrics.epoch + 1,
                    metrics.loss,
                    metrics.accuracy,
                    metrics.images_per_second
                ));
            }
            Event::Evaluating { .. } => {}
            Event::Exporting => shown.end(),
        }
    }

    fn flush(&self) {}

    fn checkpointed(&self, _at: event::Position) {}

    fn cancelled(&self) -> bool {
        false
    }
}
