//! What graft must be told about an ONNX classifier that it cannot read from the graph.
//!
//! From a TOML file beside the graph, from flags, or both: flags win field by field.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ImportError;
use crate::{
    graph::InputLayout,
    preprocess::{ChannelOrder, Fit, Mode, Orientation, Preprocessing, Resize},
    registry::{Assumption, OutputKind},
};

/// Settings of an ONNX import; what is absent has a default or is read from the graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OnnxSettings {
    /// Input height and width in pixels; default: the graph's.
    pub input_size: Option<[u32; 2]>,
    /// Where the input's channels are: `nchw` or `nhwc`; default: as the graph shows.
    pub input_layout: Option<InputLayout>,
    /// Filter; default `bilinear`.
    pub resize: Option<Resize>,
    /// Resize the shorter side to this, then cut the centre out; without it both sides are stretched.
    pub shorter_side: Option<u32>,
    /// Shorthand for `channel_order`, `mean` and `scale`: `none`, `caffe`, `tf` or `torch`; default `torch`.
    pub mode: Option<Mode>,
    /// Order of the channels, `grey` for one; default: the mode's.
    pub channel_order: Option<ChannelOrder>,
    /// Subtracted from 0–255 values, in `channel_order`, one value for all or one each; default: the mode's.
    #[serde(default, deserialize_with = "one_or_each")]
    pub mean: Option<[f32; 3]>,
    /// Multiplied after that, likewise; default: the mode's.
    #[serde(default, deserialize_with = "one_or_each")]
    pub scale: Option<[f32; 3]>,
    /// Whether EXIF orientation is applied; default `ignore`.
    pub orientation: Option<Orientation>,
    /// File of labels, relative to the TOML file: one per line, a JSON list, or Keras's class index.
    #[schema(value_type = Option<String>)]
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
            input_layout: flags.input_layout.or(self.input_layout),
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
            integer: own.integer,
        }
    }

    /// What [`Self::preprocessing`] takes for granted where the file says nothing; `usual` is the mode that it has then.
    pub(in crate::registry) fn assumed_preprocessing(&self, usual: &str) -> Vec<Assumption> {
        let mut assumed = Vec::new();
        if self.mode.is_none() && (self.mean.is_none() || self.scale.is_none()) {
            assumed.push(Assumption::new("mode", usual));
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

/// One number for every channel, or a list of one or three.
fn one_or_each<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<[f32; 3]>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(f32),
        Each(Vec<f32>),
    }
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Given::One(value)) => Ok(Some([value; 3])),
        Some(Given::Each(values)) => per_channel(&values).map(Some).ok_or_else(|| serde::de::Error::custom(PER_CHANNEL)),
    }
}

/// What a mean or a scale is.
pub const PER_CHANNEL: &str = "a mean or scale is one number, or three with commas between them";

/// One value for every channel, or one each.
pub fn per_channel(values: &[f32]) -> Option<[f32; 3]> {
    match *values {
        [value] => Some([value; 3]),
        [first, second, third] => Some([first, second, third]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_one_number_or_three() {
        let read = |text: &str| toml::from_str::<OnnxSettings>(text).map(|settings| settings.mean);
        assert_eq!(read("mean = 127.5"), Ok(Some([127.5; 3])));
        assert_eq!(read("mean = [1, 2.5, 3]"), Ok(Some([1.0, 2.5, 3.0])));
        assert_eq!(read("input_layout = \"nhwc\""), Ok(None));
        assert!(read("mean = [1, 2]").is_err());
    }

    #[test]
    fn the_old_name_of_a_setting_is_read() {
        let read = |text: &str| toml::from_str::<OnnxSettings>(text).ok().and_then(|settings| settings.output_kind);
        assert_eq!(read("output = \"logits\""), Some(OutputKind::Logits));
        assert_eq!(read("output_kind = \"log_probabilities\""), Some(OutputKind::LogProbabilities));
        assert_eq!(read("output_kind = \"softmax\""), None);
    }

    #[test]
    fn a_file_s_own_preprocessing_gives_way_field_by_field() {
        let own = Preprocessing { fit: Fit::CenterCrop { shorter_side: 256 }, ..Preprocessing::keras(Mode::Caffe, 224, 224) };
        let check = |settings: OnnxSettings, expected: Preprocessing| {
            assert_eq!(settings.preprocessing(Some(own.clone()), 224, 224), expected);
        };
        check(OnnxSettings::default(), own.clone());
        check(OnnxSettings { mean: Some([1.0; 3]), ..Default::default() }, Preprocessing { mean: [1.0; 3], ..own.clone() });
        check(OnnxSettings { mode: Some(Mode::Tf), ..Default::default() }, own.clone().with_mode(Mode::Tf));
        let plain = OnnxSettings::default().preprocessing(None, 8, 8);
        assert_eq!(plain, Preprocessing { resize: Resize::Bilinear, ..Preprocessing::keras(Mode::Torch, 8, 8) });
    }
}
