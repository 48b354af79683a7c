//! Data sets as their senders see them: what goes in, what is refused, and that a refusal leaves nothing behind.

mod cases;
mod contents;
mod hostile;
pub mod packing;
mod store;

use std::path::PathBuf;

use super::{ArchiveKind, Dataset, Datasets, Error, ReadAs};
use crate::{
    config::{self, DatasetsConfig, Sources},
    preprocess::Limits,
    work::Client,
};

/// A store in a folder of its own.
pub struct Store {
    pub folder: tempfile::TempDir,
    pub datasets: Datasets,
}

pub const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1_000_000 };

/// The usual bounds.
pub fn bounds() -> DatasetsConfig {
    config::load(&Sources::default()).unwrap().datasets
}

impl Store {
    pub fn new(config: DatasetsConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let datasets = Datasets::open(config, folder.path(), LIMITS).unwrap();
        Self { folder, datasets }
    }

    /// Sends `archive` in a few chunks.
    pub async fn send(&self, kind: ArchiveKind, archive: &[u8]) -> Result<Dataset, Error> {
        self.send_as(kind, archive, ReadAs::default()).await
    }

    /// Sends `archive`, to be read in a certain way.
    pub async fn send_as(&self, kind: impl Into<Option<ArchiveKind>>, archive: &[u8], read_as: ReadAs) -> Result<Dataset, Error> {
        let mut upload = self.datasets.upload(&Client::local(), kind).await?;
        for chunk in archive.chunks(archive.len() / 3 + 1) {
            upload.write(chunk).await?;
        }
        upload.finish(read_as, ()).await
    }

    /// Sends what must be refused, with a message that holds `expected`; checks that nothing is left.
    #[track_caller]
    pub fn refused(&self, kind: ArchiveKind, archive: &[u8], expected: &str) -> Error {
        let error = block_on(self.send(kind, archive)).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}, not {expected}");
        assert_eq!(self.left(), Vec::<PathBuf>::new(), "after {error}");
        error
    }

    /// What lies in the store's folder.
    pub fn left(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("datasets")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

/// Classes as `name train/val`, and `/test` where there is something of it.
pub fn classes(dataset: &Dataset) -> Vec<String> {
    let test = |test: usize| if test == 0 { String::new() } else { format!("/{test}") };
    let class = |class: &super::ClassCount| format!("{} {}/{}{}", class.name, class.train, class.val, test(class.test));
    dataset.classes.iter().map(class).collect()
}

/// Skipped files as `path: reason`.
pub fn skipped(dataset: &Dataset) -> Vec<String> {
    dataset.skipped.iter().map(|skipped| format!("{}: {}", skipped.path, skipped.reason)).collect()
}
