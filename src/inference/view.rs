//! How the engine shows models: with what loading them has found out, and with corrections of what an earlier graft published.
//!
//! What is corrected is the registry's to say.

use tracing::warn;

use super::{Engine, ModelId, ModelView, VersionView};
use crate::registry::{Model, ModelVersion, Snapshot};

impl Engine {
    /// `version`, with what loading it has found out about its output, if it is loaded.
    pub(super) fn as_loaded(&self, version: ModelVersion) -> ModelVersion {
        self.loaded_models().peek(&version).map_or(version, |worker| worker.version().clone())
    }

    pub(super) fn view(&self, model: &Model, default: Option<&str>) -> ModelView {
        let version = |version: &ModelVersion| {
            let worker = self.loaded_models().peek(version);
            let in_effect = worker.map(|worker| worker.provider().clone());
            VersionView {
                version: self.as_loaded(version.clone()),
                provider: in_effect.as_ref().map(|provider| provider.provider),
                provider_note: in_effect.and_then(|provider| provider.note),
            }
        };
        ModelView {
            versions: model.versions.iter().map(version).collect(),
            name: model.name.clone(),
            stable: model.stable,
            default: default == Some(&model.name),
        }
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
