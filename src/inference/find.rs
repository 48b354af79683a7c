//! What a name and a version mean among the models of a snapshot.
//!
//! Knows names alone; which model answers a request without one is `choice`'s part.

use super::Error;
use crate::{
    message::Listed,
    registry::{Model, ModelVersion, Snapshot, nearest},
};

/// A version in `snapshot`, the stable one without `version`.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::UnknownVersion`], [`Error::ChoiceGone`].
pub fn find(snapshot: &Snapshot, name: &str, version: Option<u32>) -> Result<ModelVersion, Error> {
    let model = find_model(snapshot, name)?;
    let wanted = version.unwrap_or(model.stable.version);
    let unknown = || {
        let (name, available) = (name.to_owned(), model.versions.iter().map(|version| version.metadata.version).collect());
        match version {
            Some(version) => Error::UnknownVersion { name, version, available },
            None => Error::ChoiceGone { name, version: wanted, available },
        }
    };
    model.versions.iter().find(|version| version.metadata.version == wanted).cloned().ok_or_else(unknown)
}

/// The model called `name`.
///
/// # Errors
/// [`Error::UnknownModel`].
pub(super) fn find_model<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Model, Error> {
    snapshot.model(name).ok_or_else(|| unknown_model(snapshot, name))
}

/// That `snapshot` has no model `name`, with those that it has.
pub(super) fn unknown_model(snapshot: &Snapshot, name: &str) -> Error {
    Error::UnknownModel {
        name: name.to_owned(),
        nearest: nearest(name, snapshot.models.iter().map(|model| model.name.as_str())),
        known: Listed::of(snapshot.models.iter().map(|model| &model.name)),
    }
}
