//! What training needs to know of a data set: classes, images in a fixed order, and which are for validation.
//!
//! Filled from a data set or from a folder; knows nothing of archives.

use std::path::PathBuf;

use crate::datasets::{self, Dataset};

/// The images of a data set. An image's position in `images` is its identity for caches and shuffles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// SHA-256 over paths, classes, splits and contents, hexadecimal: what is cached for it is valid for it alone.
    pub fingerprint: String,
    /// Names of the classes, by index.
    pub classes: Vec<String>,
    /// By path, in code-point order.
    pub images: Vec<Sample>,
}

impl From<&Dataset> for Samples {
    fn from(dataset: &Dataset) -> Self {
        let has_val = dataset.summary.has_val;
        let split = |split| match split {
            datasets::Split::Train => Split::Train,
            datasets::Split::Val => Split::Val,
        };
        let sample = |image: &datasets::ImageEntry| Sample {
            path: image.path.clone(),
            file: dataset.file(image),
            class: image.class,
            split: has_val.then(|| split(image.split)),
        };
        Self {
            fingerprint: dataset.summary.fingerprint.clone(),
            classes: dataset.summary.classes.iter().map(|class| class.name.clone()).collect(),
            images: dataset.images.iter().map(sample).collect(),
        }
    }
}

/// One image of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its path within the data set, for people.
    pub path: String,
    /// The file that holds it.
    pub file: PathBuf,
    /// Index of its class.
    pub class: usize,
    /// Where its folder puts it; `None` when the data set has no such folders.
    pub split: Option<Split>,
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on.
    Train,
    /// Measured on.
    Val,
}
