//! The images that a command is given: files, and folders that are searched for them.
//!
//! Knows names of files alone; nothing is opened.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::answer;
use crate::datasets::never_an_image;

/// Endings that are taken for images inside folders; files named on the command line may have any.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff", "jfif"];

/// The files themselves, and the images below the folders, in order of their paths.
pub(super) fn images(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut others) = (Vec::new(), 0);
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            others += search(path, &mut found)?;
            found[before..].sort();
        } else {
            found.push(path.clone());
        }
    }
    if found.is_empty() {
        bail!("no images found; looked for files ending in {}", ENDINGS.join(", "));
    }
    if others > 0 {
        answer::note(format_args!(
            "skipped {others} other files, which are hidden or whose names end in none of {}",
            ENDINGS.join(", ")
        ));
    }
    Ok(found)
}

/// Adds the images below `folder` to `found`; gives the number of other files.
fn search(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<usize> {
    let mut others = 0;
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let path = entry.path();
        let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        // Of folders, the same is passed over as of data sets.
        if entry.file_name().to_str().and_then(never_an_image).is_some() {
            others += usize::from(kind.is_file());
        } else if kind.is_dir() {
            others += search(&path, found)?;
        } else if ENDINGS.contains(&ending.as_str()) {
            found.push(path);
        } else {
            others += 1;
        }
    }
    Ok(others)
}
