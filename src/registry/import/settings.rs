//! What graft must be told about an ONNX classifier that it cannot read from the graph.
//!
//! From a TOML file beside the graph, from flags, or both: flags win field by field.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImportError;
use crate::{
    preprocess::{ChannelOrder, Fit, Mode, Orientation, Preprocessing, Resize},
    registry::OutputKind,
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
    /// Whether the output is `logits` or `probabilities`; default: probabilities after a Softmax.
    pub output: Option<OutputKind>,
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
    let refused = |source| ImportError::Settings { path: path.clone(), source };
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
            output: flags.output.or(self.output),
            features_layer: flags.features_layer.or(self.features_layer),
        }
    }

    /// The preprocessing for an input of `height` × `width`.
    pub(in crate::registry) fn preprocessing(&self, height: u32, width: u32) -> Preprocessing {
        let mode = Preprocessing::keras(self.mode.unwrap_or(Mode::Torch), height, width);
        Preprocessing {
            resize: self.resize.unwrap_or(Resize::Bilinear),
            fit: self.shorter_side.map_or(Fit::Stretch, |shorter_side| Fit::CenterCrop { shorter_side }),
            channel_order: self.channel_order.unwrap_or(mode.channel_order),
            mean: self.mean.unwrap_or(mode.mean),
            scale: self.scale.unwrap_or(mode.scale),
            orientation: self.orientation.unwrap_or(Orientation::Ignore),
            ..mode
        }
    }
}
