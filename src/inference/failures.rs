//! What could not be loaded, why, and when to try again.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tracing::warn;

use super::Error;
use crate::{
    message::Folders,
    registry::{self, FilesStamp, ModelVersion},
    telemetry::chain,
};

/// How long a version that could not be loaded is not tried again; twice as long after each further failure of the same files.
const RETRY: Duration = Duration::from_secs(30);

/// Doublings of [`RETRY`]: 16 minutes are the longest wait.
const MAX_DOUBLINGS: u32 = 5;

/// Versions that are not loaded though they should be, and models that are not there.
pub(super) struct Failures {
    /// What a client may call the repository.
    folders: Folders,
    /// By name, and number of a version that is there. A plain lock: looked into for a moment.
    known: RwLock<BTreeMap<Key, Failure>>,
}

type Key = (String, Option<u32>);

struct Failure {
    /// What was tried; `None` for a model that is not there.
    version: Option<ModelVersion>,
    /// As a client reads it.
    reason: String,
    at: Instant,
    lasting: Option<Lasting>,
}

/// A failure that the same files would have again, at the cost of what is unloaded for them.
struct Lasting {
    error: Arc<Error>,
    files: FilesStamp,
    /// Earlier ones.
    before: u32,
}

impl Failures {
    /// No failures yet; a client reads `folders` by their settings.
    pub(super) fn new(folders: Folders) -> Self {
        Self { folders, known: RwLock::default() }
    }

    /// Keeps that there is no model `name` to load.
    pub(super) fn note_missing(&self, name: &str, error: &Error) {
        self.keep((name.to_owned(), None), None, error, None);
    }

    /// Keeps why `version` is not loaded; `files` are what was tried.
    pub(super) fn note(&self, version: &ModelVersion, files: Option<FilesStamp>, error: &Error) {
        let lasting = match error {
            Error::Shared(error) if is_lasting(error) => files.map(|files| (Arc::clone(error), files)),
            _ => None,
        };
        self.keep(key(version), Some(version), error, lasting);
    }

    /// Says so in the log when it is news.
    fn keep(&self, key: Key, version: Option<&ModelVersion>, error: &Error, lasting: Option<(Arc<Error>, FilesStamp)>) {
        let reason = self.folders.for_client(|| chain(error));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = known.get(&key);
        if earlier.is_none_or(|earlier| earlier.reason != reason) {
            warn!(model = key.0, version = key.1, reason = chain(error), "a model that should answer is not served");
        }
        let lasting = lasting.map(|(error, files)| {
            // Everybody who waited for it says so.
            let again = u32::from(earlier.is_some_and(Failure::is_due));
            let same = earlier.and_then(|earlier| earlier.lasting.as_ref()).filter(|earlier| earlier.files == files);
            Lasting { error, files, before: same.map_or(0, |earlier| earlier.before + again) }
        });
        known.insert(key, Failure { version: version.cloned(), reason, at: Instant::now(), lasting });
    }

    /// `version` is loaded: what is known of it, or that its model was not there, is over; of other versions it is not.
    pub(super) fn forget(&self, version: &ModelVersion) {
        let over = [key(version), (version.metadata.name.clone(), None)];
        let is_known = {
            let known = self.read();
            over.iter().any(|key| known.contains_key(key))
        };
        if is_known {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|key, _| !over.contains(key));
        }
    }

    /// Forgets versions that left the repository.
    pub(super) fn retain(&self, keep: impl Fn(&ModelVersion) -> bool) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, failure| failure.version.as_ref().is_none_or(&keep));
    }

    /// Whether `version` is one that could not be loaded.
    pub(super) fn is_broken(&self, version: &ModelVersion) -> bool {
        self.of(version, |_| ()).is_some()
    }

    /// Whether `version` failed, and it is time to try it again.
    pub(super) fn is_due(&self, version: &ModelVersion) -> bool {
        self.of(version, Failure::is_due).unwrap_or(false)
    }

    /// What `version` with these `files` failed with, if it would again, and it is not time to try.
    pub(super) fn lasting(&self, version: &ModelVersion, files: FilesStamp) -> Option<Arc<Error>> {
        let lasting = |failure: &Failure| {
            let lasting = failure.lasting.as_ref().filter(|lasting| lasting.files == files && !failure.is_due())?;
            Some(Arc::clone(&lasting.error))
        };
        self.of(version, lasting).flatten()
    }

    /// Why `version` is not loaded.
    pub(super) fn reason(&self, version: &ModelVersion) -> Option<String> {
        self.of(version, |failure| failure.reason.clone())
    }

    /// What `look` finds in the failure of `version`.
    fn of<T>(&self, version: &ModelVersion, look: impl FnOnce(&Failure) -> T) -> Option<T> {
        let known = self.read();
        let failure = known.get(&key(version))?;
        failure.version.as_ref().is_some_and(|failed| is_same(failed, version)).then(|| look(failure))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Failure>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn is_due(&self) -> bool {
        let doublings = self.lasting.as_ref().map_or(0, |lasting| lasting.before.min(MAX_DOUBLINGS));
        self.at.elapsed() >= RETRY * (1 << doublings)
    }
}

