//! What graft must be told about an ONNX classifier that it cannot read from the graph.
//!
//! From a TOML file beside the graph, from flags, or both: flags win field by field.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImportError;
use crate::{
    preprocess::{ChannelOrder, Fit, Mode, Orientation, Preprocessing, Resize},
    registry::{Assumption, OutputKind},
};

/// Settings of an ONNX import; what is absent has a default or is read from the graph.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxSettings {
    /// Input height and width in pixels; default: the graph's.
    pub input_size: Option<[u32; 2]>,
    /// Filter; default `bilinear`.
    pub resize: Option<Resize>,
    /// Resize the shorter side to this, then cut the centre out; without it both sides are stretched.
    pub shorter_side: Option<u32>,
    /// Shorthand for `channel_order`, `mean` and `scale`: `none`, `caffe`, `tf` or `torch`; default `torch`.
    pub mode: Option<Mode>,
    /// Order of the channels; default: the mode's.
    pub channel_order: Option<ChannelOrder>,
    /// Subtracted from 0–255 values, in `channel_order`; default: the mode's.
    pub mean: Option<[f32; 3]>,
    /// Multiplied after that, in `channel_order`; default: the mode's.
    pub scale: Option<[f32; 3]>,
    /// Whether EXIF orientation is applied; default `ignore`.
    pub orientation: Option<Orientation>,
    /// File of labels, relative to the TOML file: one per line, a JSON list, or Keras's class index.
    pub labels: Option<PathBuf>,
    /// The tensor of scores; default: the graph's output, where it has one.
    pub output_tensor: Option<String>,
    /// What its numbers are; default: what the operators that make them say, else what values they have. Once called `output`.
    #[serde(alias = "output")]
    pub output_kind: Option<OutputKind>,
    /// Layer that `/features` answers with; default: the input of the last Gemm, MatMul or Conv.
    pub features_layer: Option<String>,
}

/// Reads `FILE.toml` beside `FILE.onnx` when it is there; defaults otherwise.
///
/// # Errors
/// The file cannot be read, is no TOML, or has a key that is not a setting.
pub fn read_settings(onnx: &Path) -> Result<OnnxSettings, ImportError> {
    let path = onnx.with_extension("toml");
    if !path.is_file() {
        return Ok(OnnxSettings::default());
    }
    let refused = |source| ImportError::Settings { path: path.clone().into(), source };
    let text = std::fs::read_to_string(&path).map_err(|source| refused(source.into()))?;
    let mut settings: OnnxSettings = toml::from_str(&text).map_err(|source| refused(source.into()))?;
    if let (Some(labels), Some(folder)) = (&settings.labels, path.parent()) {
        settings.labels = Some(folder.join(labels));
    }
    Ok(settings)
}

impl OnnxSettings {
    /// These settings, with `flags` winning where they say something.
    pub fn overridden_by(self, flags: Self) -> Self {
        Self {
            input_size: flags.input_size.or(self.input_size),
            resize: flags.resize.or(self.resize),
            shorter_side: flags.shorter_side.or(self.shorter_side),
            mode: flags.mode.or(self.mode),
            channel_order: flags.channel_order.or(self.channel_order),
            mean: flags.mean.or(self.mean),
            scale: flags.scale.or(self.scale),
            orientation: flags.orientation.or(self.orientation),
            labels: flags.labels.or(self.labels),
            output_tensor: flags.output_tensor.or(self.output_tensor),
            output_kind: flags.output_kind.or(self.output_kind),
            features_layer: flags.features_layer.or(self.features_layer),
        }
    }

    /// The preprocessing for an input of `height` × `width`: `own`, the file's, where these settings say nothing else.
    pub(in crate::registry) fn preprocessing(&self, own: Option<Preprocessing>, height: u32, width: u32) -> Preprocessing {
        let assumed = || Preprocessing { resize: Resize::Bilinear, ..Preprocessing::keras(Mode::Torch, height, width) };
        let own = own.unwrap_or_else(assumed);
        let mode = self.mode.map_or_else(|| own.clone(), |mode| own.clone().with_mode(mode));
        Preprocessing {
            height,
            width,
            resize: self.resize.unwrap_or(own.resize),
            fit: self.shorter_side.map_or(own.fit, |shorter_side| Fit::CenterCrop { shorter_side }),
            channel_order: self.channel_order.unwrap_or(mode.channel_order),
            mean: self.mean.unwrap_or(mode.mean),
            scale: self.scale.unwrap_or(mode.scale),
            orientation: self.orientation.unwrap_or(own.orientation),
            ..mode
        }
    }

    /// What [`Self::preprocessing`] takes for granted where the file says nothing.
    pub(in crate::registry) fn assumed_preprocessing(&self) -> Vec<Assumption> {
        let mut assumed = Vec::new();
        if self.mode.is_none() && (self.mean.is_none() || self.scale.is_none()) {
            assumed.push(Assumption::new("mode", "torch (RGB, less ImageNet's mean, over its deviation)"));
        }
        if self.resize.is_none() {
            assumed.push(Assumption::new("resize", "bilinear"));
        }
        if self.shorter_side.is_none() {
            assumed.push(Assumption::new("shorter_side", "none (both sides are stretched)"));
        }
        assumed
    }
}
