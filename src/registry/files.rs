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
    temporary::TemporaryFile,
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
    let mut written = TemporaryFile::new(folder, ".new-").at("write into", folder)?;
    let file = written.file();
    file.write_all(contents).and_then(|()| file.sync_all()).at("write", path)?;
    // Temporary files are private.
    file.set_permissions(fs::Permissions::from_mode(0o644)).at("set the permissions of", path)?;
    written.persist(path).at("write", path)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::Folders, telemetry::chain};

    #[test]
    fn what_is_replaced_is_whole_and_readable_by_everybody() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("stable");
        for contents in ["1\n", "12\n"] {
            replace(&path, contents.as_bytes()).expect("it is written");
            assert_eq!(fs::read_to_string(&path).expect("a file"), contents);
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o644);
        }
        assert_eq!(fs::read_dir(root.path()).expect("a folder").count(), 1, "nothing else stays");
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named_as_its_reader_may_read_it() {
        let root = tempfile::tempdir().expect("a folder");
        let error = replace(&root.path().join("missing/stable"), b"1\n").expect_err("no folder");
        let Error::Io { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(rustix::io::Errno::from_io_error(source), Some(rustix::io::Errno::NOENT));
        let folders = Folders::new([(root.path(), "models.dir")]);
        let text = folders.for_client(|| chain(&error));
        assert!(text.contains("`models.dir/missing`"), "{text}");
        assert!(!text.contains(&*root.path().to_string_lossy()), "{text}");
    }
}
