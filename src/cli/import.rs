//! `graft import`: a weight file of Keras or PyTorch, or a user's ONNX classifier.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{Global, answer, examine::examine_apart};
use crate::{
    graph::InputLayout,
    preprocess::{ChannelOrder, Mode, Orientation, Resize},
    registry::{self, ModelVersion, OnnxSettings, Output, OutputKind, read_settings},
    runtime::Runtime,
    weights,
};

/// Import weights as a new version of a model.
///
/// Keras: `graft import vgg16 vgg16_weights.h5`. Reads the published HDF5 files, `model.save_weights("x.weights.h5")` and
/// whole models saved as .h5, with and without top.
///
/// PyTorch: `graft import efficientnet_lite0 efficientnet_lite0.safetensors`, a state dict with PyTorch's names and layouts.
///
/// ONNX: `graft import flowers.onnx --name flowers --mode torch --shorter-side 256 --labels flowers.txt`. The same settings
/// can stand in flowers.toml beside the file, with `_` for `-`; flags win.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// vgg16, inception_v3, efficientnet_lite0, or the path of an ONNX classifier
    what: String,
    /// The weight file, for an architecture: HDF5 of Keras, or safetensors of PyTorch
    file: Option<PathBuf>,
    /// Name of the model [default: the architecture's, with `_notop` without the classifier; required for ONNX]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    onnx: OnnxFlags,
}

/// How an ONNX classifier wants its images, and what it answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "ONNX classifiers")]
struct OnnxFlags {
    /// Input height and width, where the graph leaves them open
    #[arg(long, value_name = "HEIGHT,WIDTH", value_parser = numbers::<u32, 2>)]
    input_size: Option<[u32; 2]>,
    /// Where the input's channels are, when the graph does not show it: nchw (PyTorch) or nhwc (TensorFlow)
    #[arg(long, value_name = "LAYOUT", value_parser = input_layout)]
    input_layout: Option<InputLayout>,
    /// nearest, bilinear or bicubic, as Pillow does it, or opencv_bilinear [default: bilinear]
    #[arg(long, value_name = "FILTER")]
    resize: Option<Resize>,
    /// Resize the shorter side to this and cut the centre out, instead of stretching
    #[arg(long, value_name = "PIXELS")]
    shorter_side: Option<u32>,
    /// Shorthand for the next three: none, caffe, tf or torch [default: torch]
    #[arg(long)]
    mode: Option<Mode>,
    /// rgb or bgr; grey for one channel, as Pillow's convert("L")
    #[arg(long, value_name = "ORDER")]
    channel_order: Option<ChannelOrder>,
    /// Subtracted from 0–255 values, in channel order; one number for all channels
    #[arg(long, value_name = "A,B,C", value_parser = per_channel, allow_hyphen_values = true)]
    mean: Option<[f32; 3]>,
    /// Multiplied after that, likewise
    #[arg(long, value_name = "A,B,C", value_parser = per_channel, allow_hyphen_values = true)]
    scale: Option<[f32; 3]>,
    /// Whether EXIF orientation is applied: ignore or exif [default: ignore]
    #[arg(long)]
    orientation: Option<Orientation>,
    /// One label per line, a JSON list, or Keras's class index
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The tensor of scores, where the graph has several outputs
    #[arg(long, value_name = "NAME")]
    output_tensor: Option<String>,
    /// What its numbers are: logits, probabilities, log-probabilities, independent or independent-logits (a sigmoid per class),
    /// binary or binary-logit (one number for two classes) [default: as the graph says, else by its values]
    #[arg(long, value_name = "KIND", alias = "output")]
    output_kind: Option<OutputKind>,
    /// Layer for /features without `layer=` [default: the input of the last Gemm, MatMul or Conv]
    #[arg(long, value_name = "LAYER")]
    features_layer: Option<String>,
}

