//! One look at the repository: whole versions, and a reason for everything else.
//!
//! Reads only what has changed since the last look, and never more than bounded amounts.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    catalogue::is_catalogue_file,
    checked::{FileSums, WAY_OUT, check_seal, known_damage},
    error::{At, Error},
    files::{Document, FORMAT, FORMAT_WITH_GUESSES, GRAPH, METADATA, NOVELTY, STABLE, WEIGHTS},
    hidden::{abandoned, is_hidden, older},
    judge::judge_again,
    metadata::{Metadata, NAME_RULE, valid_name},
    novelty,
    repository::{Model, ModelVersion, Problem, Snapshot, Stable},
};
use crate::graph::{self, Graph};

/// Largest `metadata.json` in bytes; InceptionV3's has about 60 kB.
pub(super) const MAX_METADATA_BYTES: u64 = 16 << 20;

/// Entries of one folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Folders that are newer may be in the making: a hidden one about to be locked by its process, a model's to get a version.
const NEW: Duration = Duration::from_secs(60);

/// Problems in one snapshot.
const MAX_PROBLEMS: usize = 1000;

/// What was read from a version's folder, good or bad, as long as its files stay the same.
pub(super) type Cache = HashMap<PathBuf, (FilesStamp, Result<Found, String>)>;

/// What a version's metadata say, and the sums of its files.
type Found = (Arc<Metadata>, Option<FileSums>);

/// What tells that a version's files are the same as before.
pub(crate) type FilesStamp = [FileStamp; 4];

/// All 0 for a file that need not be there and is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileStamp {
    bytes: u64,
    modified: (i64, i64),
    /// Whoever sets the time of a change back changes this one.
    changed: (i64, i64),
    inode: (u64, u64),
}

impl FileStamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

impl ModelVersion {
    /// What tells whether its files are changed or replaced; `None` when one of them is missing. Blocks on the file system.
    pub(crate) fn files_stamp(&self) -> Option<FilesStamp> {
        stamp(&self.dir).ok()
    }
}

/// Scans `root`; what `cache` knows of files that have not changed is taken from there, and versions of which the files are no
/// longer whole from those that are `loaded`, by folder.
pub(super) fn scan(root: &Path, loaded: &HashMap<PathBuf, ModelVersion>, cache: &mut Cache) -> Result<Snapshot, Error> {
    let mut scanner = Scanner { root, loaded, old: cache, new: Cache::new(), snapshot: Snapshot::default() };
    let (names, more) = entries(root).at("read the model repository", root)?;
    scanner.note_bound(root, more);
    for name in names {
        scanner.entry(&name);
    }
    let Scanner { new, mut snapshot, .. } = scanner;
    *cache = new;
    let problems = snapshot.problems.len();
    if problems > MAX_PROBLEMS {
        snapshot.problems.truncate(MAX_PROBLEMS);
        snapshot.problems.push(Problem { path: ".".into(), reason: format!("{} more problems", problems - MAX_PROBLEMS) });
    }
    Ok(snapshot)
}

struct Scanner<'a> {
    root: &'a Path,
    loaded: &'a HashMap<PathBuf, ModelVersion>,
    old: &'a Cache,
    new: Cache,
    snapshot: Snapshot,
}

