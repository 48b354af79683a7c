//! The file beside the store that says that there were API keys: a store that is moved away or deleted opens no server.
//!
//! Knows no key.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::registry::flush;

/// File name in `data.dir`.
pub(in crate::jobs) const MARKER: &str = "keys-were-made";

/// For whoever finds the file.
const TEXT: &str = "\
API keys were made on this data folder (`graft keys`). They are kept in jobs.db; without that file nobody is let in.
Put jobs.db back, or make new keys (`graft keys create`), and restart graft. Where jobs.db holds no key, none revoked either, removing this
file and restarting opens graft again; to answer without keys whatever there is, set `server.auth` to `off`.
";

/// Whether keys were ever made, whatever became of them.
#[derive(Debug)]
pub(super) struct Marker {
    path: PathBuf,
}

impl Marker {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// That of the folder `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(MARKER) }
    }

    /// Whether it is set; where that cannot be seen, it is.
    pub(super) fn is_set(&self) -> bool {
        fs::symlink_metadata(&self.path).err().is_none_or(|error| error.kind() != io::ErrorKind::NotFound)
    }

    /// Sets it, durably.
    pub(super) fn set(&self) -> io::Result<()> {
        if self.is_set() {
            return Ok(());
        }
        let written = File::create_new(&self.path).and_then(|mut file| {
            let written = file.write_all(TEXT.as_bytes()).and_then(|()| file.sync_all());
            // A key that is not made then leaves no server closed.
            written.inspect_err(|_| drop(fs::remove_file(&self.path)))
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.path.parent().map_or(Ok(()), flush),
        }
    }
}
