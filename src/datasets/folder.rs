//! A folder of this machine as the source of a data set.
//!
//! Its files are copied, never linked: a hard link shares the bytes with whoever still writes to the original,
//! and a data set never changes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::{
    entry_path::{fault_at, shown},
    error::{At, EntryFault, Error, FolderFault},
    inbox::Inbox,
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

/// Hands every file below `folder` to `inbox`, by name; links are followed as long as they stay inside `bounds`.
///
/// # Errors
/// Links that lead out, pipes and devices, and what the inbox refuses.
pub(super) fn walk(folder: &Path, bounds: &Path, inbox: &mut Inbox) -> Result<(), Error> {
    let bounds = fs::canonicalize(bounds).at("read", bounds)?;
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = waiting.pop() {
        let unreadable = |source| Error::Folder { path: shown(&prefix), fault: FolderFault::Unreadable(source) };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| fault_at(&format!("{prefix}{}", name.display()), EntryFault::NotUtf8))?;
            let name = format!("{prefix}{name}");
            let unreadable = |source| Error::Folder { path: shown(&name), fault: FolderFault::Unreadable(source) };
            // The path is bounded in depth, and with it the walk through links that lead back.
            let path = fs::canonicalize(entry.path()).map_err(unreadable)?;
            if !path.starts_with(&bounds) {
                return Err(Error::Folder { path: shown(&name), fault: FolderFault::Outside });
            }
            let kind = fs::metadata(&path).map_err(unreadable)?.file_type();
            if kind.is_dir() {
                inbox.folder(&name)?;
                waiting.push((path, format!("{name}/")));
            } else if kind.is_file() {
                let mut file = File::open(&path).map_err(unreadable)?;
                inbox.file(&name, &mut file, &unreadable)?;
            } else {
                return Err(fault_at(&name, EntryFault::Special));
            }
        }
    }
    Ok(())
}
