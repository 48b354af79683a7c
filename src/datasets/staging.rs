//! A data set in the making: a hidden folder that no reader looks into until it is published; dropping it removes it.
//!
//! Owns the names in the store's folder; knows nothing of what archives hold.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    bounds::{Quota, Share},
    error::{At, Error},
    manifest::{Dataset, IMAGES},
};
use crate::registry::{
    flush,
    hidden::{self, HiddenFolder, STAGING_PREFIX},
    make_folder, rename_without_replacing,
};

#[derive(Debug)]
pub(super) struct Staging {
    dir: HiddenFolder,
    /// The folder's bytes on disk.
    pub share: Share,
}

impl Staging {
    /// Makes the folder in `store`, and `store` when it is missing.
    pub fn new(store: &Path, quota: &Quota) -> Result<Self, Error> {
        make_folder(store).at("create the data sets' folder", store)?;
        let dir = HiddenFolder::new(store, STAGING_PREFIX).at("create a folder in", store)?;
        let images = dir.path().join(IMAGES);
        fs::create_dir(&images).at("create", &images)?;
        Ok(Self { dir, share: quota.share() })
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the archive lies until it is unpacked.
    pub fn archive_path(&self) -> PathBuf {
        self.dir().join("archive")
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
    /// All contents are synced at once: one by one each costs a wait for the disk, which for small photos is most of the time.
    pub fn publish(self, store: &Path, mut dataset: Dataset) -> Result<Dataset, Error> {
        let sync = |path: &Path| flush(path).at("write", path);
        let images = self.dir().join(IMAGES);
        sync_files(&images).at("write", &images)?;
        sync(&images)?;
        dataset.write(self.dir())?;
        sync(self.dir())?;
        let target = store.join(&dataset.summary.id);
        rename_without_replacing(self.dir(), &target).at("publish to", &target)?;
        // Under its new name it is no longer temporary.
        self.dir.keep();
        sync(store).inspect_err(|_| {
            let _ = fs::remove_dir_all(&target);
        })?;
        self.share.settle();
        dataset.dir = target;
        Ok(dataset)
    }
}

/// Syncs every file in `dir`, with whatever else its file system has to write.
#[cfg(target_os = "linux")]
fn sync_files(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

/// Syncs every file in `dir`.
#[cfg(not(target_os = "linux"))]
fn sync_files(dir: &Path) -> io::Result<()> {
    fs::read_dir(dir)?.try_for_each(|entry| fs::File::open(entry?.path())?.sync_all())
}

/// Takes the folder `path` of `store` away at once; dropping what comes back deletes what was in it.
pub(super) fn take_away(store: &Path, path: &Path) -> Result<hidden::Removed, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let removed = hidden::Removed::take_away(store, path, &name).at("remove", path)?;
    flush(store).at("write", store)?;
    Ok(removed)
}

/// Removes what dead processes left in `store`, and says what that was.
pub(super) fn clean(store: &Path) -> Result<Vec<PathBuf>, Error> {
    match hidden::clean(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        cleaned => cleaned.at("remove left-over folders from the data sets' folder", store),
    }
}
