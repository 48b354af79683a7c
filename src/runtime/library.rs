//! Finds the ONNX Runtime library: configured, beside the binary, or in the folders that `make` and the image use.
//!
//! The file's name carries a version (`libonnxruntime.so.1.32.0`), so folders are searched for the prefix.

use std::path::{Path, PathBuf};

use super::Error;

/// Folders looked into below each ancestor of the binary and of the working directory.
pub const SEARCHED: [&str; 2] = [".onnxruntime", "lib"];

const PREFIX: &str = if cfg!(target_os = "macos") { "libonnxruntime" } else { "libonnxruntime.so" };

/// The library's full path: `configured` (a file, or a folder that holds it), else the first found by searching.
///
/// # Errors
/// [`Error::LibraryNotFound`] naming the places.
pub fn locate(configured: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(path) = configured {
        let found = if path.is_dir() { library_in(path) } else { path.is_file().then(|| path.to_path_buf()) };
        return found.ok_or_else(|| Error::LibraryNotFound { searched: vec![path.display().to_string()] });
    }
    let mut searched = Vec::new();
    for folder in folders() {
        if let Some(found) = library_in(&folder) {
            return Ok(found);
        }
        searched.push(folder.display().to_string());
    }
    Err(Error::LibraryNotFound { searched })
}

/// Candidate folders, nearest first.
fn folders() -> Vec<PathBuf> {
    let binary = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let working = std::env::current_dir().ok();
    let mut folders: Vec<PathBuf> = Vec::new();
    let starts = [binary.as_deref().and_then(Path::parent), working.as_deref()];
    for ancestor in starts.into_iter().flatten().flat_map(Path::ancestors).filter(|path| path.parent().is_some()) {
        folders.extend(SEARCHED.iter().map(|name| ancestor.join(name)));
    }
    folders.extend(["/usr/local/lib/graft", "/usr/local/lib", "/usr/lib"].map(PathBuf::from));
    folders.dedup();
    folders
}

/// The highest-named library file in `folder`.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX)))
        .filter(|path| path.is_file())
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_versioned_file_in_a_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("libonnxruntime_providers_shared.so"), b"").expect("written");
        assert!(library_in(folder.path()).is_none());
        let library = folder.path().join(format!("{PREFIX}.1.32.0"));
        std::fs::write(&library, b"").expect("written");
        assert_eq!(locate(Some(folder.path())).expect("found"), library);
    }

    #[test]
    fn a_missing_library_names_the_place() {
        let error = locate(Some(Path::new("/nonexistent/libonnxruntime.so"))).expect_err("missing");
        assert!(error.to_string().contains("/nonexistent/libonnxruntime.so"), "{error}");
    }
}
