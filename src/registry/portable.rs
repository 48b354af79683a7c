//! What an exported ONNX file says of its version, as properties that any ONNX tool keeps: written here and read here.
//!
//! Values are JSON, as in `metadata.json`. Knows no graph.

use serde::de::DeserializeOwned;

use super::{Calibration, Label, Layer, Lineage, Metadata, Output, files::FORMAT};
use crate::preprocess::Preprocessing;

/// What every key begins with.
pub const PREFIX: &str = "graft.";

/// Keys of an export without which it is none, or that say how its images and numbers are to be read.
const KEYS: [&str; 9] =
    ["architecture", "preprocessing", "labels", "layers", "features_layer", "pretrained", "output", "calibration", "lineage"];

/// What an export says of the version that it holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exported {
    pub(super) architecture: String,
    pub(super) preprocessing: Preprocessing,
    pub(super) output: Option<Output>,
    pub(super) labels: Vec<Label>,
    pub(super) layers: Vec<Layer>,
    pub(super) features_layer: String,
    pub(super) pretrained: bool,
    pub(super) calibration: Option<Calibration>,
    pub(super) lineage: Option<Lineage>,
}

/// A property that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the property `{PREFIX}{key}` of the file {problem}; export the model again, or take the properties out of the file")]
pub struct PropertyError {
    key: &'static str,
    problem: String,
}

impl Metadata {
    /// Properties for an ONNX file of this version, from which an import makes the same version again.
    pub fn properties(&self) -> Vec<(String, String)> {
        let json = |value: Result<serde_json::Value, _>| value.expect("metadata are plain data").to_string();
        let mut properties = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("format", FORMAT.to_string()),
            ("model", format!("{}@{}", self.name, self.version)),
            ("created", self.created.clone()),
            ("architecture", self.architecture.clone()),
            ("preprocessing", json(serde_json::to_value(&self.preprocessing))),
            ("labels", json(serde_json::to_value(&self.labels))),
            ("layers", json(serde_json::to_value(&self.layers))),
            ("features_layer", self.features_layer.clone()),
            ("pretrained", self.pretrained.to_string()),
            ("weights", json(serde_json::to_value(&self.weights))),
        ];
        properties.extend(self.output.iter().map(|output| ("output", json(serde_json::to_value(output)))));
        let calibration = self.calibration.iter().map(|calibration| ("calibration", json(serde_json::to_value(calibration))));
        properties.extend(calibration);
        properties.extend(self.lineage.iter().map(|lineage| ("lineage", json(serde_json::to_value(lineage)))));
        properties.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect()
    }
}

impl Exported {
    /// What a file says whose properties are `property`; `None` when no graft wrote them.
    ///
    /// # Errors
    /// A property that is missing or malformed, or of a format that this graft does not know.
    pub(super) fn read<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>, PropertyError> {
        let text = |key: &'static str| property(&format!("{PREFIX}{key}"));
        let Some(format) = text("format") else {
            // Written by hand: whoever did that wants them read.
            return match KEYS.into_iter().find(|&key| text(key).is_some()) {
                Some(key) => Err(PropertyError { key, problem: "is of no use without `graft.format` and the others".to_owned() }),
                None => Ok(None),
            };
        };
        let format: u32 = parsed("format", format)?;
        if format > FORMAT {
            let problem = format!("is {format}, this graft reads up to {FORMAT}");
            return Err(PropertyError { key: "format", problem });
        }
        let needed = |key: &'static str| text(key).ok_or_else(|| PropertyError { key, problem: "is missing".to_owned() });
        Ok(Some(Self {
            architecture: needed("architecture")?.to_owned(),
            preprocessing: parsed("preprocessing", needed("preprocessing")?)?,
            output: text("output").map(|text| parsed("output", text)).transpose()?,
            labels: parsed("labels", needed("labels")?)?,
            layers: parsed("layers", needed("layers")?)?,
            features_layer: needed("features_layer")?.to_owned(),
            pretrained: parsed("pretrained", needed("pretrained")?)?,
            calibration: text("calibration").map(|text| parsed("calibration", text)).transpose()?,
            lineage: text("lineage").map(|text| parsed("lineage", text)).transpose()?,
        }))
    }
}

fn parsed<T: DeserializeOwned>(key: &'static str, text: &str) -> Result<T, PropertyError> {
    serde_json::from_str(text).map_err(|error| PropertyError { key, problem: format!("cannot be read: {error}") })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::registry::testing::{lineage, metadata};

    fn properties(change: impl FnOnce(&mut HashMap<String, String>)) -> Result<Option<Exported>, String> {
        let mut metadata = metadata("vgg16");
        metadata.lineage = Some(lineage());
        let mut properties: HashMap<String, String> = metadata.properties().into_iter().collect();
        change(&mut properties);
        Exported::read(|key| properties.get(key).map(String::as_str)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_export_says_what_its_metadata_say() {
        let expected = metadata("vgg16");
        let read = properties(|_| {}).expect("they were just written").expect("they are graft's");
        let Exported { preprocessing, output, labels, layers, features_layer, pretrained, .. } = read;
        assert_eq!((preprocessing, output, labels), (expected.preprocessing, expected.output, expected.labels));
        assert_eq!((layers, features_layer, pretrained), (expected.layers, expected.features_layer, expected.pretrained));
        assert_eq!((read.architecture, read.lineage), (expected.architecture, Some(lineage())));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(properties(|all| all.clear()), Ok(None));
        let error = |change: fn(&mut HashMap<String, String>)| properties(change).expect_err("it is damaged");
        assert!(error(|all| drop(all.remove("graft.labels"))).starts_with("the property `graft.labels` of the file is missing;"));
        let broken = error(|all| drop(all.insert("graft.layers".into(), "[1".into())));
        assert!(broken.starts_with("the property `graft.layers` of the file cannot be read: "), "{broken}");
        let alone = error(|all| all.retain(|key, _| key == "graft.labels"));
        assert!(alone.starts_with("the property `graft.labels` of the file is of no use without `graft.format`"), "{alone}");
        assert_eq!(properties(|all| all.retain(|key, _| key == "graft.version")), Ok(None));
        let newer = error(|all| drop(all.insert("graft.format".into(), "99".into())));
        assert!(newer.contains("is 99, this graft reads up to 2;"), "{newer}");
    }
}
