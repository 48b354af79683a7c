//! Whether contents are images: each is decoded as training will decode it, on a bounded number of threads.
//!
//! Every data set has a thread of its own, and they take turns on the others: an image that takes minutes holds up its own data set
//! alone. Nobody waits for a thread whose data set was given up; it ends with the image that it has. Knows nothing of classes and
//! splits.

use std::{
    any::Any,
    collections::HashMap,
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::{
    bounds::Cancel,
    error::{At, Error},
};
use crate::{
    preprocess::{Decoder, Limits},
    work::lower_priority,
};

/// How long a thread checks images of one data set before those that wait have their turn.
const TURN: Duration = Duration::from_millis(250);

/// How much lower than serving the priority of checks is: a data set may bring a thread of its own.
const NICE: u8 = 5;

/// How often a check asks whether to go on.
const POLL: Duration = Duration::from_millis(20);

/// Decodes what arrives; clones share the threads.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    decoder: Decoder,
    turn: Duration,
    /// One for each data set that may be in the making. A thread of one that was given up keeps its own until it ends.
    own: Arc<Semaphore>,
    /// One for each image that may be decoded at once besides, over all data sets. Tokio's locks are fair: who waits is next, so
    /// that a few small photos do not wait for another data set's thousands of large ones.
    lanes: Arc<[Mutex<()>]>,
}

/// The files of a data set, on all threads that check them.
struct Work {
    files: Vec<PathBuf>,
    next: AtomicUsize,
    decoder: Decoder,
    turn: Duration,
    cancel: Cancel,
}

/// The files that are no images, each with the reason.
type Refused = HashMap<PathBuf, String>;

/// What came of a turn: how many files were checked, and those that are no images.
type Checked = (usize, Refused);

/// The same; a panic goes on in whoever waits.
type Outcome = Result<Result<Checked, Error>, Box<dyn Any + Send>>;

impl Checker {
    /// Checks on `threads` threads for one data set, of which `datasets` are in the making at most.
    pub fn new(threads: usize, datasets: usize, decoder: Decoder) -> Self {
        let lanes = (1..threads).map(|_| Mutex::default()).collect();
        Self { decoder, turn: TURN, own: Arc::new(Semaphore::new(datasets)), lanes }
    }

    pub fn limits(&self) -> Limits {
        *self.decoder.limits()
    }

    /// The files that are no images, each with the reason.
    pub fn refused(&self, files: Vec<PathBuf>, cancel: &Cancel) -> Result<Refused, Error> {
        if files.is_empty() {
            return Ok(Refused::new());
        }
        let own = self.own(cancel)?;
        let helpers = self.lanes.len().min(files.len() - 1);
        let (decoder, turn) = (self.decoder.clone(), self.turn);
        let work = Work { files, next: AtomicUsize::new(0), decoder, turn, cancel: cancel.clone() };
        let (work, (done, outcomes)) = (Arc::new(work), channel());
        for lane in 0..helpers {
            let (work, lanes, done) = (Arc::clone(&work), Arc::clone(&self.lanes), done.clone());
            // Without it the others do its share.
            let _ = start(move || work.turns(Some(&lanes[lane]), &done));
        }
        let all = Arc::clone(&work);
        let started = start(move || {
            // Until its end, not until somebody gives the data set up: it is what bounds the threads.
            let _own: OwnedSemaphorePermit = own;
            all.turns(None, &done);
        });
        started.at("start a thread for", &work.files[0])?;
        let (mut refused, mut left) = (Refused::new(), work.files.len());
        // Not until the threads end: one may wait for its turn behind an image that takes minutes, and find nothing left to do.
        while left > 0 {
            match outcomes.recv_timeout(POLL) {
                Ok(outcome) => {
                    let (count, found) = outcome.unwrap_or_else(|panic| resume_unwind(panic))?;
                    left -= count;
                    refused.extend(found);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("who takes a file says what came of it"),
            }
            cancel.check()?;
        }
        Ok(refused)
    }

    /// A thread of its own for a data set; those of data sets that were given up may hold all of them for a while.
    fn own(&self, cancel: &Cancel) -> Result<OwnedSemaphorePermit, Error> {
        loop {
            if let Ok(own) = Arc::clone(&self.own).try_acquire_owned() {
                return Ok(own);
            }
            cancel.check()?;
            thread::sleep(POLL);
        }
    }
}

impl Work {
    /// Checks files until none is left, in a lane those of other data sets in between, and sends what comes of them.
    fn turns(&self, lane: Option<&Mutex<()>>, done: &Sender<Outcome>) {
        while self.next.load(Ordering::Relaxed) < self.files.len() {
            let _turn = lane.map(Mutex::blocking_lock);
            let checked = catch_unwind(AssertUnwindSafe(|| self.turn()));
            let is_over = !matches!(checked, Ok(Ok(_)));
            // Of a data set that was given up, nobody wants to know.
            if done.send(checked).is_err() || is_over {
                // The others have no reason to go on.
                return self.next.store(self.files.len(), Ordering::Relaxed);
            }
        }
    }

    /// Checks files for the time of a turn, one at least if there is one.
    fn turn(&self) -> Result<Checked, Error> {
        let (mut count, mut refused, end) = (0, Refused::new(), Instant::now() + self.turn);
        loop {
            let Some(path) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok((count, refused)) };
            self.cancel.check()?;
            if let Some(reason) = self.check(path)? {
                refused.insert(path.clone(), reason);
            }
            count += 1;
            if Instant::now() >= end {
                return Ok((count, refused));
            }
        }
    }

