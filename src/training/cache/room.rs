//! Room on disk: caches that were not used for the longest time go when all together are too large, or the disk has no room.
//!
//! A cache in use counts with all that it may come to hold, whichever process fills it; when that process dies it counts with what it
//! holds, and may go. Knows names and sizes of folders; reads no record.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::statvfs;
use tracing::{info, warn};

use super::store::LOCK;
use crate::training::error::{At, Error};

/// Holds how many bytes a cache may come to hold while it is in use.
const RESERVED: &str = "reserved";

/// All caches, in the hands of one process at a time while it finds out what room there is.
pub(super) struct Room<'a> {
    root: &'a Path,
    /// Bound on all caches together, in bytes.
    bound: u64,
    _lock: Option<File>,
}

struct Cache {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl<'a> Room<'a> {
    /// Waits until no other process has the caches below `root`.
    pub(super) fn lock(root: &'a Path, bound: u64) -> Result<Self, Error> {
        fs::create_dir_all(root).at("make the folder", root)?;
        // Where the file system has no locks, two jobs may reserve the same room.
        let _lock = File::open(root).ok().filter(|root| root.lock().is_ok());
        Ok(Self { root, bound, _lock })
    }

    /// Removes caches until `needed` bytes more than theirs are within the bound, and those of them that `own` do not hold yet on the
    /// disk; gives the bytes that `own` may take.
    ///
    /// Caches in use stay, by this process or another.
    pub(super) fn make(&self, own: &[String], needed: u64) -> Result<u64, Error> {
        let held: u64 = own.iter().map(|own| allocated(&self.root.join(own))).sum();
        let (needed, lacking) = (needed.min(self.bound), needed.min(self.bound).saturating_sub(held));
        let mut others = self.others(own)?;
        others.sort_by_key(|cache| cache.used);
        let mut total: u64 = others.iter().map(|cache| cache.bytes).sum();
        for cache in &others {
            if total.saturating_add(needed) <= self.bound && self.free() >= lacking {
                break;
            }
            if remove(cache) {
                total -= cache.bytes;
            }
        }
        Ok(self.bound.saturating_sub(total))
    }

    /// Notes that the cache `own` may come to hold `bytes`, and at least what it did for others where it `is_shared`.
    pub(super) fn reserve(&self, own: &str, bytes: u64, is_shared: bool) -> Result<(), Error> {
        let path = self.root.join(own).join(RESERVED);
        let before = if is_shared { reserved(&self.root.join(own)) } else { 0 };
        fs::write(&path, bytes.max(before).to_string()).at("write", &path)
    }

    /// Whether the disk has room for what the caches `own`, which may hold `bytes`, lack.
    ///
    /// # Errors
    /// [`Error::NoRoom`]: said before the disk is full, as others write to it too.
    pub(super) fn check(&self, own: &[String], bytes: u64) -> Result<(), Error> {
        let held: u64 = own.iter().map(|own| allocated(&self.root.join(own))).sum();
        let (needed, free) = (bytes.saturating_sub(held), self.free());
        if needed > free { Err(Error::no_room(self.root, needed, free)) } else { Ok(()) }
    }

    /// Bytes that the disk has room for; of one that does not say, enough.
    fn free(&self) -> u64 {
        statvfs(self.root).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn others(&self, own: &[String]) -> Result<Vec<Cache>, Error> {
        let mut caches = Vec::new();
        for entry in fs::read_dir(self.root).at("list", self.root)? {
            let entry = entry.at("list", self.root)?;
            let path = entry.path();
            if own.iter().any(|own| entry.file_name() == own.as_str()) || !path.is_dir() {
                continue;
            }
            let used = fs::metadata(path.join(LOCK)).and_then(|lock| lock.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let reserved = if is_used(&path) { reserved(&path) } else { 0 };
            caches.push(Cache { bytes: allocated(&path).max(reserved), used, path });
        }
        Ok(caches)
    }
}

/// Whether some process, this one included, has the cache in `folder` open.
pub(super) fn is_used(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

fn reserved(folder: &Path) -> u64 {
    fs::read_to_string(folder.join(RESERVED)).ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
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