/// Whether the files are to blame, and not what the machine has left or the configuration allows.
fn is_lasting(error: &Error) -> bool {
    match error {
        Error::Shared(error) => is_lasting(error),
        Error::Graph { .. } | Error::Runtime { .. } | Error::WorkerGone { .. } => true,
        Error::Registry(error) => matches!(error, registry::Error::Damaged { .. }),
        _ => false,
    }
}

fn key(version: &ModelVersion) -> Key {
    (version.metadata.name.clone(), Some(version.metadata.version))
}

/// Whether two look-ups found the same publication: a version that was removed and imported again is another.
fn is_same(one: &ModelVersion, other: &ModelVersion) -> bool {
    let is_published_then = || one.dir() == other.dir() && one.metadata.created == other.metadata.created;
    Arc::ptr_eq(&one.metadata, &other.metadata) || is_published_then()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::{FileStamp, metadata, version};

    fn unreadable(path: std::path::PathBuf) -> Error {
        let source = crate::graph::Error::Io { path: path.into(), source: std::io::ErrorKind::NotFound.into() };
        Error::Graph { model: "a".to_owned(), source: source.into() }
    }

    #[test]
    fn a_failure_is_that_of_a_version_until_it_loads() {
        let repository = std::path::Path::new("/data/models");
        let failures = Failures::new(Folders::new([(repository, "models.dir")]));
        let broken = version(metadata("a"));
        failures.note(&broken, None, &unreadable(repository.join("a/1/graph.onnx")));
        assert!(failures.is_broken(&broken) && !failures.is_due(&broken));
        let reason = "the graph of a cannot be used: cannot read models.dir/a/1/graph.onnx: entity not found";
        assert_eq!(failures.reason(&broken).as_deref(), Some(reason), "the log alone has the path");
        let mut again = metadata("a");
        again.created = "2026-01-31T12:00:00Z".to_owned();
        let again = version(again);
        assert!(!failures.is_broken(&again) && !failures.is_broken(&version(metadata("b"))));
        let mut other = broken.clone();
        Arc::make_mut(&mut other.metadata).version = 2;
        failures.note(&other, None, &unreadable("other".into()));
        failures.forget(&other);
        assert!(failures.is_broken(&broken) && !failures.is_broken(&other), "another version loads");
        failures.forget(&broken);
        assert!(!failures.is_broken(&broken) && failures.reason(&broken).is_none());
    }

    #[test]
    fn what_the_same_files_would_do_again_is_answered_from_memory() {
        let failures = Failures::new(Folders::new([]));
        let broken = version(metadata("a"));
        let mut files = [FilesStamp::default(); 2];
        files[1][0] = FileStamp::of(&std::fs::metadata(env!("CARGO_MANIFEST_DIR")).expect("a folder"));
        let fail = |error: Error| failures.note(&broken, Some(files[0]), &Error::Shared(error.into()));
        let known = |files: FilesStamp| failures.lasting(&broken, files).is_some();
        fail(Error::Late { ms: 1 });
        assert!(failures.is_broken(&broken) && !known(files[0]), "another try may succeed");
        fail(unreadable("graph.onnx".into()));
        assert!(known(files[0]) && !known(files[1]), "until its files are others");
        let due_after = |waited: Duration| {
            let mut all = failures.known.write().expect("not poisoned");
            let failure = all.values_mut().next().expect("one failure");
            failure.at = Instant::now() - waited;
            failure.is_due()
        };
        assert!(!due_after(RETRY / 2) && due_after(RETRY));
        assert!(!known(files[0]), "it is tried again");
        fail(unreadable("graph.onnx".into()));
        assert!(!due_after(RETRY) && due_after(2 * RETRY), "and less often");
    }
}
