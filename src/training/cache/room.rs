//! Room on disk: caches that were not used for the longest time go when all together are too large.
//!
//! Knows names and sizes of folders; reads no record.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tracing::{info, warn};

use super::store::LOCK;
use crate::training::error::{At, Error};

struct Cache {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Removes caches below `root` until `needed` bytes more than theirs are within `bound`; gives the bytes that `own` may take.
///
/// Caches in use stay, by this process or another.
pub(super) fn make(root: &Path, own: &[String], needed: u64, bound: u64) -> Result<u64, Error> {
    let mut others = others(root, own)?;
    others.sort_by_key(|cache| cache.used);
    let mut total: u64 = others.iter().map(|cache| cache.bytes).sum();
    for cache in &others {
        if total.saturating_add(needed) <= bound {
            break;
        }
        if remove(cache) {
            total -= cache.bytes;
        }
    }
    Ok(bound.saturating_sub(total))
}

fn others(root: &Path, own: &[String]) -> Result<Vec<Cache>, Error> {
    let mut caches = Vec::new();
    for entry in fs::read_dir(root).at("list", root)? {
        let entry = entry.at("list", root)?;
        let path = entry.path();
        if own.iter().any(|own| entry.file_name() == own.as_str()) || !path.is_dir() {
            continue;
        }
        let used = fs::metadata(path.join(LOCK)).and_then(|lock| lock.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        caches.push(Cache { bytes: allocated(&path), used, path });
    }
    Ok(caches)
}

/// Bytes on disk of the files in `folder`; files that vanish meanwhile count nothing.
fn allocated(folder: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * BLOCK).sum()
}

/// Whether the cache was not in use and is gone.
fn remove(cache: &Cache) -> bool {
    if let Ok(lock) = File::open(cache.path.join(LOCK))
        && lock.try_lock().is_err()
    {
        return false;
    }
    match fs::remove_dir_all(&cache.path) {
        Ok(()) => {
            info!(path = %cache.path.display(), bytes = cache.bytes, "removed a cache that was not used for the longest time");
            true
        }
        Err(error) => {
            warn!(path = %cache.path.display(), %error, "cannot remove an old cache");
            false
        }
    }
}
