//! `graft evaluate`: how good a model is on a folder of labelled photos, which are read where they lie.
//!
//! Classifies as `graft predict` does and counts as fine-tuning does.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};

use super::{
    Global, answer,
    batch::{self, BATCH},
    context::{block_on, engine, open},
    predict::{Overrides, Scores},
    progress::{Progress, Unit},
    read_as::ReadAsFlags,
};
use crate::{
    datasets::{LabelledFolder, LabelledImage, Skipped, Split},
    finetuning::{Evaluation, Truths},
    inference::{Engine, ImageAnswer, OnError, Plan, Request},
    message::Listed,
    registry::Label,
};

/// How many of the files that are no candidates are named.
const SHOWN: usize = 20;

/// Report how good a model is on a folder of labelled photos.
///
/// The folder holds a folder per class, or `train/`, `val/` and `test/` (under any of their usual names) with these. A class
/// folder is called as the class's label, its WordNet id or its index; not every class needs one. Files that are not images are listed
/// and left out.
#[derive(Debug, Args)]
pub(super) struct Evaluate {
    /// The model, NAME or NAME@VERSION
    model: String,
    /// Folder of class folders
    folder: PathBuf,
    /// Which images, where folders of splits lie over or under the classes [default: val, else test]
    #[arg(long, value_enum)]
    split: Option<SplitFlag>,
    #[command(flatten)]
    read_as: ReadAsFlags,
    /// Print one JSON object, with the whole confusion matrix
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    scores: Scores,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SplitFlag {
    Train,
    Val,
    Test,
    All,
}

impl SplitFlag {
    fn takes(self, split: Split) -> bool {
        match self {
            Self::Train => split == Split::Train,
            Self::Val => split == Split::Val,
            Self::Test => split == Split::Test,
            Self::All => true,
        }
    }

    /// As it is written.
    fn word(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
            Self::All => "all",
        }
    }
}

