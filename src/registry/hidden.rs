//! Hidden folders: what is being made or taken away lies there, out of readers' sight, until it is whole or gone.
//!
//! A folder is locked as long as its process lives; that tells what a dead one left behind. Knows nothing of the contents.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::io::Errno;
use uuid::Uuid;

use super::temporary::make_temporary_folder;

/// Begins the name of a folder whose contents are being made.
pub(crate) const STAGING_PREFIX: &str = ".staging-";
/// Begins the name of a folder whose contents are being deleted.
pub(crate) const REMOVED_PREFIX: &str = ".removed-";
/// Begins the name of a folder that only tells that its process lives.
pub(crate) const PROCESS_PREFIX: &str = ".process-";

/// Where file systems know no locks, only age tells that a folder was left behind.
const UNLOCKABLE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A hidden folder; dropping it removes it with all that is in it.
#[derive(Debug)]
pub(crate) struct HiddenFolder {
    dir: PathBuf,
    /// Whether it has another name now.
    is_kept: bool,
    /// Locked as long as this process works on the folder; `None` where the file system has no locks.
    _lock: Option<File>,
}

impl HiddenFolder {
    /// Makes a folder in `parent` whose name begins with `prefix`.
    pub(crate) fn new(parent: &Path, prefix: &str) -> io::Result<Self> {
        // Whoever cleans holds the same lock, so that no folder is seen between its making and its locking.
        let _parent = lock(parent);
        let dir = make_temporary_folder(parent, prefix)?;
        let _lock = lock(&dir);
        Ok(Self { dir, is_kept: false, _lock })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// Lets the folder be: it has another name now.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for HiddenFolder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// What was taken away from among others; dropping it deletes it, which takes its time.
#[derive(Debug)]
pub(crate) struct Removed {
    /// `None` once it is deleted.
    path: Option<PathBuf>,
    /// As that of a [`HiddenFolder`].
    _lock: Option<File>,
}

impl Removed {
    /// Takes the folder `path` away from `parent`, called `name` in what is left: at once, and without room on the disk.
    pub(crate) fn take_away(parent: &Path, path: &Path, name: &str) -> io::Result<Self> {
        let target = parent.join(format!("{REMOVED_PREFIX}{name}-{}", Uuid::now_v7().simple()));
        let _parent = lock(parent);
        fs::rename(path, &target)?;
        let _lock = lock(&target);
        Ok(Self { path: Some(target), _lock })
    }

    /// Deletes it.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.delete()
    }

    fn delete(&mut self) -> io::Result<()> {
        self.path.take().map_or(Ok(()), fs::remove_dir_all)
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(error) = self.delete() {
            tracing::warn!(%error, "cannot delete all that was removed; the next start tries again");
        }
    }
}

/// Removes from `parent` the hidden folders of dead processes, and says which.
pub(crate) fn clean(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent)?;
    let _parent = lock(parent);
    let mut cleaned = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.file_name().is_some_and(is_hidden) && abandoned(&path) {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                removed => removed?,
            }
            cleaned.push(path);
        }
    }
    Ok(cleaned)
}

/// Whether the name is that of a hidden folder.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    [STAGING_PREFIX, REMOVED_PREFIX, PROCESS_PREFIX].iter().any(|prefix| begins(name.as_ref(), prefix))
}

/// Whether the process that made a hidden folder is known to be gone; without the parent's lock it may be about to lock a new one.
///
/// A folder that cannot be looked at now (too many open files, no permission) says nothing of its process.
pub(crate) fn abandoned(folder: &Path) -> bool {
    let Ok(file) = File::open(folder) else { return false };
    match file.try_lock_shared() {
        Ok(()) => true,
        // One that shows that its process lives is never written to: its age says nothing.
        Err(TryLockError::Error(error)) if knows_no_locks(&error) => {
            !begins(folder, PROCESS_PREFIX) && older(folder, UNLOCKABLE_AGE)
        }
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// Whether that is what a file system says that has no locks.
fn knows_no_locks(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSYS | Errno::OPNOTSUPP))
}

fn begins(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// Whether nothing has been made or removed in `folder` for longer than `age`.
pub(super) fn older(folder: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(folder).and_then(|metadata| metadata.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|since| since > age)
}

/// The locked folder; `None` where the file system has no locks.
pub(crate) fn lock(folder: &Path) -> Option<File> {
    File::open(folder).ok().filter(|folder| folder.lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes what lies at `path` itself, not what it leads to, older than anything is kept for.
    fn age(path: &Path) {
        let long_ago = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: long_ago, last_modification: long_ago };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).expect("its owner may");
    }

    #[test]
    fn only_a_lock_that_is_free_says_that_a_process_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = HiddenFolder::new(dir.path(), STAGING_PREFIX).expect("it is made");
        age(held.path());
        assert!(!abandoned(held.path()));
        // Whatever keeps it from being opened: root may open all but a link that leads to itself.
        for prefix in [STAGING_PREFIX, REMOVED_PREFIX, PROCESS_PREFIX] {
            let circle = dir.path().join(format!("{prefix}circle"));
            std::os::unix::fs::symlink(&circle, &circle).expect("it is made");
            age(&circle);
            assert!(!abandoned(&circle), "{prefix}");
        }
        let left = dir.path().join(format!("{STAGING_PREFIX}left"));
        fs::create_dir(&left).expect("it is made");
        assert_eq!(clean(dir.path()).expect("it can be read"), [left]);
    }

    #[test]
    fn what_the_system_cannot_say_now_is_no_lack_of_locks() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::INTR, Errno::ACCESS, Errno::IO, Errno::NOLCK] {
            assert!(!knows_no_locks(&errno.into()), "{errno}");
        }
        assert!(knows_no_locks(&Errno::OPNOTSUPP.into()) && knows_no_locks(&Errno::NOSYS.into()));
    }
}
