//! Whether contents are images: each is decoded as training will decode it, and synced, on a bounded number of threads.
//!
//! Knows nothing of classes and splits.

use std::{
    collections::HashMap,
    fs::File,
    io::Read,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::{
    bounds::Cancel,
    error::{At, Error},
};
use crate::preprocess::{Limits, decode};

/// How long a thread checks images of one data set before those that wait have their turn.
const TURN: Duration = Duration::from_millis(250);

/// Decodes what arrives; clones share the threads.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    limits: Limits,
    turn: Duration,
    /// One for each image that may be decoded at once, over all data sets. Tokio's locks are fair: who waits is next, so that a
    /// few small photos do not wait for another data set's thousands of large ones.
    lanes: Arc<[Mutex<()>]>,
}

impl Checker {
    pub fn new(threads: usize, limits: Limits) -> Self {
        Self { limits, turn: TURN, lanes: (0..threads).map(|_| Mutex::default()).collect() }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The files that are no images, each with the reason; the others' bytes are on disk for good.
    pub fn refused(&self, files: &[PathBuf], cancel: &Cancel) -> Result<HashMap<PathBuf, String>, Error> {
        let next = AtomicUsize::new(0);
        let in_lane = |lane: &Mutex<()>| {
            let mut refused = Vec::new();
            loop {
                let _turn = lane.blocking_lock();
                let began = Instant::now();
                loop {
                    let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(refused) };
                    match cancel.check().and_then(|()| check(path, &self.limits)) {
                        Ok(None) => {}
                        Ok(Some(reason)) => refused.push((path.clone(), reason)),
                        Err(error) => {
                            // The others have no reason to go on.
                            next.store(files.len(), Ordering::Relaxed);
                            return Err(error);
                        }
                    }
                    if began.elapsed() >= self.turn {
                        break;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            let lanes = self.lanes.iter().take(files.len());
            let threads: Vec<_> = lanes.map(|lane| scope.spawn(move || in_lane(lane))).collect();
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

#[cfg(test)]
mod tests {
    use super::{super::bounds::CancelOnDrop, *};

    #[test]
    fn data_sets_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo");
        let noise = |x: u32, y: u32| image::Rgb([x as u8, y as u8, (x * y) as u8]);
        image::RgbImage::from_fn(1000, 1000, noise).save_with_format(&path, image::ImageFormat::Png).unwrap();
        let limits = Limits { max_bytes: 8 << 20, max_pixels: 1_000_000 };
        let checker = Checker { turn: Duration::ZERO, ..Checker::new(1, limits) };
        let (many, cancel) = (vec![path.clone(); 100], Cancel::default());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| checker.refused(&many, &cancel));
            while checker.lanes[0].try_lock().is_ok() {
                std::thread::yield_now();
            }
            assert_eq!(checker.refused(std::slice::from_ref(&path), &Cancel::default()).unwrap(), HashMap::new());
            assert!(!other.is_finished(), "one photo waited for a hundred others");
            drop(CancelOnDrop(cancel.clone()));
            assert!(matches!(other.join().unwrap(), Err(Error::Cancelled)));
        });
    }
}