impl Evaluate {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let engine = engine(&config, open(&config)?)?;
        let request = Request {
            top_k: Some(1),
            on_error: OnError::Skip,
            uncalibrated: self.scores.uncalibrated(),
            ..self.overrides.request(Some(&self.model))?
        };
        let mut plan = engine.plan(&request)?;
        // One class is asked for where it is not known yet how many there are; the report needs all of them.
        let labels = plan.version.metadata.labels.clone();
        plan.top_k = Some(labels.len());
        let folder = LabelledFolder::read(&self.folder, self.read_as.into())?;
        let truths = self.truths(&folder, &plan.model().name, &labels)?;
        let (images, split) = self.images(&folder)?;
        self.announce(&plan, &folder, images.len(), split);
        let names: Vec<String> = labels.into_iter().map(|label| label.label).collect();
        let mut run = Run { evaluation: Evaluation::new(&truths, &names), turned: 0 };
        block_on(run.all(&engine, &plan, &images))??;
        let Run { evaluation, turned } = run;
        if turned > 0 {
            answer::note(format_args!(
                "{turned} images carry an EXIF orientation that was ignored; `--orientation exif` applies it"
            ));
        }
        let evaluated = evaluation.finish(plan.model(), split.map(SplitFlag::word), &folder.skipped);
        if evaluated.report.images == 0 {
            bail!("none of the {} files is an image that can be read", images.len());
        }
        Ok(match self.json {
            true => answer::exact(serde_json::to_string(&evaluated)?),
            false => answer::lines(evaluated.report.to_string().trim_end()),
        }?)
    }

    /// The model's class of every class folder.
    fn truths(&self, folder: &LabelledFolder, model: &str, labels: &[Label]) -> anyhow::Result<Truths> {
        Truths::of(folder.classes.iter().map(String::as_str), labels).map_err(|wrong| {
            let lines: Vec<String> = wrong.first().iter().map(|line| format!("\n  {line}")).collect();
            let more = wrong.count() - wrong.first().len();
            let more = if more > 0 { format!("\n  … and {more} more") } else { String::new() };
            anyhow!(
                "not every folder of {} stands for a class of {model}:{}{more}\nits classes are {}; rename those folders, or move them away",
                self.folder.display(),
                lines.concat(),
                Listed::of(labels.iter().map(|label| &label.label))
            )
        })
    }

    /// The images that are asked for, and the split that they are, if there are any.
    fn images<'a>(&self, folder: &'a LabelledFolder) -> anyhow::Result<(Vec<&'a LabelledImage>, Option<SplitFlag>)> {
        let shown = self.folder.display();
        let with = |split: SplitFlag| folder.images.iter().filter(move |image| split.takes(image.split));
        let split = match (folder.has_splits, self.split) {
            (true, Some(wanted)) => Some(wanted),
            (true, None) => {
                // Never those that a model was trained on, unless they are asked for.
                let preferred = [SplitFlag::Val, SplitFlag::Test];
                Some(preferred.into_iter().find(|split| with(*split).next().is_some()).unwrap_or(SplitFlag::Val))
            }
            (false, None | Some(SplitFlag::All)) => None,
            (false, Some(_)) => bail!("{shown} has no folders of splits, such as `train/` and `val/`; leave out `--split`"),
        };
        let images: Vec<_> = with(split.unwrap_or(SplitFlag::All)).collect();
        if !images.is_empty() {
            return Ok((images, split));
        }
        let others =
            [SplitFlag::Train, SplitFlag::Val, SplitFlag::Test].into_iter().filter(|split| with(*split).next().is_some());
        let others: Vec<String> = others.map(|split| format!("`--split {}`", split.word())).collect();
        match split {
            Some(split) if !others.is_empty() => {
                bail!("{shown} has no images of the split `{}`; there are some for {}", split.word(), others.join(" and "))
            }
            _ => bail!(
                "{shown} has no images in class folders; it must hold a folder per class, or `train/` and `val/` with these"
            ),
        }
    }

    /// Says what is going to be done, before anything is.
    fn announce(&self, plan: &Plan, folder: &LabelledFolder, images: usize, split: Option<SplitFlag>) {
        let model = plan.model();
        if !model.pretrained {
            answer::note(format_args!("{} has UNTRAINED weights (pretrained: false): this report means nothing", model.name));
        }
        for Skipped { path, reason } in folder.skipped.iter().take(SHOWN) {
            answer::note(format_args!("left out {path}: {reason}"));
        }
        if folder.skipped.len() > SHOWN {
            answer::note(format_args!(
                "left out {} more files like these; `--json` lists them all",
                folder.skipped.len() - SHOWN
            ));
        }
        folder.warnings.iter().for_each(|warning| answer::note(format_args!("warning: {warning}")));
        let of = split.map_or_else(String::new, |split| match split {
            SplitFlag::All => " of all splits".to_owned(),
            split => format!(" of {}", split.word()),
        });
        let others = if split.is_some() && self.split.is_none() { "; `--split` takes others" } else { "" };
        answer::note(format_args!("evaluating {}@{} on {images} images{of}{others}", model.name, model.version));
    }
}

/// An evaluation in progress.
struct Run<'a> {
    evaluation: Evaluation<'a>,
    /// Images whose EXIF orientation was ignored.
    turned: u64,
}

impl Run<'_> {
    async fn all(&mut self, engine: &Engine, plan: &Plan, images: &[&LabelledImage]) -> anyhow::Result<()> {
        let mut progress = Progress::new("evaluating", Unit::Items);
        let (mut done, total) = (0, images.len() as u64);
        for images in images.chunks(BATCH) {
            let files: Vec<PathBuf> = images.iter().map(|image| image.file.clone()).collect();
            for (image, answer) in images.iter().zip(batch::run(engine, plan, &files).await?) {
                match answer {
                    Ok(answer) => self.count(image, &answer),
                    Err(reason) => {
                        progress.note(&format!("left out {}: {reason}", image.path));
                        self.evaluation.skip(&image.path, reason);
                    }
                }
            }
            done += files.len();
            progress.set(done as u64, Some(total));
        }
        progress.finish();
        Ok(())
    }

    fn count(&mut self, image: &LabelledImage, answer: &ImageAnswer) {
        let mut probabilities = vec![0.0; answer.top_k.len()];
        answer.top_k.iter().for_each(|class| probabilities[class.index] = class.score);
        self.evaluation.count(&image.path, image.class, &probabilities, answer.novelty.map(|novelty| novelty.is_novel()));
        self.turned += u64::from(!answer.warnings.is_empty());
    }
}
