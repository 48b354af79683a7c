//! What could not be loaded, why, and when to try again.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{message::Folders, registry::ModelVersion, telemetry::chain};

/// How long a version that could not be loaded is not tried again unasked.
const RETRY: Duration = Duration::from_secs(30);

/// Models that are not loaded though they should be, by name.
pub(super) struct Failures {
    /// What a client may call the repository.
    folders: Folders,
    /// A plain lock: looked into for a moment.
    known: RwLock<BTreeMap<String, Failure>>,
}

struct Failure {
    /// What was tried; `None` for a model that is not there.
    version: Option<ModelVersion>,
    /// As a client reads it.
    reason: String,
    at: Instant,
}

impl Failures {
    /// No failures yet; a client reads `folders` by their settings.
    pub(super) fn new(folders: Folders) -> Self {
        Self { folders, known: RwLock::default() }
    }

    /// Keeps why the model `name` is not loaded; says so in the log when that is news.
    pub(super) fn note(&self, name: &str, version: Option<&ModelVersion>, error: &dyn std::error::Error) {
        let reason = self.folders.for_client(|| chain(error));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.get(name).is_none_or(|known| known.reason != reason) {
            warn!(model = name, reason = chain(error), "a model that should answer is not served");
        }
        known.insert(name.to_owned(), Failure { version: version.cloned(), reason, at: Instant::now() });
    }

    /// `version` is loaded: what is known of it, or of a model that was not there, is over; of another version it is not.
    pub(super) fn forget(&self, version: &ModelVersion) {
        let name = &version.metadata.name;
        let is_over = self.read().get(name).is_some_and(|failure| failure.version.is_none()) || self.is_broken(version);
        if is_over {
            self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
    }

    /// Whether `version` is one that could not be loaded.
    pub(super) fn is_broken(&self, version: &ModelVersion) -> bool {
        let known = self.read();
        let failed = known.get(&version.metadata.name).and_then(|failure| failure.version.as_ref());
        failed.is_some_and(|failed| is_same(failed, version))
    }

    /// Whether the model `name` failed, and it is time to try it again.
    pub(super) fn is_due(&self, name: &str) -> bool {
        self.read().get(name).is_some_and(|failure| failure.at.elapsed() >= RETRY)
    }

    /// Why the model `name` is not loaded.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        self.read().get(name).map(|failure| failure.reason.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Failure>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two look-ups found the same publication: a version that was removed and imported again is another.
fn is_same(one: &ModelVersion, other: &ModelVersion) -> bool {
    let is_published_then = || one.dir() == other.dir() && one.metadata.created == other.metadata.created;
    Arc::ptr_eq(&one.metadata, &other.metadata) || is_published_then()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::{metadata, version};

    #[test]
    fn a_failure_is_that_of_a_version_until_it_loads() {
        let repository = std::path::Path::new("/data/models");
        let failures = Failures::new(Folders::new([(repository, "models.dir")]));
        let (broken, path) = (version(metadata("a")), repository.join("a/1/graph.onnx").into());
        failures.note("a", Some(&broken), &crate::graph::Error::Io { path, source: std::io::ErrorKind::NotFound.into() });
        assert!(failures.is_broken(&broken) && !failures.is_due("a"));
        let reason = "cannot read models.dir/a/1/graph.onnx: entity not found";
        assert_eq!(failures.reason("a").as_deref(), Some(reason), "the log alone has the path");
        let mut again = metadata("a");
        again.created = "2026-01-31T12:00:00Z".to_owned();
        let again = version(again);
        assert!(!failures.is_broken(&again) && !failures.is_broken(&version(metadata("b"))));
        failures.forget(&again);
        assert!(failures.is_broken(&broken), "another version loads");
        failures.forget(&broken);
        assert!(!failures.is_broken(&broken) && failures.reason("a").is_none());
    }
}
