//! Answers of `/datasets` and `/datasets/{id}`.
//!
//! Shapes of the wire alone; what they hold is decided in `datasets`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::datasets::{ClassCount, Skipped, Summary};

/// The answer of `GET /datasets`.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetsAnswer {
    /// The newest first; without the files that were skipped, which `/datasets/{id}` has, and with few classes.
    pub datasets: Vec<DatasetDto>,
    /// What `after` takes for the next page; null on the last.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A data set.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetDto {
    /// What it is called.
    #[schema(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    pub id: String,
    /// When it was imported, RFC 3339.
    #[schema(format = DateTime, example = "2026-01-31T23:59:59Z")]
    pub created: String,
    /// SHA-256 over every image's path, class, split and content: equal for equal data.
    pub fingerprint: String,
    /// In code-point order of their names; a position is the class's index. The first 10 000, in a list the first 100.
    pub classes: Vec<DatasetClassDto>,
    /// How many classes there are.
    #[schema(example = 2)]
    pub class_count: usize,
    /// Images in all.
    #[schema(example = 397)]
    pub images: usize,
    /// Bytes of all images.
    pub bytes: u64,
    /// What its owner should know of it, in words.
    pub warnings: Vec<String>,
    /// How many files were skipped.
    pub skipped_count: usize,
    /// Files that were skipped, by path; the first 1000 of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub skipped: Option<Vec<Skipped>>,
}

/// A class and its images.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetClassDto {
    /// The folder's name.
    #[schema(example = "ants")]
    pub name: String,
    /// Images to train on.
    #[schema(example = 123)]
    pub train: usize,
    /// Images to validate on; 0 without a `val` folder.
    #[schema(example = 70)]
    pub val: usize,
    /// Images that are measured once, when a model has been trained; 0 without a `test` folder.
    #[schema(example = 0)]
    pub test: usize,
}

/// Most classes that a data set shows, and that each in a list does; most skipped files.
const CLASSES: usize = 10_000;
const CLASSES_IN_LIST: usize = 100;
const SKIPPED: usize = 1000;

impl DatasetDto {
    /// With or without the files that were skipped.
    pub fn new(summary: Summary, with_skipped: bool) -> Self {
        let Summary { id, created, fingerprint, classes, has_val: _, warnings, bytes, skipped, skipped_count } = summary;
        let class = |ClassCount { name, train, val, test }: ClassCount| DatasetClassDto { name, train, val, test };
        Self {
            id,
            created,
            fingerprint,
            images: classes.iter().map(|class| class.train + class.val + class.test).sum(),
            class_count: classes.len(),
            classes: classes.into_iter().take(if with_skipped { CLASSES } else { CLASSES_IN_LIST }).map(class).collect(),
            bytes,
            warnings,
            skipped_count,
            skipped: with_skipped.then(|| skipped.into_iter().take(SKIPPED).collect()),
        }
    }
}