impl Scanner<'_> {
    fn entry(&mut self, name: &OsString) {
        let path = self.root.join(name);
        if name.as_encoded_bytes().starts_with(b".") {
            if is_hidden(name) && abandoned(&path) && older(&path, NEW) {
                self.problem(&path, "left behind by a process that died; it is removed at the next start".into());
            }
            return;
        }
        match name.to_str().filter(|name| valid_name(name)) {
            None => self.problem(&path, format!("not a model: {NAME_RULE}")),
            Some(name) => match fs::metadata(&path) {
                Err(error) => self.problem(&path, format!("cannot be read: {error}")),
                // The catalogue of a clone lies where older installations have their models.
                Ok(metadata) if metadata.is_file() && is_catalogue_file(name) => {}
                Ok(metadata) if !metadata.is_dir() => self.problem(&path, "not a folder; models are folders".into()),
                Ok(_) => self.model(name, &path),
            },
        }
    }

    fn model(&mut self, name: &str, folder: &Path) {
        let (entries, more) = match entries(folder) {
            Ok(found) => found,
            Err(error) => return self.problem(folder, format!("cannot be read: {error}")),
        };
        self.note_bound(folder, more);
        let mut versions = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.as_encoded_bytes().starts_with(b".") && *entry != STABLE) {
            let path = folder.join(entry);
            match entry.to_str().and_then(version_number) {
                None => self.problem(&path, "not a version; versions are folders named 1, 2, 3 …".into()),
                Some(version) => match self.version(name, version, &path) {
                    Ok(((metadata, sums), damage)) => {
                        // It stays in its place: no other version answers for it.
                        damage.into_iter().for_each(|reason| self.problem(&path, reason));
                        versions.push(ModelVersion { metadata, dir: path, sums, label_sizes: Arc::default() });
                    }
                    // What is in memory was checked, and is whole.
                    Err(reason) => match self.loaded.get(&path).filter(|_| path.is_dir()) {
                        Some(loaded) => {
                            self.problem(&path, format!("{reason}; it is loaded, and answers until it is unloaded"));
                            versions.push(loaded.clone());
                        }
                        None => self.problem(&path, reason),
                    },
                },
            }
        }
        versions.sort_by_key(|version| version.metadata.version);
        if entries.is_empty() && !older(folder, NEW) {
            // Its first version is about to come.
            return;
        }
        let Some(newest) = versions.last().map(|version| version.metadata.version) else {
            return self.problem(folder, "holds no whole version; import the model again, or remove the folder".into());
        };
        let published = versions.iter().rfind(|version| version.metadata.published);
        let unpinned = || Stable { version: published.map_or(newest, |version| version.metadata.version), pinned: false };
        let pinned = self.pinned(&folder.join(STABLE), &versions).map(|version| Stable { version, pinned: true });
        let stable = pinned.unwrap_or_else(unpinned);
        self.snapshot.models.push(Model { name: name.to_owned(), versions, stable });
    }

    /// A version, and what loading it has found to be wrong.
    fn version(&mut self, name: &str, version: u32, folder: &Path) -> Result<(Found, Option<String>), String> {
        let stamp = stamp(folder)?;
        let known = self.old.get(folder).filter(|(old, _)| *old == stamp);
        let read = match known {
            Some((_, read)) => read.clone(),
            None => read_version(folder, &stamp, name, version).map(|(metadata, sums)| (Arc::new(metadata), sums)),
        };
        if settled(&stamp) {
            self.new.insert(folder.to_owned(), (stamp, read.clone()));
        }
        Ok((read?, known_damage(folder, stamp[2])))
    }

    fn pinned(&mut self, path: &Path, versions: &[ModelVersion]) -> Option<u32> {
        match read_stable(path) {
            Ok(Some(chosen)) => {
                // What somebody chose is not replaced by what nobody did.
                if versions.iter().all(|version| version.metadata.version != chosen) {
                    let way_out = "no other answers in its place until one is chosen, or the file is removed";
                    self.problem(path, format!("names version {chosen}, which is not there, or is not whole; {way_out}"));
                }
                return Some(chosen);
            }
            Ok(None) => {}
            Err(reason) => self.problem(path, format!("{reason}; the newest version counts")),
        }
        None
    }

    fn note_bound(&mut self, folder: &Path, more: bool) {
        if more {
            self.problem(folder, format!("has more than {MAX_ENTRIES} entries; the others were not looked at"));
        }
    }

    fn problem(&mut self, path: &Path, reason: String) {
        let path = path.strip_prefix(self.root).unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.snapshot.problems.push(Problem { path: path.display().to_string(), reason });
    }
}

/// The version that the file `path` chooses; `None` when there is no such file.
pub(super) fn read_stable(path: &Path) -> Result<Option<u32>, String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
        Ok(metadata) if !metadata.is_file() => return Err("is not a file".into()),
        Ok(_) => {}
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_string(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    version_number(text.trim()).map(Some).ok_or_else(|| "does not hold a version number".into())
}

/// `text` as a version: 1 or more, without sign or leading zeros, so that each version has one name.
pub(super) fn version_number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| canonical)
}

/// Names in a folder in ascending order, and whether there are more than are looked at.
pub(super) fn entries(folder: &Path) -> io::Result<(Vec<OsString>, bool)> {
    let mut listing = fs::read_dir(folder)?;
    let names = listing.by_ref().take(MAX_ENTRIES).map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok((names, listing.next().is_some()))
}

