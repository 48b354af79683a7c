//! Why the repository cannot be read or written.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{
    checked::WAY_OUT,
    metadata::{MetadataError, NAME_RULE},
};
use crate::message::ServerPath;

/// Why the repository cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} `{path}`{}", way_out(.source, .path))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The repository's path is something else.
    #[error("the model repository `{0}` is not a folder; set `models.dir` to one")]
    NotAFolder(ServerPath),
    /// Not a model name.
    #[error("`{0}` is not a valid model name; {NAME_RULE}")]
    InvalidName(String),
    /// The metadata of a version to be published contradicts itself.
    #[error("the metadata of `{name}` is wrong")]
    InvalidMetadata {
        /// The model.
        name: String,
        /// The rule that is broken.
        #[source]
        source: MetadataError,
    },
    /// A file of a version to be published is missing or has another size than its metadata says.
    #[error("`{name}` cannot be published: {reason}")]
    Incomplete {
        /// The model.
        name: String,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// A file of a version is not the one that was published.
    #[error("version {version} of `{name}` cannot be used: {reason}; {WAY_OUT}")]
    Damaged {
        /// The model.
        name: String,
        /// Its version.
        version: u32,
        /// Which file, and how it is known.
        reason: String,
    },
    /// No whole version of that number.
    #[error("model `{name}` has no version {version} in the repository")]
    UnknownVersion {
        /// The model.
        name: String,
        /// What was asked for.
        version: u32,
    },
    /// Other publishers took every version number that was tried, or none is left.
    #[error("no free version number for `{name}` after {tries} tries; try again, or check its folder")]
    NoFreeVersion {
        /// The model.
        name: String,
        /// How many numbers were tried.
        tries: u32,
    },
}

/// Attaches what was tried on which path to an `io::Error`.
pub(super) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for Result<T, io::Error> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.into(), source })
    }
}

impl<T> At<T> for Result<T, rustix::io::Errno> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(io::Error::from).at(action, path)
    }
}

fn way_out(source: &io::Error, path: &Path) -> String {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(path);
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            format!("; give this user permission on it and on the folder `{}`", ServerPath::from(folder))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there".into(),
        ErrorKind::ReadOnlyFilesystem => "; mount the repository writable, or choose another with `models.dir`".into(),
        _ => String::new(),
    }
}
