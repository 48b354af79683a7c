//! The store: where data sets are kept, and the ways in and out.
//!
//! Knows neither HTTP nor jobs: who uses a data set is not asked here.

use std::{
    collections::HashMap,
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use uuid::Uuid;

use super::{
    archive::{self, ArchiveKind},
    assemble::assemble,
    bounds::{Cancel, Meter, Quota},
    check::Checker,
    entry_path::shown,
    error::{At, Error, FolderFault},
    folder,
    inbox::Inbox,
    manifest::{Dataset, Summary, read_summary, stored_bytes, summary_memory},
    options::ReadAs,
    staging::{self, Staging},
    upload::Upload,
};
use crate::{
    config::DatasetsConfig,
    preprocess::{Decoder, Limits},
    registry::hidden,
    telemetry::{News, Trouble},
    work::{Budget, Client, Exceeded, Share},
};

/// The store of data sets; cheap to clone. Its methods block on the file system, unless they are `async`.
#[derive(Debug, Clone)]
pub struct Datasets {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub dir: PathBuf,
    pub config: DatasetsConfig,
    pub quota: Quota,
    pub uploads: Budget,
    checker: Checker,
    /// What keeps which data set from being read; held for a look alone.
    skipped: Mutex<HashMap<PathBuf, Trouble>>,
}

/// A data set that nobody else sees; it goes when this is dropped, and when its process dies.
#[derive(Debug)]
pub struct PrivateDataset {
    dataset: Dataset,
    _staging: Staging,
}

impl Deref for PrivateDataset {
    type Target = Dataset;

    fn deref(&self) -> &Dataset {
        &self.dataset
    }
}

/// A data set that nobody finds any more; dropping it deletes its files, and gives back what it had of the store.
#[derive(Debug)]
pub struct Removed {
    files: Option<hidden::Removed>,
    quota: Quota,
    bytes: u64,
}

impl Drop for Removed {
    fn drop(&mut self) {
        drop(self.files.take());
        self.quota.release(self.bytes);
    }
}

impl Datasets {
    /// Opens the store below `data_dir` and removes what a dead process left half-made there.
    ///
    /// The folder itself is made by the first data set, so that a server without any needs no writable disk.
    /// `limits` are those of images at serving, and so at training.
    ///
    /// # Errors
    /// When the folder cannot be read or cleaned.
    pub fn open(config: DatasetsConfig, data_dir: &Path, limits: Limits) -> Result<Self, Error> {
        Self::open_within(config, data_dir, Decoder::alone(limits))
    }

    /// The same, where images are checked by `decoder`, which others share.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_within(config: DatasetsConfig, data_dir: &Path, decoder: Decoder) -> Result<Self, Error> {
        let dir = std::path::absolute(data_dir.join("datasets")).at("find", data_dir)?;
        for path in staging::clean(&dir)? {
            tracing::info!(path = %path.display(), "removed leftovers of a process that died");
        }
        let skipped = Mutex::default();
        let sizes = ids(&dir)?.into_iter().filter_map(|id| readable(&dir.join(id), &skipped)).map(|summary| summary.bytes);
        let used = sizes.fold(0, u64::saturating_add);
        let inner = Inner {
            dir,
            quota: Quota::new(used, config.max_store_bytes),
            uploads: Budget::shared(config.max_uploads as u64, config.max_client_percent, 1),
            checker: Checker::new(config.check_threads, config.max_uploads, decoder),
            config,
            skipped,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The bounds in effect.
    pub fn config(&self) -> &DatasetsConfig {
        &self.inner.config
    }

    /// At most `limit` data sets, the newest first, of those made before the one of the id `after`; and whether there are more. Each
    /// goes through `show` before the next is read, and what `hold` gives for its bytes in memory is kept meanwhile. One that cannot
    /// be read is left out and logged.
    ///
    /// # Errors
    /// [`Error::Unknown`] for an `after` that is no id; when the store's folder cannot be read; those of `hold`.
    pub fn page<T, H, E: From<Error>>(
        &self,
        after: Option<&str>,
        limit: usize,
        hold: impl Fn(u64) -> Result<H, E>,
        show: impl Fn(Summary) -> T,
    ) -> Result<(Vec<T>, Option<String>), E> {
        if let Some(after) = after.filter(|after| !is_id(after)) {
            return Err(unknown(after).into());
        }
        let ids = ids(&self.inner.dir)?;
        let before = ids.iter().rev().filter(|id| after.is_none_or(|after| id.as_str() < after));
        let page: Vec<&String> = before.clone().take(limit).collect();
        let next = before.clone().nth(limit).and_then(|_| page.last()).map(|last| (*last).clone());
        let mut shown = Vec::new();
        for dir in page.into_iter().map(|id| self.inner.dir.join(id)) {
            let _held = hold(summary_memory(&dir))?;
            shown.extend(readable(&dir, &self.inner.skipped).map(&show));
        }
        Ok((shown, next))
    }

    /// What is known of a data set besides its images, read once its bytes in memory are held.
    ///
    /// # Errors
    /// [`Error::Unknown`]; files that cannot be read; those of `hold`.
    pub fn summary<E: From<Error>>(&self, id: &str, hold: impl FnOnce(u64) -> Result<(), E>) -> Result<Summary, E> {
        hold(self.read(id, |dir| Ok(summary_memory(dir)))?)?;
        Ok(self.read(id, read_summary)?)
    }

    /// A data set with all of its images.
    ///
    /// # Errors
    /// [`Error::Unknown`]; files that cannot be read.
    pub fn get(&self, id: &str) -> Result<Dataset, Error> {
        self.read(id, Dataset::read)
    }

    /// Whether there is a data set of that id.
    ///
    /// # Errors
    /// [`Error::Unknown`].
    pub fn check(&self, id: &str) -> Result<(), Error> {
        self.read(id, |_| Ok(()))
    }

    /// Takes a data set away; it vanishes at once for readers. Dropping what comes back deletes its files.
    ///
    /// # Errors
    /// [`Error::Unknown`]; when the file system refuses.
    pub fn remove(&self, id: &str) -> Result<Removed, Error> {
        self.read(id, |path| {
            // One that cannot be read any more can still be removed.
            let bytes = stored_bytes(path).unwrap_or_default();
            let files = staging::take_away(&self.inner.dir, path)?;
            Ok(Removed { files: Some(files), quota: self.inner.quota.clone(), bytes })
        })
    }

    /// Starts to receive an archive of `client`. Its first bytes say what it is; `kind` is what it was said to be.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`]; when the file system refuses.
    pub async fn upload(&self, client: &Client, kind: impl Into<Option<ArchiveKind>>) -> Result<Upload, Error> {
        Upload::start(self.clone(), client, kind.into()).await
    }

    /// Takes in the folder that `path`, absolute or relative, names below `datasets.root`, for `client`. What is `held` is dropped when
    /// that is over, whoever still waits for it.
    ///
    /// # Errors
    /// [`Error::NoRoot`], [`Error::Folder`]; a link that leads out of the root; contents that are no data set.
    pub async fn import_below_root<H: Send + 'static>(
        &self,
        client: &Client,
        path: String,
        read_as: ReadAs,
        held: H,
    ) -> Result<Dataset, Error> {
        let held = (self.place(client)?, held);
        let store = self.clone();
        super::upload::on_its_own_thread(move |cancel| {
            let _held = held;
            let root = store.inner.config.root.as_deref();
            let folder = folder::below(root, &path)?;
            let inbox = store.receive(&folder, root.unwrap_or(&folder), read_as, cancel)?;
            store.complete(inbox, read_as, cancel)
        })
        .await
    }

    /// A place among the uploads in progress.
    pub(super) fn place(&self, client: &Client) -> Result<Share, Error> {
        let uploads = &self.inner.uploads;
        uploads.take(client, 1).map_err(|exceeded| match exceeded {
            Exceeded::Bound => Error::TooManyUploads { limit: uploads.bound(), of_client: false },
            Exceeded::Client => Error::TooManyUploads { limit: uploads.per_client(), of_client: true },
        })
    }

    /// Copies any folder of this machine, for a caller that may read it anyway; links in it may not lead out of it.
    ///
    /// # Errors
    /// A folder that cannot be read; contents that are no data set.
    pub fn copy_folder(&self, folder: &Path, read_as: ReadAs) -> Result<PrivateDataset, Error> {
        if !folder.is_dir() {
            return Err(Error::Folder { path: shown(&folder.display().to_string()), fault: FolderFault::NotAFolder });
        }
        let folder = fs::canonicalize(folder).at("read", folder)?;
        let cancel = Cancel::default();
        let delivery = self.receive(&folder, &folder, read_as, &cancel)?.finish();
        let (staging, mut dataset) = assemble(delivery, read_as.layout, &self.inner.checker, &cancel)?;
        dataset.dir = staging.dir().to_owned();
        Ok(PrivateDataset { dataset, _staging: staging })
    }

    fn receive(&self, folder: &Path, bounds: &Path, read_as: ReadAs, cancel: &Cancel) -> Result<Inbox, Error> {
        let staging = Staging::new(&self.inner.dir, &self.inner.quota)?;
        let meter = Meter::new(&self.inner.config, None);
        let mut inbox = Inbox::new(staging, meter, self.inner.checker.limits(), cancel.clone());
        folder::deliver(folder, bounds, read_as.names, &mut inbox)?;
        Ok(inbox)
    }

    /// Unpacks and publishes the archive in `staging`, for which `sent` bytes arrived.
    pub(super) fn take_archive(
        &self,
        staging: Staging,
        kind: Option<ArchiveKind>,
        read_as: ReadAs,
        sent: u64,
        cancel: &Cancel,
    ) -> Result<Dataset, Error> {
        let path = staging.archive_path();
        let meter = Meter::new(&self.inner.config, Some(sent));
        let mut inbox = Inbox::new(staging, meter, self.inner.checker.limits(), cancel.clone());
        archive::unpack(kind, &path, read_as.names, &mut inbox)?;
        inbox.staging().remove_archive()?;
        self.complete(inbox, read_as, cancel)
    }

    fn complete(&self, inbox: Inbox, read_as: ReadAs, cancel: &Cancel) -> Result<Dataset, Error> {
        let (staging, dataset) = assemble(inbox.finish(), read_as.layout, &self.inner.checker, cancel)?;
        cancel.check()?;
        let dataset = staging.publish(&self.inner.dir, dataset)?;
        let Summary { id, bytes, skipped_count, .. } = &dataset.summary;
        tracing::info!(id, images = dataset.images.len(), bytes, skipped = skipped_count, "data set imported");
        Ok(dataset)
    }

    /// What `read` finds in the folder of a data set, by an id that is one: nothing else reaches the file system. One that is taken
    /// away meanwhile is unknown, as it is a moment later.
    pub(super) fn read<T>(&self, id: &str, read: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
        let path = self.inner.dir.join(id);
        let is_there = || is_id(id) && path.is_dir();
        if !is_there() {
            return Err(unknown(id));
        }
        read(&path).map_err(|error| if error.is_missing() && !is_there() { unknown(id) } else { error })
    }
}

/// Whether `id` is spelt as graft spells UUIDs.
fn is_id(id: &str) -> bool {
    Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id)
}

fn unknown(id: &str) -> Error {
    Error::Unknown { id: id.chars().take(100).collect() }
}

/// Ids of every data set in `dir`, in the order of their making, which they begin with.
fn ids(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read the data sets' folder", dir)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.at("read the data sets' folder", dir)?.file_name();
        ids.extend(name.into_string().ok().filter(|name| is_id(name)));
    }
    ids.sort();
    Ok(ids)
}

/// What is known of the data set in the folder `dir`, if it can be read; why not is logged when it is news to `skipped`.
fn readable(dir: &Path, skipped: &Mutex<HashMap<PathBuf, Trouble>>) -> Option<Summary> {
    let read = read_summary(dir);
    let mut skipped = skipped.lock().unwrap_or_else(PoisonError::into_inner);
    match &read {
        Ok(_) => drop(skipped.remove(dir)),
        Err(_) => {
            if let Some(News::Wrong(error)) = skipped.entry(dir.to_owned()).or_default().of(&read) {
                tracing::warn!(path = %dir.display(), error, "skipping a data set that cannot be read");
            }
        }
    }
    read.ok()
}
