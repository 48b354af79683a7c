//! Which processes live: each holds a locked folder of its own, whose lock the system takes from the dead.
//!
//! SQLite's write-ahead log needs all processes that share a store on one machine, so that the locks tell of all of them.

use std::{fs, io, path::Path};

use crate::registry::{
    hidden::{self, HiddenFolder, PROCESS_PREFIX, abandoned},
    make_folder,
};

/// Folder in `data.dir` of the processes that have the store open.
const FOLDER: &str = "processes";

/// This process, as others see that it lives.
#[derive(Debug)]
pub(super) struct Process {
    folder: HiddenFolder,
}

impl Process {
    /// Shows that this process lives, in `dir`, as long as the value does; what dead ones left there goes.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let processes = dir.join(FOLDER);
        make_folder(&processes)?;
        // What cannot be removed, because another user left it, does no harm.
        let _ = hidden::clean(&processes);
        Ok(Self { folder: HiddenFolder::new(&processes, PROCESS_PREFIX)? })
    }

    /// A name that no other process has.
    pub(super) fn name(&self) -> &str {
        self.folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Whether the process called `name` is known to be dead; where the file system has no locks, none is.
    pub(super) fn is_dead(&self, name: &str) -> bool {
        let folder = self.folder.path().with_file_name(name);
        name.starts_with(PROCESS_PREFIX) && (is_missing(&folder) || abandoned(&folder))
    }
}

/// Whether the system says that there is no such folder, and nothing less definite.
fn is_missing(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_its_lock_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let [one, other] = [Process::new(dir.path()), Process::new(dir.path())].map(|process| process.expect("it is made"));
        assert_ne!(one.name(), other.name());
        let name = other.name().to_owned();
        assert!(!one.is_dead(&name) && !one.is_dead(one.name()));
        // As a process that is killed leaves it: the folder stays, the lock goes.
        let left =
            std::mem::ManuallyDrop::new(tempfile::Builder::new().prefix(PROCESS_PREFIX).tempdir_in(dir.path().join(FOLDER)));
        let left =
            left.as_ref().expect("it is made").path().file_name().and_then(|name| name.to_str()).expect("ASCII").to_owned();
        assert!(one.is_dead(&left));
        drop(other);
        assert!(one.is_dead(&name));
        // One that cannot be looked at may live.
        let circle = dir.path().join(FOLDER).join(format!("{PROCESS_PREFIX}circle"));
        std::os::unix::fs::symlink(&circle, &circle).expect("it is made");
        assert!(!one.is_dead(&format!("{PROCESS_PREFIX}circle")));
        assert!(!one.is_dead("a lease of an older graft"), "nothing is known of it");
        let third = Process::new(dir.path()).expect("it is made");
        assert!(third.is_dead(&left) && !dir.path().join(FOLDER).join(&left).exists(), "the next one cleans up");
    }
}
