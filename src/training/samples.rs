//! What training needs to know of a data set: classes, images in a fixed order, and which are for validation.
//!
//! Filled from a data set; positions and the fingerprint are its.

use std::path::PathBuf;

use crate::datasets::{Dataset, Split};

/// The images of a data set. An image's position in `images` is its identity for caches and shuffles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// SHA-256 over paths, classes, splits and contents, hexadecimal: what is cached for it is valid for it alone.
    pub fingerprint: String,
    /// Names of the classes, by index.
    pub classes: Vec<String>,
    /// By path, in code-point order.
    pub images: Vec<Sample>,
    /// What is to be known of the data set, in words.
    pub warnings: Vec<String>,
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
    /// Where its folder puts it; without any [`Split::Val`] a part of those for training is split off.
    pub split: Split,
}

impl Sample {
    /// SHA-256 of its file, hexadecimal: what contents are stored under.
    pub fn content(&self) -> &str {
        self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl From<&Dataset> for Samples {
    fn from(dataset: &Dataset) -> Self {
        let sample = |image: &crate::datasets::ImageEntry| Sample {
            path: image.path.clone(),
            file: dataset.file(image),
            class: image.class,
            split: image.split,
        };
        Self {
            fingerprint: dataset.fingerprint.clone(),
            classes: dataset.classes.iter().map(|class| class.name.clone()).collect(),
            images: dataset.images.iter().map(sample).collect(),
            warnings: dataset.warnings.clone(),
        }
    }
}

impl Samples {
    /// Two classes of ten images that nobody has: for a look at a request whose data set is not known.
    pub fn stand_in() -> Self {
        let image = |number: usize| {
            let path = number.to_string();
            Sample { file: path.clone().into(), path, class: number % 2, split: Split::Train }
        };
        let classes = vec!["0".into(), "1".into()];
        Self { classes, images: (0..20).map(image).collect(), ..Self::default() }
    }

    /// Class of every image.
    pub fn labels(&self) -> Vec<usize> {
        self.images.iter().map(|image| image.class).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::{ClassCount, ImageEntry, Summary};

    #[test]
    fn a_data_set_keeps_its_order() {
        let image =
            |path: &str, class, split| ImageEntry { path: path.to_owned(), class, split, sha256: format!("hash of {path}") };
        let count = |name: &str| ClassCount { name: name.to_owned(), train: 1, val: 0, test: 0 };
        let summary = Summary {
            id: "id".to_owned(),
            created: String::new(),
            fingerprint: "f".to_owned(),
            classes: vec![count("a"), count("b")],
            has_val: true,
            warnings: vec!["w".to_owned()],
            bytes: 0,
            skipped: Vec::new(),
            skipped_count: 0,
        };
        let images = vec![image("train/a/1", 0, Split::Train), image("val/b/2", 1, Split::Val)];
        let dataset = Dataset { summary, images, dir: "data".into() };
        let samples = Samples::from(&dataset);
        assert_eq!((samples.fingerprint.as_str(), samples.classes.as_slice()), ("f", &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!((samples.labels(), samples.warnings.as_slice()), (vec![0, 1], &["w".to_owned()][..]));
        assert_eq!((samples.images[1].path.as_str(), samples.images[1].split), ("val/b/2", Split::Val));
        assert_eq!(samples.images[1].file, dataset.file(&dataset.images[1]));
    }
}
