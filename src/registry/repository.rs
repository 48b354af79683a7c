//! The repository's folder, what is found in it, and the small changes: choosing, removing, cleaning.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde::Serialize;

use super::{
    checked::FileSums,
    error::{At, Error},
    files::{GRAPH, STABLE, WEIGHTS, make_folder, replace, sync},
    hidden::{self, Removed},
    metadata::{Label, Metadata, valid_name},
    numbers::Numbers,
    scan::{self, Cache},
    staging::Staging,
};

/// A repository folder; cheap to clone, clones share what they have read.
#[derive(Debug, Clone)]
pub struct Repository {
    root: Arc<Path>,
    /// Held while a scan runs: scans are rare, and two at once would only read everything twice.
    cache: Arc<Mutex<Cache>>,
    /// By folder. A plain mutex: held for a moment.
    loaded: Arc<Mutex<HashMap<PathBuf, ModelVersion>>>,
}

/// One look at the repository.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Models by name, ascending.
    pub models: Vec<Model>,
    /// What was ignored.
    pub problems: Vec<Problem>,
}

/// A model with at least one whole version.
#[derive(Debug, Clone)]
pub struct Model {
    /// The folder's name.
    pub name: String,
    /// Whole versions, ascending.
    pub versions: Vec<ModelVersion>,
    /// The version that requests without one get: the one that somebody chose, else the newest that is published, else the newest.
    pub stable: Stable,
}

/// A model's stable version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stable {
    /// Its number.
    pub version: u32,
    /// Whether somebody chose it: then no newer version takes its place.
    pub pinned: bool,
}

/// A published version: its folder and what it says of itself.
#[derive(Debug, Clone)]
pub struct ModelVersion {
    /// Contents of `metadata.json`.
    pub metadata: Arc<Metadata>,
    pub(super) dir: PathBuf,
    /// Of its small files; `None` where an earlier graft published it.
    pub(super) sums: Option<FileSums>,
    /// Found when first asked for.
    pub(super) label_sizes: Arc<OnceLock<LabelSizes>>,
}

/// How much its labels take in JSON, with quotes and WordNet ids, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelSizes {
    /// The longest.
    pub longest: u64,
    /// All of them.
    pub total: u64,
}

impl ModelVersion {
    /// What its labels take in an answer.
    pub fn label_sizes(&self) -> LabelSizes {
        *self.label_sizes.get_or_init(|| {
            let size = |Label { label, wnid }: &Label| json_bytes(label) + wnid.as_deref().map_or(0, json_bytes);
            let sizes = self.metadata.labels.iter().map(size);
            sizes.fold(LabelSizes::default(), |LabelSizes { longest, total }, size| LabelSizes {
                longest: longest.max(size),
                total: total + size,
            })
        })
    }
}

/// Bytes that `text` takes in JSON, with its quotes: as `serde_json` escapes it.
pub fn json_bytes(text: &str) -> u64 {
    let written = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.bytes().map(written).sum::<u64>()
}

