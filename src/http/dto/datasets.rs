//! Answers of `/datasets`, `/datasets/{id}` and its classes and skipped files.
//!
//! Shapes of the wire alone; what they hold is decided in `datasets`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    datasets::{ClassCount, Skipped, Summary},
    http::page::{Index, indexed},
};

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
    /// In code-point order of their names; a position is the class's index. The first 10 000, in a list the first 100;
    /// `/datasets/{id}/classes` lists all.
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
    /// How many files were skipped; the reasons of 10 000 are kept.
    pub skipped_count: usize,
    /// Files that were skipped, by path; the first 1000 of them. `/datasets/{id}/skipped` lists all whose reasons are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub skipped: Option<Vec<Skipped>>,
}

/// The answer of `GET /datasets/{id}/classes`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClassesAnswer {
    /// In index order.
    pub classes: Vec<IndexedClassDto>,
    /// What `after` takes for the next page: the index of the last class; null on the last.
    #[schema(required = true)]
    pub next: Option<usize>,
}

/// A class of a data set, its images and its index.
#[derive(Debug, Serialize, ToSchema)]
pub struct IndexedClassDto {
    /// Its position among the classes, and so in the scores of what is trained on them.
    #[schema(example = 0)]
    pub index: usize,
    #[serde(flatten)]
    pub class: DatasetClassDto,
}

/// The answer of `GET /datasets/{id}/skipped`.
#[derive(Debug, Serialize, ToSchema)]
pub struct SkippedAnswer {
    /// By path.
    pub skipped: Vec<Skipped>,
    /// How many files were skipped; the reasons of the first 10 000 by path are kept.
    pub skipped_count: usize,
    /// What `after` takes for the next page: the position of the last file, from 0; null on the last.
    #[schema(required = true)]
    pub next: Option<usize>,
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

impl From<ClassCount> for DatasetClassDto {
    fn from(ClassCount { name, train, val, test }: ClassCount) -> Self {
        Self { name, train, val, test }
    }
}

impl ClassesAnswer {
    /// A page of the classes of `summary`.
    pub fn new(summary: Summary, after: Option<Index>, limit: usize) -> Self {
        let (classes, next) = indexed(summary.classes, after, limit);
        let class = |(index, class): (usize, ClassCount)| IndexedClassDto { index, class: class.into() };
        Self { classes: classes.into_iter().map(class).collect(), next }
    }
}

impl SkippedAnswer {
    /// A page of the files that were skipped.
    pub fn new(summary: Summary, after: Option<Index>, limit: usize) -> Self {
        let (skipped, next) = indexed(summary.skipped, after, limit);
        let skipped = skipped.into_iter().map(|(_, skipped)| skipped).collect();
        Self { skipped, skipped_count: summary.skipped_count, next }
    }
}

impl DatasetDto {
    /// With or without the files that were skipped.
    pub fn new(summary: Summary, with_skipped: bool) -> Self {
        let Summary { id, created, fingerprint, classes, has_val: _, warnings, bytes, skipped, skipped_count } = summary;
        Self {
            id,
            created,
            fingerprint,
            images: classes.iter().map(|class| class.train + class.val + class.test).sum(),
            class_count: classes.len(),
            classes: classes.into_iter().take(if with_skipped { CLASSES } else { CLASSES_IN_LIST }).map(Into::into).collect(),
            bytes,
            warnings,
            skipped_count,
            skipped: with_skipped.then(|| skipped.into_iter().take(SKIPPED).collect()),
        }
    }
}