fn stamp(folder: &Path) -> Result<FilesStamp, String> {
    match fs::metadata(folder) {
        Err(error) => return Err(format!("cannot be read: {error}")),
        Ok(metadata) if !metadata.is_dir() => return Err("not a folder; versions are folders".into()),
        Ok(_) => {}
    }
    let found = |name: &str| match fs::symlink_metadata(folder.join(name)) {
        Ok(metadata) if metadata.is_file() => Ok(Some(FileStamp::of(&metadata))),
        Ok(_) => Err(format!("`{name}` is not a file (links are not followed)")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("`{name}` cannot be read: {error}")),
    };
    let of = |name: &str| {
        let missing = || format!("`{name}` is missing: not wholly published; remove the folder, or import the model again");
        found(name)?.ok_or_else(missing)
    };
    Ok([of(METADATA)?, of(GRAPH)?, of(WEIGHTS)?, found(NOVELTY)?.unwrap_or_default()])
}

/// Whether any later write will show in the stamp: file times are as coarse as some milliseconds, or seconds on old mounts.
fn settled(stamp: &FilesStamp) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    stamp.iter().all(|file| file.modified.0.saturating_add(2) < now.cast_signed())
}

fn read_version(folder: &Path, stamp: &FilesStamp, name: &str, version: u32) -> Result<(Metadata, Option<FileSums>), String> {
    let [metadata_file, graph, weights, _] = stamp;
    let too_large = || format!("`{METADATA}` is larger than {MAX_METADATA_BYTES} bytes");
    if metadata_file.bytes > MAX_METADATA_BYTES {
        return Err(too_large());
    }
    let mut text = Vec::new();
    let read = File::open(folder.join(METADATA)).and_then(|file| file.take(MAX_METADATA_BYTES + 1).read_to_end(&mut text));
    read.map_err(|error| format!("`{METADATA}` cannot be read: {error}"))?;
    if text.len() as u64 > MAX_METADATA_BYTES {
        return Err(too_large());
    }
    let document = parse(&text)?;
    check_seal(&text).map_err(|reason| format!("{reason}; {WAY_OUT}"))?;
    let mut metadata = document.metadata;
    if (metadata.name.as_str(), metadata.version) != (name, version) {
        let (name, version) = (&metadata.name, metadata.version);
        return Err(format!("`{METADATA}` is that of `{name}` version {version}; versions cannot be renamed or copied"));
    }
    if document.format == FORMAT_WITH_GUESSES {
        judge_again(&mut metadata, &folder.join(GRAPH));
    }
    metadata.validate().map_err(|error| format!("`{METADATA}`: {error}"))?;
    for (file, found, expected) in [(GRAPH, graph.bytes, document.graph_bytes), (WEIGHTS, weights.bytes, metadata.weights.bytes)]
    {
        if found != expected {
            return Err(format!("`{file}` has {found} bytes, not the {expected} that `{METADATA}` says; import the model again"));
        }
    }
    fit(&mut metadata, folder)?;
    novelty::read(&metadata, &folder.join(NOVELTY)).map_err(|reason| format!("{reason}; fine-tune the model again"))?;
    Ok((metadata, document.files))
}

/// Checks `metadata` against the graph; layers of a version that an earlier graft published are shown as they lie. A damaged graph
/// fails when it loads.
fn fit(metadata: &mut Metadata, folder: &Path) -> Result<(), String> {
    let graph = match Graph::read(&folder.join(GRAPH)) {
        Ok(graph) => graph,
        // Gone, for one, with a version that is being removed.
        Err(graph::Error::Io { source, .. }) => return Err(format!("`{GRAPH}` cannot be read: {source}")),
        Err(_) => return Ok(()),
    };
    if metadata.needs_layouts() {
        metadata.lay_out(&graph);
    }
    let unfit = |error| format!("`{METADATA}` does not fit `{GRAPH}`: {error}; import the model again");
    metadata.check_fit(&graph).map_err(unfit)
}

fn parse(text: &[u8]) -> Result<Document, String> {
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
    }
    let unreadable = |error: serde_json::Error| format!("`{METADATA}` cannot be read: {error}");
    let Form { format } = serde_json::from_slice(text).map_err(unreadable)?;
    if !(FORMAT_WITH_GUESSES..=FORMAT).contains(&format) {
        let known = format!("{FORMAT_WITH_GUESSES} to {FORMAT}");
        return Err(format!("`{METADATA}` has format {format}, this graft reads {known}; use the graft that wrote it"));
    }
    serde_json::from_slice(text).map_err(unreadable)
}
