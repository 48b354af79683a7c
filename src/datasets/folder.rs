//! A folder of this machine as the source of a data set.
//!
//! Its files are copied, never linked: a hard link shares the bytes with whoever still writes to the original,
//! and a data set never changes.

use std::{
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    entry_path::{fault_at, shown},
    error::{At, EntryFault, Error, FolderFault},
    inbox::Inbox,
    names::{NameEncoding, read_name},
};

/// The folder that `path` names below `root`, absolute and without links.
///
/// # Errors
/// Outside `root`, or no folder.
pub(super) fn below(root: Option<&Path>, path: &str) -> Result<PathBuf, Error> {
    let root = root.ok_or(Error::NoRoot)?;
    let fault = |fault| Error::Folder { path: shown(path), fault };
    let root = fs::canonicalize(root).at("find `datasets.root`", root)?;
    // Whether something exists outside is nobody's business: the same answer for both.
    let Ok(folder) = fs::canonicalize(root.join(path)) else {
        let inside = root.join(path).starts_with(&root) && !path.split('/').any(|part| part == "..");
        return Err(fault(if inside { FolderFault::NotAFolder } else { FolderFault::Outside }));
    };
    if !folder.starts_with(&root) {
        return Err(fault(FolderFault::Outside));
    }
    if !folder.is_dir() {
        return Err(fault(FolderFault::NotAFolder));
    }
    Ok(folder)
}

/// What a walk comes by.
pub(super) enum Found {
    /// A folder, and where it lies, without links.
    Folder(PathBuf),
    /// A file, and where it lies, without links.
    File(PathBuf),
    /// What is neither, or is not to be read.
    Refused(Error),
}

/// Hands every file below `folder` to `inbox`; links are followed as long as they stay inside `bounds`.
///
/// # Errors
/// Links that lead out, pipes and devices, and what the inbox refuses.
pub(super) fn deliver(folder: &Path, bounds: &Path, names: Option<NameEncoding>, inbox: &mut Inbox) -> Result<(), Error> {
    walk(folder, bounds, names, &mut |name, found| match found {
        Found::Folder(_) => inbox.folder(name),
        Found::File(path) => {
            let unreadable = |source| Error::Folder { path: shown(name), fault: FolderFault::Unreadable(source) };
            let mut file = File::open(&path).map_err(unreadable)?;
            inbox.file(name, &mut file, &unreadable)
        }
        Found::Refused(error) => Err(error),
    })
}

/// Shows everything below `folder` to `visit`, with its path there, of which parts that are not UTF-8 are read as `names` says;
/// what lies outside `bounds` is refused.
///
/// Links that lead back make a walk endless unless `visit` refuses paths of some depth.
///
/// # Errors
/// Folders that cannot be read, and what `visit` refuses.
pub(super) fn walk(
    folder: &Path,
    bounds: &Path,
    names: Option<NameEncoding>,
    visit: &mut dyn FnMut(&str, Found) -> Result<(), Error>,
) -> Result<(), Error> {
    let bounds = fs::canonicalize(bounds).at("read", bounds)?;
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = waiting.pop() {
        let unreadable = |source| Error::Folder { path: shown(&prefix), fault: FolderFault::Unreadable(source) };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let file_name = entry.file_name();
            let (name, found) = match read_name(file_name.as_bytes(), names) {
                Ok(read) => {
                    let name = format!("{prefix}{read}");
                    let found = look(&entry.path(), &name, &bounds);
                    (name, found)
                }
                Err(fault) => {
                    let name = format!("{prefix}{}", file_name.display());
                    let found = Found::Refused(fault_at(&name, fault));
                    (name, found)
                }
            };
            let below = match &found {
                Found::Folder(path) => Some((path.clone(), format!("{name}/"))),
                Found::File(_) | Found::Refused(_) => None,
            };
            visit(&name, found)?;
            waiting.extend(below);
        }
    }
    Ok(())
}

/// What lies at `path`, behind links.
fn look(path: &Path, name: &str, bounds: &Path) -> Found {
    let refused = |fault| Found::Refused(Error::Folder { path: shown(name), fault });
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(source) => return refused(FolderFault::Unreadable(source)),
    };
    if !path.starts_with(bounds) {
        return refused(FolderFault::Outside);
    }
    match fs::metadata(&path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_dir() => Found::Folder(path),
        Ok(kind) if kind.is_file() => Found::File(path),
        Ok(_) => Found::Refused(fault_at(name, EntryFault::Special)),
        Err(source) => refused(FolderFault::Unreadable(source)),
    }
}
