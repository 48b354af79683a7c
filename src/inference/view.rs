//! How the engine shows models: with what loading them has found out, and with corrections of what an earlier graft published.
//!
//! Nothing is copied of a model that is not looked at. What is corrected is the registry's to say.

use std::{ops::Deref, sync::Arc};

use tracing::warn;

use super::{Engine, Error, ModelId, VersionView, find::unknown_model};
use crate::registry::{Model, ModelVersion, Problem, Snapshot};

/// What is served at one moment; cheap to clone.
#[derive(Clone)]
pub struct Served {
    engine: Engine,
    snapshot: Arc<Snapshot>,
    default: Option<Arc<str>>,
}

/// A model as `/models` shows it; cheap to clone. Its versions are shown one by one: [`Self::shown`].
#[derive(Clone)]
pub struct ModelView {
    served: Served,
    position: usize,
}

impl Engine {
    /// What is served now.
    pub fn served(&self) -> Served {
        let snapshot = self.snapshot();
        Served { engine: self.clone(), default: self.default(&snapshot).map(Arc::from), snapshot }
    }

    /// One model.
    ///
    /// # Errors
    /// [`Error::UnknownModel`].
    pub fn model(&self, name: &str) -> Result<ModelView, Error> {
        let served = self.served();
        match served.models().iter().position(|model| model.name == name) {
            Some(position) => Ok(ModelView { served, position }),
            None => Err(unknown_model(&served.snapshot, name)),
        }
    }

    /// `version`, with what loading it has found out about its output, if it is loaded.
    pub(super) fn as_loaded(&self, version: ModelVersion) -> ModelVersion {
        self.loaded_models().peek(&version).map_or(version, |worker| worker.version().clone())
    }
}

impl Served {
    /// Every model, by name, ascending.
    pub fn models(&self) -> &[Model] {
        &self.snapshot.models
    }

    /// What the repository holds but does not serve.
    pub fn problems(&self) -> &[Problem] {
        &self.snapshot.problems
    }

    /// The model at `position` of [`Self::models`].
    ///
    /// # Panics
    /// Where there is none.
    pub fn view(&self, position: usize) -> ModelView {
        assert!(position < self.models().len(), "no model has the position {position}");
        ModelView { served: self.clone(), position }
    }
}

impl ModelView {
    /// Whether requests without a model get it.
    pub fn is_default(&self) -> bool {
        self.served.default.as_deref() == Some(&self.name)
    }

    /// `version`, which is one of it, as `/models` shows it.
    pub fn shown(&self, version: &ModelVersion) -> VersionView {
        let engine = &self.served.engine;
        let in_effect = engine.loaded_models().peek(version).map(|worker| worker.provider().clone());
        VersionView {
            version: engine.as_loaded(version.clone()),
            provider: in_effect.as_ref().map(|provider| provider.provider),
            provider_note: in_effect.and_then(|provider| provider.note),
        }
    }
}

impl Deref for ModelView {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.served.snapshot.models[self.position]
    }
}

/// Logs the corrections in `snapshot` that are not in `before`.
pub(super) fn warn_of_new(snapshot: &Snapshot, before: &Snapshot) {
    let known = |version: &ModelVersion| corrected(before).any(|known| known.dir() == version.dir());
    corrected(snapshot).filter(|version| !known(version)).for_each(warn_of);
}

/// Logs the correction of `version`, if there is one.
pub(super) fn warn_of(version: &ModelVersion) {
    if let Some(correction) = &version.metadata.correction {
        warn!(model = ModelId::describe(version), correction, "read otherwise than it was published");
    }
}

fn corrected(snapshot: &Snapshot) -> impl Iterator<Item = &ModelVersion> {
    snapshot.models.iter().flat_map(|model| &model.versions).filter(|version| version.metadata.correction.is_some())
}
