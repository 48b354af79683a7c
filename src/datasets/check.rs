//! Whether contents are images: each is decoded as training will decode it, and synced, on a bounded number of threads.
//!
//! Knows nothing of classes and splits.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    bounds::Cancel,
    error::{At, Error},
};
use crate::preprocess::{Limits, decode};

/// Decodes what arrives; clones share the threads.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    threads: usize,
    limits: Limits,
    /// Held while one data set is checked, so that all of them together use no more threads than configured.
    turn: Arc<Mutex<()>>,
}

impl Checker {
    pub fn new(threads: usize, limits: Limits) -> Self {
        Self { threads, limits, turn: Arc::default() }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The files that are no images, each with the reason; the others' bytes are on disk for good.
    pub fn refused(&self, files: &[PathBuf], cancel: &Cancel) -> Result<HashMap<PathBuf, String>, Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut refused = Vec::new();
            while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let checked = cancel.check().and_then(|()| check(path, &self.limits));
                match checked {
                    Ok(None) => {}
                    Ok(Some(reason)) => refused.push((path.clone(), reason)),
                    Err(error) => {
                        // The others have no reason to go on.
                        next.store(files.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            Ok(refused)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads.min(files.len())).map(|_| scope.spawn(work)).collect();
            let mut all = HashMap::new();
            for thread in threads {
                match thread.join() {
                    Ok(refused) => all.extend(refused?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(all)
        })
    }
}

fn check(path: &PathBuf, limits: &Limits) -> Result<Option<String>, Error> {
    let mut file = File::open(path).at("read", path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).at("read", path)?;
    if let Err(error) = decode(&bytes, limits) {
        return Ok(Some(error.to_string()));
    }
    file.sync_all().at("write", path)?;
    Ok(None)
}
