//! A version in the making, and its publication: nothing is seen of it until it is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with, statvfs},
    io::Errno,
};

use super::{
    checked::{FileSums, seal},
    error::{At, Error},
    files::{Document, FORMAT, GRAPH, METADATA, STABLE, WEIGHTS, sync, write_synced},
    hidden::{HiddenFolder, STAGING_PREFIX},
    metadata::{Metadata, valid_name},
    numbers::Numbers,
    repository::{ModelVersion, Repository, Stable},
    scan::MAX_METADATA_BYTES,
    timestamp::rfc3339,
};

/// How many version numbers are tried when other publishers are faster.
const MAX_TRIES: u32 = 100;

/// A version in the making: a hidden folder that no reader looks into until it is published; dropping it removes it.
#[derive(Debug)]
pub struct Staging {
    repository: Repository,
    name: String,
    dir: HiddenFolder,
}

/// What became of a version that was to be published on a condition.
#[derive(Debug)]
pub enum Published {
    /// It is published.
    Version(ModelVersion),
    /// The condition does not hold; the version is still in the making.
    Refused(Staging),
}

impl Staging {
    pub(super) fn new(repository: Repository, name: &str) -> Result<Self, Error> {
        if !valid_name(name) {
            return Err(Error::InvalidName(name.to_owned()));
        }
        let root = repository.root();
        let dir = HiddenFolder::new(root, &format!("{STAGING_PREFIX}{name}-"));
        let dir = dir.at("create a folder in the model repository", root)?;
        Ok(Self { repository, name: name.to_owned(), dir })
    }

    /// Where `graph.onnx` is to be written.
    pub fn graph_path(&self) -> PathBuf {
        self.dir.path().join(GRAPH)
    }

    /// Where `weights.bin`, the graph's external data, is to be written.
    pub fn weights_path(&self) -> PathBuf {
        self.dir.path().join(WEIGHTS)
    }

    /// The folder; whatever else is written there is published too.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the folder where it is, for another process.
    pub(super) fn keep(self) -> PathBuf {
        let path = self.dir.path().to_owned();
        self.dir.keep();
        path
    }

    /// Takes graph and weights out of `folder`, which another process has left on the same file system.
    pub(super) fn take_over(&self, folder: &Path) -> Result<(), Error> {
        for file in [GRAPH, WEIGHTS] {
            let path = folder.join(file);
            fs::rename(&path, self.dir.path().join(file)).at("move", &path)?;
        }
        Ok(())
    }

    /// Publishes the version under a number that no version of the model has had, durably: after success it survives a power cut.
    ///
    /// `metadata.version` and `metadata.created` are set here.
    /// Concurrent publishers of one model get different numbers; none overwrites another.
    ///
    /// # Errors
    /// When the metadata contradicts itself or the files, or the file system refuses; nothing is left behind then.
    pub fn publish(self, metadata: Metadata) -> Result<ModelVersion, Error> {
        match self.publish_if(metadata, |_| true)? {
            Published::Version(version) => Ok(version),
            Published::Refused(_) => unreachable!("nothing is refused"),
        }
    }

