//! A data set in the making: a hidden folder that no reader looks into until it is published; dropping it removes it.
//!
//! Owns the names in the store's folder, and tells what a dead process left behind from what a living one works on.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    bounds::{Quota, Share},
    error::{At, Error},
    manifest::{Dataset, IMAGES},
};
use crate::registry::{flush, rename_without_replacing};

const STAGING_PREFIX: &str = ".staging-";
const REMOVED_PREFIX: &str = ".removed-";

/// Where file systems know no locks, only age tells that a folder was left behind.
const UNLOCKABLE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Staging {
    dir: tempfile::TempDir,
    /// Locked as long as this process works on the folder; `None` where the file system has no locks.
    _lock: Option<File>,
    /// The folder's bytes on disk.
    pub share: Share,
}

impl Staging {
    /// Makes the folder in `store`, and `store` when it is missing.
    pub fn new(store: &Path, quota: &Quota) -> Result<Self, Error> {
        fs::create_dir_all(store).at("create the data sets' folder", store)?;
        let (dir, lock) = hidden_folder(store, STAGING_PREFIX)?;
        let images = dir.path().join(IMAGES);
        fs::create_dir(&images).at("create", &images)?;
        Ok(Self { dir, _lock: lock, share: quota.share() })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the archive lies until it is unpacked.
    pub fn archive_path(&self) -> PathBuf {
        self.dir().join("archive")
    }

    /// Where the file that arrives lies until its hash is known.
    pub fn incoming_path(&self) -> PathBuf {
        self.dir().join("incoming")
    }

    /// Where contents of that hash lie.
    pub fn image_path(&self, sha256: &str) -> PathBuf {
        self.dir().join(IMAGES).join(sha256)
    }

    /// Deletes the archive, which has been unpacked.
    pub fn remove_archive(&mut self) -> Result<(), Error> {
        self.remove(&self.archive_path())
    }

    /// Deletes contents that no image needs.
    pub fn remove_image(&mut self, sha256: &str) -> Result<(), Error> {
        self.remove(&self.image_path(sha256))
    }

    fn remove(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = fs::metadata(path).at("read", path)?.len();
        fs::remove_file(path).at("remove", path)?;
        self.share.release(bytes);
        Ok(())
    }

    /// Writes the manifest and gives the folder the name of `dataset`, durably: after success it survives a power cut.
    ///
    /// Contents must have been synced; the folders that name them, and the manifest, are synced here.
    pub fn publish(self, store: &Path, mut dataset: Dataset) -> Result<Dataset, Error> {
        let sync = |path: &Path| flush(path).at("write", path);
        sync(&self.dir().join(IMAGES))?;
        dataset.write(self.dir())?;
        sync(self.dir())?;
        let target = store.join(&dataset.summary.id);
        rename_without_replacing(self.dir(), &target).at("publish to", &target)?;
        // Under its new name it is no longer temporary.
        let _ = self.dir.keep();
        sync(store).inspect_err(|_| {
            let _ = fs::remove_dir_all(&target);
        })?;
        self.share.settle();
        dataset.dir = target;
        Ok(dataset)
    }
}

/// Takes the folder `path` of `store` away at once, and then deletes what was in it.
pub(super) fn take_away(store: &Path, path: &Path) -> Result<impl FnOnce() -> Result<(), Error>, Error> {
    let (dir, lock) = hidden_folder(store, REMOVED_PREFIX)?;
    fs::rename(path, dir.path().join("removed")).at("remove", path)?;
    flush(store).at("write", store)?;
    let path = path.to_owned();
    Ok(move || {
        let removed = dir.close().at("remove", &path);
        drop(lock);
        removed
    })
}

/// Removes what dead processes left in `store`, and says what that was.
pub(super) fn clean(store: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read the data sets' folder", store)?,
    };
    let _store_lock = lock(store);
    let mut cleaned = Vec::new();
    for entry in entries {
        let path = entry.at("read the data sets' folder", store)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if [STAGING_PREFIX, REMOVED_PREFIX].iter().any(|prefix| name.starts_with(prefix.as_bytes())) && abandoned(&path) {
            fs::remove_dir_all(&path).at("remove the left-over folder", &path)?;
            cleaned.push(path);
        }
    }
    Ok(cleaned)
}

/// A new hidden folder, and its lock.
fn hidden_folder(store: &Path, prefix: &str) -> Result<(tempfile::TempDir, Option<File>), Error> {
    // Cleaning takes the same lock, so it never sees a folder between its making and its locking.
    let _store_lock = lock(store);
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(prefix).permissions(fs::Permissions::from_mode(0o777));
    let dir = builder.tempdir_in(store).at("create a folder in", store)?;
    let lock = lock(dir.path());
    Ok((dir, lock))
}

/// The locked folder; `None` where the file system has no locks.
fn lock(folder: &Path) -> Option<File> {
    File::open(folder).ok().filter(|folder| folder.lock().is_ok())
}

fn abandoned(folder: &Path) -> bool {
    match File::open(folder).map(|folder| folder.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock)) => false,
        Ok(Err(TryLockError::Error(_))) | Err(_) => {
            let modified = fs::symlink_metadata(folder).and_then(|metadata| metadata.modified());
            modified.ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > UNLOCKABLE_AGE)
        }
    }
}
