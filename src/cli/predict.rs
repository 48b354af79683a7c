//! `graft predict`: classes of images, without a server.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::{
    Global, answer, batch,
    context::{block_on, engine, model_and_version, open},
    files,
};
use crate::{
    inference::{Class, Distance, ImageAnswer, OnError, Request},
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
};

/// Classify images, on the same code path as the server.
///
/// Files that are not images are listed and left out, and the exit status is then 2.
#[derive(Debug, Args)]
pub(super) struct Predict {
    /// Image files, or folders that are searched for images
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    scores: Scores,
    /// How many classes, or all where there are fewer [default: 5]
    #[arg(long)]
    top_k: Option<usize>,
    /// Print one JSON object per image
    #[arg(long)]
    json: bool,
}

/// Which model, and how it gets its images.
#[derive(Debug, Args)]
pub(super) struct ImageOptions {
    /// The model, NAME or NAME@VERSION [default: models.default if it is trained, else a trained one]
    #[arg(long, short)]
    model: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

/// How images become input, where the model's own way is not wanted.
#[derive(Debug, Args)]
pub(super) struct Overrides {
    /// nearest, bilinear or bicubic as Pillow does it, or opencv_bilinear [default: the model's]
    #[arg(long, value_name = "FILTER")]
    resize: Option<Resize>,
    /// none (values from 0 to 255, RGB), caffe, tf or torch [default: the model's]
    #[arg(long, value_name = "MODE")]
    preprocess: Option<Mode>,
    /// rgb or bgr; mean and scale move with their colour [default: the model's, or the mode's]
    #[arg(long, value_name = "ORDER")]
    channel_order: Option<ChannelOrder>,
    /// ignore or exif [default: the model's]
    #[arg(long)]
    orientation: Option<Orientation>,
}

/// Which scores a model gives.
#[derive(Debug, Args)]
pub(super) struct Scores {
    /// none: scores as they were trained, of a model that calibrates them
    #[arg(long, value_enum)]
    calibration: Option<CalibrationFlag>,
}

impl Scores {
    /// Whether they are to be as they were trained.
    pub(super) fn uncalibrated(&self) -> bool {
        self.calibration == Some(CalibrationFlag::None)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CalibrationFlag {
    None,
}

impl ImageOptions {
    /// A request for nothing yet.
    pub(super) fn request(&self) -> anyhow::Result<Request> {
        self.overrides.request(self.model.as_deref())
    }
}

impl Overrides {
    /// A request for nothing yet, of `model`: NAME or NAME@VERSION.
    pub(super) fn request(&self, model: Option<&str>) -> anyhow::Result<Request> {
        let (model, version) = match model.map(model_and_version).transpose()? {
            Some((model, version)) => (Some(model), version),
            None => (None, None),
        };
        Ok(Request {
            model,
            version,
            resize: self.resize,
            preprocess: self.preprocess,
            channel_order: self.channel_order,
            orientation: self.orientation,
            ..Request::default()
        })
    }
}

impl Predict {
    /// Fails when any image was left out, after answering for the others.
    pub(super) fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let config = global.config(&[])?;
        let files = files::images(&self.paths)?;
        let engine = engine(&config, open(&config)?)?;
        // One class is asked for where it is not known yet how many there are.
        let request = Request {
            top_k: Some(self.top_k.unwrap_or(1)),
            on_error: OnError::Skip,
            uncalibrated: self.scores.uncalibrated(),
            ..self.options.request()?
        };
        let plan = engine.plan(&request)?;
        let plan = if self.top_k.is_none() { plan.with_default_classes() } else { plan };
        plan.notes.iter().for_each(|note| answer::note(format_args!("{note}")));
        let bad = block_on(batch::each(&engine, &plan, &files, None, |path, image| self.print(path, &image)))??;
        if files.len() > 1 {
            answer::note(format_args!("{} images, {bad} left out", files.len() - bad));
        }
        Ok(batch::exit_code(bad))
    }

    fn print(&self, path: &Path, image: &ImageAnswer) -> anyhow::Result<()> {
        if self.json {
            let class = |class: &Class| serde_json::json!({"index": class.index, "label": class.label, "wnid": class.wnid, "score": class.score});
            let top_k: Vec<_> = image.top_k.iter().map(class).collect();
            let mut line = serde_json::json!({"image": path.display().to_string(), "top_k": top_k});
            if let Some(novelty @ Distance { distance, threshold }) = image.novelty {
                line["novelty"] = serde_json::json!({"distance": distance, "threshold": threshold, "novel": novelty.is_novel()});
            }
            answer::exact(line)?;
        } else {
            answer::line(path.display())?;
            for class in &image.top_k {
                answer::line(format_args!("  {:>7.3}%  {} ({})", class.score * 100.0, class.label, class.index))?;
            }
            if let Some(Distance { distance, threshold }) = image.novelty.filter(|novelty| novelty.is_novel()) {
                answer::line(format_args!(
                    "  novel: unlike the images that the model was trained on (distance {distance:.3}, threshold {threshold:.3})"
                ))?;
            }
        }
        image.warnings.iter().for_each(|warning| answer::note(format_args!("{}: {warning}", path.display())));
        Ok(())
    }
}