/// Something in the repository that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path relative to the repository.
    pub path: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl Repository {
    /// Opens the folder `root`, making it when it is missing.
    ///
    /// # Errors
    /// When it is no folder, cannot be made or cannot be read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        match fs::metadata(root) {
            Ok(metadata) if !metadata.is_dir() => return Err(Error::NotAFolder(root.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(root).at("create the model repository", root)?;
            }
            Err(error) => return Err(error).at("open the model repository", root),
        }
        fs::read_dir(root).at("read the model repository", root)?;
        let root = std::path::absolute(root).at("find the model repository", root)?;
        Ok(Self { root: root.into(), cache: Arc::default(), loaded: Arc::default() })
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lists what can be served, and everything else as a problem.
    ///
    /// Versions whose files have not changed since the last scan are not read again: then it costs five `stat` each.
    /// Blocks on the file system, so call it off the async threads.
    /// Names that start with a dot are not looked at, except for what a dead process left behind.
    ///
    /// # Errors
    /// When the repository's own folder cannot be read.
    pub fn scan(&self) -> Result<Snapshot, Error> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        scan::scan(&self.root, &loaded, &mut cache)
    }

    /// Says which versions are in memory: scans list them until their folders go, whatever becomes of the files.
    pub fn note_loaded(&self, versions: impl IntoIterator<Item = ModelVersion>) {
        let loaded = versions.into_iter().map(|version| (version.dir.clone(), version)).collect();
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
    }

    /// Whether there is a folder for a model called `name`.
    pub fn has_folder(&self, name: &str) -> bool {
        valid_name(name) && self.root.join(name).is_dir()
    }

    /// Starts a version of `name` in a hidden folder of the repository.
    ///
    /// # Errors
    /// When `name` cannot be a model's, or the folder cannot be made.
    pub fn stage(&self, name: &str) -> Result<Staging, Error> {
        Staging::new(self.clone(), name)
    }

    /// Pins `version`: requests without a version get it until another is chosen or the choice is taken back.
    ///
    /// # Errors
    /// When there is no such whole version, or the choice cannot be written.
    pub fn pin(&self, name: &str, version: u32) -> Result<(), Error> {
        let _numbers = Numbers::lock(&self.root)?;
        self.find(name, version)?;
        replace(&self.root.join(name).join(STABLE), format!("{version}\n").as_bytes())
    }

    /// Takes the choice of a version back, if there is one: the newest that is published counts again.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unpin(&self, name: &str) -> Result<(), Error> {
        let _numbers = Numbers::lock(&self.root)?;
        check_name(name)?;
        let path = self.root.join(name).join(STABLE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.at("remove", &path).and_then(|()| sync(&self.root.join(name))),
        }
    }

    /// Deletes a version; it vanishes at once for readers, and no other will have its number. A choice of it goes too, and with the last version any choice.
    ///
    /// # Errors
    /// When there is no such whole version, or the file system refuses.
    pub fn remove(&self, name: &str, version: u32) -> Result<(), Error> {
        let numbers = Numbers::lock(&self.root)?;
        let found = self.find(name, version)?;
        let is_last = self.scan()?.model(name).is_some_and(|model| model.versions.len() == 1);
        numbers.give(name, numbers.last(name)?)?;
        let folder = self.root.join(name);
        let removed = Removed::take_away(&self.root, found.dir(), &format!("{name}-{version}"));
        let removed = removed.at("remove", found.dir())?;
        let stable = folder.join(STABLE);
        if scan::read_stable(&stable).is_ok_and(|chosen| chosen == Some(version) || is_last && chosen.is_some()) {
            fs::remove_file(&stable).at("remove", &stable)?;
        }
        sync(&folder)?;
        // Fails, as it should, when other versions are left.
        let _ = fs::remove_dir(&folder);
        removed.close().at("remove", found.dir())
    }

    /// Removes what dead processes left behind and says what that was.
    ///
    /// # Errors
    /// When something left behind cannot be removed.
    pub fn clean(&self) -> Result<Vec<PathBuf>, Error> {
        hidden::clean(&self.root).at("remove left-over folders from the model repository", &self.root)
    }

    fn find(&self, name: &str, version: u32) -> Result<ModelVersion, Error> {
        check_name(name)?;
        let snapshot = self.scan()?;
        let found = snapshot.model(name).and_then(|model| model.version(version));
        found.cloned().ok_or_else(|| Error::UnknownVersion { name: name.to_owned(), version })
    }
}

impl Snapshot {
    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }
}

impl Model {
    /// The version of that number.
    pub fn version(&self, version: u32) -> Option<&ModelVersion> {
        self.versions.iter().find(|candidate| candidate.metadata.version == version)
    }
}

impl ModelVersion {
    /// `graph.onnx`, whose large tensors lie in [`Self::weights_path`].
    pub fn graph_path(&self) -> PathBuf {
        self.dir.join(GRAPH)
    }

    /// `weights.bin`: the graph's external data.
    pub fn weights_path(&self) -> PathBuf {
        self.dir.join(WEIGHTS)
    }

    /// The version's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if valid_name(name) { Ok(()) } else { Err(Error::InvalidName(name.to_owned())) }
}
