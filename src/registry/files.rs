//! Names in a version's folder, the form of `metadata.json`, and durable writes.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    checked::FileSums,
    error::{At, Error},
    metadata::Metadata,
};

pub(super) const GRAPH: &str = "graph.onnx";
pub(super) const WEIGHTS: &str = "weights.bin";
pub(super) const NOVELTY: &str = "novelty.npy";
pub(super) const METADATA: &str = "metadata.json";
pub(super) const STABLE: &str = "stable";
pub(super) const TRAINED_ON: &str = "trained_on.txt";

/// The form of `metadata.json` that this graft writes.
pub(super) const FORMAT: u32 = 2;

/// An earlier form that it reads: what an output holds is a guess there.
pub(super) const FORMAT_WITH_GUESSES: u32 = 1;

/// `metadata.json`: what the version says of itself, and what a reader checks before it trusts that.
#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    /// Form of this file; a reader refuses forms it does not know.
    pub format: u32,
    /// Size of `graph.onnx` in bytes.
    pub graph_bytes: u64,
    /// SHA-256 of the small files; absent where an earlier graft published the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileSums>,
    #[serde(flatten)]
    pub metadata: Metadata,
}

/// Writes `contents` to `path` and waits until the disk has them.
pub(super) fn write_synced(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let mut file = File::create(path).at("create", path)?;
    file.write_all(contents).at("write", path)?;
    file.sync_all().at("write", path)
}

/// Puts a file with `contents` in the place of `path` at once and durably, readable by everybody.
pub(super) fn replace(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).at("write into", folder)?;
    write_synced(written.path(), contents)?;
    // Temporary files are private by default.
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(written.path(), readable).at("set the permissions of", written.path())?;
    written.persist(path).map_err(|error| error.error).at("write", path)?;
    sync(folder)
}

/// Waits until the disk has what was written to a file, or which entries a folder has.
///
/// File systems that cannot sync folders (some network mounts) say `EINVAL`, which is no failure of the write.
pub(crate) fn flush(path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Makes the folder `dir` and what is missing above it, and waits until the disk has their names.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::create_dir(dir) {
        // Whoever made it meanwhile may not have synced it yet.
        Err(_) if dir.is_dir() => flush(parent),
        Err(error) => Err(error),
        Ok(()) => flush(parent),
    }
}

/// [`flush`], with the repository's error.
pub(super) fn sync(path: &Path) -> Result<(), Error> {
    flush(path).at("write", path)
}
