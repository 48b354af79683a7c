//! Which version numbers each model has had: none is given twice, whatever has been deleted since.
//!
//! Knows numbers and names of folders; knows nothing of what versions hold.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    error::{At, Error},
    files::{make_folder, replace},
    hidden,
    scan::{entries, version_number},
};

/// Folder of the repository with a file per model, which holds the highest number that the model ever had.
const FOLDER: &str = ".numbers";

/// The repository's numbers, held by one process at a time: publishing, removing and choosing versions take turns.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    root: &'a Path,
    dir: PathBuf,
    /// `None` where the file system has no locks.
    _lock: Option<File>,
}

impl<'a> Numbers<'a> {
    /// Waits until no other process holds the numbers of the repository at `root`.
    pub(super) fn lock(root: &'a Path) -> Result<Self, Error> {
        let dir = root.join(FOLDER);
        make_folder(&dir).at("create", &dir)?;
        let _lock = hidden::lock(&dir);
        Ok(Self { root, dir, _lock })
    }

    /// The highest number that `model` ever had, whole or not; 0 without any.
    pub(super) fn last(&self, model: &str) -> Result<u32, Error> {
        let folder = self.root.join(model);
        let present = match folder.exists() {
            false => 0,
            true => {
                let (names, _) = entries(&folder).at("read", &folder)?;
                names.iter().filter_map(|name| name.to_str().and_then(version_number)).max().unwrap_or(0)
            }
        };
        // A number that cannot be read is no reason not to publish: the versions that are there count.
        let given = fs::read_to_string(self.dir.join(model)).ok().and_then(|text| version_number(text.trim()));
        Ok(present.max(given.unwrap_or(0)))
    }

    /// Notes that `model` has had `number`, durably.
    pub(super) fn give(&self, model: &str, number: u32) -> Result<(), Error> {
        replace(&self.dir.join(model), format!("{number}\n").as_bytes())
    }

    /// Whether a number could be noted; writes what no model is called, and removes it.
    pub(super) fn try_write(&self) -> Result<(), Error> {
        let path = self.dir.join(".try");
        replace(&path, b"0\n")?;
        fs::remove_file(&path).at("remove", &path)
    }
}