impl Import {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let version = match &self.file {
            Some(file) => self.keras(global, file)?,
            None if crate::arch::NAMES.contains(&self.what.as_str()) => {
                bail!(
                    "which file? `graft import {0} FILE` reads a weight file; `graft pull {0}` downloads the published one",
                    self.what
                )
            }
            None => self.onnx(global)?,
        };
        report(&version)
    }

    fn keras(&self, global: &Global, file: &Path) -> anyhow::Result<ModelVersion> {
        let kind = if weights::pytorch::is_safetensors(file) { "pytorch" } else { "keras" };
        let source = format!("{kind}:{}", file.file_name().unwrap_or_default().to_string_lossy());
        let config = global.config(&[])?;
        examine_apart(&config);
        let repository = super::context::open(&config)?;
        registry::import_keras(&repository, self.name.as_deref(), &self.what, file, source)
            .with_context(|| format!("cannot import {} as {}", file.display(), self.what))
    }

    fn onnx(&self, global: &Global) -> anyhow::Result<ModelVersion> {
        let file = Path::new(&self.what);
        if !file.is_file() {
            bail!("`{}` is neither an architecture ({}) nor a file", self.what, crate::arch::NAMES.join(", "));
        }
        let Some(name) = &self.name else { bail!("an ONNX model needs a name: `graft import {} --name NAME`", self.what) };
        let config = global.config(&[])?;
        examine_apart(&config);
        let runtime = Runtime::open(&config.runtime)?;
        let settings = read_settings(file)?.overridden_by(self.onnx.settings());
        let repository = super::context::open(&config)?;
        registry::import_onnx(&repository, &runtime, name, file, &settings)
            .with_context(|| format!("cannot import {}", file.display()))
    }
}

impl OnnxFlags {
    fn settings(&self) -> OnnxSettings {
        OnnxSettings {
            input_size: self.input_size,
            input_layout: self.input_layout,
            resize: self.resize,
            shorter_side: self.shorter_side,
            mode: self.mode,
            channel_order: self.channel_order,
            mean: self.mean,
            scale: self.scale,
            orientation: self.orientation,
            labels: self.labels.clone(),
            output_tensor: self.output_tensor.clone(),
            output_kind: self.output_kind,
            features_layer: self.features_layer.clone(),
        }
    }
}

/// `N` numbers with commas between them.
fn numbers<T: std::str::FromStr, const N: usize>(text: &str) -> Result<[T; N], String> {
    let number = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is not a number"));
    let numbers = text.split(',').map(number).collect::<Result<Vec<T>, _>>()?;
    numbers
        .try_into()
        .map_err(|numbers: Vec<T>| format!("{N} numbers with commas between them are needed, got {}", numbers.len()))
}

/// One number for every channel, or one each.
fn per_channel(text: &str) -> Result<[f32; 3], String> {
    let number = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is no number"));
    let numbers = text.split(',').map(number).collect::<Result<Vec<f32>, _>>()?;
    registry::per_channel(&numbers).ok_or_else(|| format!("{}, got {}", registry::PER_CHANNEL, numbers.len()))
}

fn input_layout(text: &str) -> Result<InputLayout, String> {
    match text {
        "nchw" => Ok(InputLayout::Nchw),
        "nhwc" => Ok(InputLayout::Nhwc),
        _ => Err(format!("`{text}` is neither `nchw` nor `nhwc`")),
    }
}

/// Says on stdout what was published.
pub(super) fn report(version: &ModelVersion) -> anyhow::Result<()> {
    let metadata = &version.metadata;
    let trained = if metadata.pretrained { "" } else { " — UNTRAINED weights: answers mean nothing" };
    answer::line(format_args!(
        "{} version {}: {} layers, {} classes, {:.1} MB of weights{trained}",
        metadata.name,
        metadata.version,
        metadata.layers.len(),
        metadata.labels.len(),
        metadata.weights.bytes as f64 / 1e6
    ))?;
    // Keras's and graft's own leave nothing open.
    if metadata.architecture == "onnx"
        && let Some(Output { kind, found_by, .. }) = &metadata.output
    {
        let layer =
            metadata.layers.iter().find(|layer| metadata.output.as_ref().is_some_and(|output| output.tensor == layer.tensor));
        let name = layer.map_or("", |layer| layer.name.as_str());
        answer::line(format_args!("output `{name}`: {kind}, {found_by}"))?;
    }
    for assumption in &metadata.assumptions {
        answer::line(assumption)?;
    }
    Ok(())
}