    /// Why the file at `path` is no image, if it is none.
    fn check(&self, path: &PathBuf) -> Result<Option<String>, Error> {
        let mut file = File::open(path).at("read", path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).at("read", path)?;
        if let Err(error) = self.decoder.decode(&bytes, self.cancel.flag(), drop) {
            self.cancel.check()?;
            return Ok(Some(error.to_string()));
        }
        Ok(None)
    }
}

/// Runs `check` on a thread that nobody waits for.
fn start(check: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let run = move || {
        lower_priority(NICE);
        check();
    };
    thread::Builder::new().name("check".into()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{super::bounds::CancelOnDrop, *};
    use crate::work::Memory;

    const LIMITS: Limits = Limits { max_bytes: 8 << 20, max_pixels: 1_000_000 };

    fn photo(folder: &std::path::Path) -> PathBuf {
        let path = folder.join("photo");
        let noise = |x: u32, y: u32| image::Rgb([x as u8, y as u8, (x * y) as u8]);
        image::RgbImage::from_fn(1000, 1000, noise).save_with_format(&path, image::ImageFormat::Png).unwrap();
        path
    }

    fn checker(threads: usize, datasets: usize) -> Checker {
        Checker::new(threads, datasets, Decoder::alone(LIMITS))
    }

    /// A pipe that nobody writes to: an image that takes for ever.
    fn slow(folder: &std::path::Path) -> PathBuf {
        let path = folder.join("slow");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        path
    }

    /// Lets the threads that wait for `slow` go.
    fn end(slow: &std::path::Path) {
        drop(File::options().write(true).open(slow));
    }

    #[test]
    fn images_that_take_for_ever_hold_up_their_own_data_set_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (photo, slow) = (photo(folder.path()), slow(folder.path()));
        let checker = checker(3, 2);
        let cancel = Cancel::default();
        thread::scope(|scope| {
            let heavy = scope.spawn(|| checker.refused(vec![slow.clone(); 3], &cancel));
            while checker.lanes.iter().any(|lane| lane.try_lock().is_ok()) || checker.own.available_permits() == 2 {
                thread::yield_now();
            }
            // Every thread of the heavy one waits in an image.
            for count in [1, 5] {
                let light = checker.refused(vec![photo.clone(); count], &Cancel::default());
                assert_eq!(light.unwrap(), HashMap::new());
            }
            assert!(!heavy.is_finished());
            drop(CancelOnDrop(cancel.clone()));
            assert!(matches!(heavy.join().unwrap(), Err(Error::Cancelled)), "it is given up while its images go on");
        });
        // The light ones' threads end, and the heavy one's is still there.
        while checker.own.available_permits() != 1 {
            thread::yield_now();
        }
        end(&slow);
        while checker.own.available_permits() < 2 {
            thread::yield_now();
        }
    }

    #[test]
    fn data_sets_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let (photo, lane) = (photo(folder.path()), Mutex::new(()));
        let work = |count: usize| Work {
            files: vec![photo.clone(); count],
            next: AtomicUsize::new(0),
            decoder: Decoder::alone(LIMITS),
            turn: Duration::ZERO,
            cancel: Cancel::default(),
        };
        let (many, few, (done, outcomes)) = (work(100), work(1), channel());
        thread::scope(|scope| {
            let sender = done.clone();
            let other = scope.spawn(|| many.turns(Some(&lane), &{ sender }));
            while lane.try_lock().is_ok() {
                thread::yield_now();
            }
            few.turns(Some(&lane), &done);
            assert!(!other.is_finished(), "one photo waited for a hundred others");
            drop(CancelOnDrop(many.cancel.clone()));
        });
        drop(done);
        let ends = outcomes.into_iter().map(|outcome| outcome.expect("no panic"));
        assert!(matches!(ends.last(), Some(Err(Error::Cancelled))));
    }

    #[test]
    fn checks_wait_for_the_memory_that_others_decode_in() {
        let folder = tempfile::tempdir().unwrap();
        let photo = photo(folder.path());
        let decoding = Memory::new(4 * LIMITS.decoding_bytes());
        let checker = Checker::new(1, 2, Decoder::new(LIMITS, decoding.clone()));
        let all = decoding.take_blocking(u64::MAX, || Ok::<_, ()>(())).unwrap();
        let cancel = Cancel::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| checker.refused(vec![photo.clone()], &Cancel::default()));
            let given_up = scope.spawn(|| checker.refused(vec![photo.clone()], &cancel));
            thread::sleep(POLL);
            assert!(!waiting.is_finished() && !given_up.is_finished());
            drop(CancelOnDrop(cancel.clone()));
            assert!(matches!(given_up.join().unwrap(), Err(Error::Cancelled)));
            assert!(!waiting.is_finished());
            drop(all);
            assert_eq!(waiting.join().unwrap().unwrap(), HashMap::new());
        });
        // The thread of what was given up may end a moment later.
        while decoding.free() < decoding.bound() {
            thread::sleep(POLL);
        }
    }

    #[test]
    fn what_is_no_image_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (photo, text) = (photo(folder.path()), folder.path().join("text"));
        std::fs::write(&text, "no image").unwrap();
        let refused = checker(2, 1).refused(vec![photo, text.clone()], &Cancel::default()).unwrap();
        assert_eq!(refused.into_keys().collect::<Vec<_>>(), [text]);
    }
}