    /// As [`Self::publish`], if `holds` says so of the model's stable version at that moment: nobody changes it meanwhile.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_if(self, mut metadata: Metadata, holds: impl FnOnce(Option<Stable>) -> bool) -> Result<Published, Error> {
        metadata.version = 1;
        metadata.created = rfc3339(SystemTime::now());
        let graph_bytes = self.check(&metadata)?;
        let files = FileSums::of(self.dir())?;
        sync(&self.graph_path())?;
        sync(&self.weights_path())?;
        let repository = self.repository.clone();
        let numbers = Numbers::lock(repository.root())?;
        let snapshot = repository.scan()?;
        let found = snapshot.model(&self.name);
        // A job makes one version, even where a worker that lost it and the next one come here at once.
        let made = found.and_then(|model| model.versions.iter().find(|version| is_of_one_job(&version.metadata, &metadata)));
        if let Some(version) = made {
            return Ok(Published::Version(version.clone()));
        }
        let stable = found.map(|model| model.stable);
        if !holds(stable) {
            return Ok(Published::Refused(self));
        }
        let model = repository.root().join(&self.name);
        if stable.is_none() {
            // Left by a model of which nothing whole is there: nobody has chosen a version of this one.
            let _ = fs::remove_file(model.join(STABLE));
        }
        let mut document = Document { format: FORMAT, graph_bytes, files: Some(files), metadata };
        let claimed = self.claim(&numbers, &model, &mut document);
        if claimed.is_err() {
            // Fails, as it should, when the model has versions.
            let _ = fs::remove_dir(&model);
        }
        let dir = claimed?;
        // Under its new name it is no longer temporary.
        self.dir.keep();
        sync(&model).and_then(|()| sync(repository.root())).inspect_err(|_| {
            let _ = fs::remove_dir_all(&dir);
        })?;
        Ok(Published::Version(ModelVersion {
            metadata: Arc::new(document.metadata),
            dir,
            sums: document.files,
            label_sizes: Arc::default(),
        }))
    }

    /// Whether a version of `bytes` bytes could be published now: the repository can be written, its disk has room, and a number is free.
    /// Nothing of it stays.
    ///
    /// # Errors
    /// What publication would fail of, with the way out.
    pub fn rehearse(self, bytes: u64) -> Result<(), Error> {
        let root = self.repository.root();
        let free = statvfs(self.dir.path()).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < bytes {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(full).at("find room for the version in the model repository", root);
        }
        write_synced(&self.dir.path().join(METADATA), b"{}")?;
        let model = root.join(&self.name);
        if model.exists() && !model.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory)).at("publish to", &model);
        }
        let numbers = Numbers::lock(root)?;
        match numbers.last(&self.name)?.checked_add(1) {
            Some(_) => numbers.try_write(),
            None => Err(Error::NoFreeVersion { name: self.name.clone(), tries: MAX_TRIES }),
        }
    }

    /// Checks metadata and files; returns the graph's size.
    fn check(&self, metadata: &Metadata) -> Result<u64, Error> {
        metadata.validate().map_err(|source| Error::InvalidMetadata { name: self.name.clone(), source })?;
        let incomplete = |reason| Error::Incomplete { name: self.name.clone(), reason };
        if metadata.name != self.name {
            return Err(incomplete(format!("its metadata is that of `{}`", metadata.name)));
        }
        let size = |file: &str| match fs::symlink_metadata(self.dir.path().join(file)) {
            Ok(found) if found.is_file() => Ok(found.len()),
            Ok(_) => Err(incomplete(format!("`{file}` is not a file"))),
            Err(error) => Err(incomplete(format!("`{file}`: {error}"))),
        };
        let (graph, weights) = (size(GRAPH)?, size(WEIGHTS)?);
        if weights != metadata.weights.bytes {
            let expected = metadata.weights.bytes;
            return Err(incomplete(format!("`{WEIGHTS}` has {weights} bytes, not the {expected} of its metadata")));
        }
        Ok(graph)
    }

    /// Renames the folder to the next version of `model`; `document` gets its number.
    fn claim(&self, numbers: &Numbers<'_>, model: &Path, document: &mut Document) -> Result<PathBuf, Error> {
        let mut taken = 0;
        for _ in 0..MAX_TRIES {
            match fs::create_dir(model) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && model.is_dir() => {}
                other => other.at("create", model)?,
            }
            let last = numbers.last(&self.name)?.max(taken);
            let Some(version) = last.checked_add(1) else { break };
            numbers.give(&self.name, version)?;
            document.metadata.version = version;
            self.write_metadata(document)?;
            let target = model.join(version.to_string());
            match rename_without_replacing(self.dir.path(), &target) {
                Ok(()) => return Ok(target),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => taken = version,
                // The last version was removed, and the model's folder with it.
                Err(Errno::NOENT) if !model.exists() => {}
                other => other.at("publish to", &target)?,
            }
        }
        Err(Error::NoFreeVersion { name: self.name.clone(), tries: MAX_TRIES })
    }

    fn write_metadata(&self, document: &Document) -> Result<(), Error> {
        let text = seal(&serde_json::to_string_pretty(document).expect("metadata has string keys only"));
        if text.len() as u64 > MAX_METADATA_BYTES {
            let reason = format!("its metadata has {} bytes; {MAX_METADATA_BYTES} are the most", text.len());
            return Err(Error::Incomplete { name: self.name.clone(), reason });
        }
        write_synced(&self.dir.path().join(METADATA), text.as_bytes())?;
        sync(self.dir.path())
    }
}

/// Whether one job made both.
fn is_of_one_job(one: &Metadata, other: &Metadata) -> bool {
    let job = |metadata: &Metadata| metadata.job.clone().or_else(|| Some(metadata.lineage.as_ref()?.job.clone()));
    job(one).is_some_and(|made| job(other).is_some_and(|makes| made == makes))
}

/// Moves a folder unless `target` exists.
///
/// File systems without that flag still never replace a folder that holds something, and a version always does.
pub(crate) fn rename_without_replacing(source: &Path, target: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rustix::fs::rename(source, target),
        other => other,
    }
}
