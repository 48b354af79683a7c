//! `graft predict`: classes of images, without a server.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{
    Global, answer,
    context::{block_on, engine, model_and_version, open},
};
use crate::{
    inference::{Image, Request},
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
};

/// Classes per image unless told otherwise, as over HTTP.
const DEFAULT_TOP_K: usize = 5;

/// Classify images, on the same code path as the server.
#[derive(Debug, Args)]
pub(super) struct Predict {
    /// Image files
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    options: ImageOptions,
    /// How many classes [default: 5, or all where there are fewer]
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
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let engine = engine(&config, open(&config)?)?;
        let request = Request { top_k: Some(self.top_k.unwrap_or(1)), ..self.options.request()? };
        let mut plan = engine.plan(&request)?;
        if self.top_k.is_none() {
            plan.top_k = Some(DEFAULT_TOP_K.min(plan.version.metadata.labels.len()));
        }
        plan.notes.iter().for_each(|note| eprintln!("{note}"));
        block_on(async {
            for path in &self.images {
                let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                let answer = engine.run(plan.clone(), vec![Image { bytes: bytes.into() }]).await;
                let answer = answer.map_err(unwrap_single).with_context(|| path.display().to_string())?;
                for image in answer.images.iter().flatten() {
                    self.print(path, image)?;
                }
            }
            anyhow::Ok(())
        })?
    }

    fn print(&self, path: &std::path::Path, image: &crate::inference::ImageAnswer) -> anyhow::Result<()> {
        if self.json {
            let class = |class: &crate::inference::Class| serde_json::json!({"index": class.index, "label": class.label, "wnid": class.wnid, "score": class.score});
            let top_k: Vec<_> = image.top_k.iter().map(class).collect();
            answer::line(serde_json::json!({"image": path.display().to_string(), "top_k": top_k}))?;
        } else {
            answer::line(path.display())?;
            for class in &image.top_k {
                answer::line(format_args!("  {:>7.3}%  {} ({})", class.score * 100.0, class.label, class.index))?;
            }
        }
        image.warnings.iter().for_each(|warning| eprintln!("{}: {warning}", path.display()));
        Ok(())
    }
}

/// Says what is wrong with the one image of a request, instead of that one is bad.
fn unwrap_single(error: crate::inference::Error) -> anyhow::Error {
    match error {
        crate::inference::Error::BadImages(mut bad) if bad.len() == 1 => bad.remove(0).1.into(),
        other => other.into(),
    }
}
