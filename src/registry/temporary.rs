//! Temporary files and folders, under names that nobody has.
//!
//! What goes wrong is the system's own error: its number says whether waiting helps, and it holds no path, which whoever reports
//! it names in a form that depends on who reads.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// A file that only this user can read; dropping it removes it.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    path: PathBuf,
    file: File,
    /// Whether it has another name now.
    is_kept: bool,
}

impl TemporaryFile {
    /// Makes an empty file in `folder` whose name begins with `prefix`.
    pub(crate) fn new(folder: &Path, prefix: &str) -> io::Result<Self> {
        let (path, file) =
            make(folder, prefix, |path| File::options().read(true).write(true).create_new(true).mode(0o600).open(path))?;
        Ok(Self { path, file, is_kept: false })
    }

    /// The file, open for reading and writing.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The file without a name: it is gone when it is closed, however the process ends.
    pub(crate) fn into_unnamed(self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Puts it in the place of `path` at once.
    pub(crate) fn persist(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes an empty folder in `parent` whose name begins with `prefix`, and gives its path.
pub(super) fn make_temporary_folder(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    Ok(make(parent, prefix, |path| DirBuilder::new().create(path))?.0)
}

/// What `create` makes of a new path in `folder`, which stays the same wherever the process goes.
fn make<T>(folder: &Path, prefix: &str, create: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    let path = std::path::absolute(folder)?.join(format!("{prefix}{}", Uuid::now_v7().simple()));
    let made = create(&path)?;
    Ok((path, made))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Seek, Write},
        os::unix::fs::{PermissionsExt, symlink},
    };

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_the_system_says_keeps_its_number_and_names_no_path() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, circle) = (dir.path().join("file"), dir.path().join("circle"));
        fs::write(&file, "").expect("a file");
        symlink(&circle, &circle).expect("a link");
        for (folder, errno) in [(dir.path().join("missing"), Errno::NOENT), (file, Errno::NOTDIR), (circle, Errno::LOOP)] {
            let errors = [
                TemporaryFile::new(&folder, ".new-").expect_err("no folder"),
                make_temporary_folder(&folder, ".new-").expect_err("no folder"),
            ];
            for error in errors {
                assert_eq!(Errno::from_io_error(&error), Some(errno), "{error:?}");
                assert!(error.get_ref().is_none(), "it is the system's own: {error:?}");
            }
        }
        for errno in [Errno::ROFS, Errno::MFILE, Errno::IO, Errno::NOSPC] {
            let error = make(dir.path(), ".new-", |_| Err::<(), _>(errno.into())).expect_err("it fails");
            assert_eq!(Errno::from_io_error(&error), Some(errno));
        }
    }

    #[test]
    fn nothing_stays_of_a_file_that_is_not_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let names = || fs::read_dir(dir.path()).expect("a folder").count();
        let kept = dir.path().join("kept");
        let mut file = TemporaryFile::new(dir.path(), ".new-").expect("it is made");
        file.file().write_all(b"new").expect("written");
        fs::write(&kept, "old").expect("a file");
        file.persist(&kept).expect("renamed");
        assert_eq!(fs::read(&kept).expect("a file"), b"new");
        assert_eq!(fs::metadata(&kept).expect("a file").permissions().mode() & 0o777, 0o600);
        drop(TemporaryFile::new(dir.path(), ".new-").expect("it is made"));
        assert_eq!(names(), 1);
        let lost = TemporaryFile::new(dir.path(), ".new-").expect("it is made");
        lost.persist(&dir.path().join("missing/kept")).expect_err("no folder");
        assert_eq!(names(), 1);
        let mut unnamed = TemporaryFile::new(dir.path(), ".new-").and_then(TemporaryFile::into_unnamed).expect("it is made");
        assert_eq!(names(), 1);
        unnamed.write_all(b"held").expect("written");
        unnamed.rewind().expect("to its begin");
        let mut text = String::new();
        unnamed.read_to_string(&mut text).expect("read");
        assert_eq!(text, "held");
    }
}
