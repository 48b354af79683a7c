//! `GET /models`, `/models/{m}`, `/models/{m}/labels` and `/models/{m}/layers`: what is served.

use axum::{extract, response::Response};
use serde::Serialize;

use super::answer::model_headers;
use crate::{
    http::{
        code::{ANSWER, MODEL, PARAMETERS, VERSION},
        dto::{LabelsAnswer, LayersAnswer, ModelDetail, ModelsAnswer, VERSIONS},
        error::ApiError,
        json,
        openapi::Problems,
        page::{Index, Limit},
        parameters::{Field, Parameter, parameters},
        query::Query,
        state::State,
    },
    inference::{Admission, Engine, Error, ModelId},
    registry::ModelVersion,
};

parameters! {
    /// The model in a path.
    pub struct ModelPath {
        /// Model name, such as `vgg16`; where one version is asked, `vgg16@1` too.
        pub model: String => Path,
    }
}

parameters! {
    /// A model in a path of a route that is about all of its versions.
    pub struct WholeModelPath {
        /// Model name, such as `vgg16`.
        pub model: WholeModel => Path,
    }
}

parameters! {
    /// Which page of `/models`.
    pub struct ModelsQuery {
        /// Models in the answer; 100 without.
        limit: Option<Limit<100, 1000>>,
        /// `next` of the page before.
        after: Option<String>,
        /// `problems_next` of the page before, for the problems behind it: the position of its last one, from 0.
        problems_after: Option<Index>,
    }
}

parameters! {
    /// What `/models/{model}/layers` takes.
    pub struct LayersQuery {
        /// Of which model.
        path: ModelPath,
        /// Version; the stable one without.
        version: Option<u32>,
        /// Layers in the answer; 1000 without.
        limit: Option<Limit<1000, 10_000>>,
        /// `next` of the page before: the index of its last layer, from 0.
        after: Option<Index>,
    }
}

parameters! {
    /// What `/models/{model}` takes.
    pub struct ModelQuery {
        /// Which model.
        path: WholeModelPath,
        /// Versions in the answer; 100 without.
        limit: Option<Limit<{ VERSIONS }, 1000>>,
        /// `next` of the page before: its last version.
        after: Option<u32>,
    }
}

parameters! {
    /// What `/models/{model}/labels` takes.
    pub struct LabelsQuery {
        /// Of which model.
        path: ModelPath,
        /// Version; the stable one without.
        version: Option<u32>,
        /// Labels in the answer; 1000 without.
        limit: Option<Limit<1000, 10_000>>,
        /// `next` of the page before: the index of its last class, from 0.
        after: Option<Index>,
    }
}

/// A model's name, with no version behind it.
#[derive(Debug)]
pub struct WholeModel(pub String);

impl Field for WholeModel {
    fn declare(parameter: Parameter) -> Vec<Parameter> {
        String::declare(parameter)
    }

    fn find(given: &Query, name: &'static str) -> Result<Self, ApiError> {
        let model = String::find(given, name)?;
        match given.one("version")? {
            None => Ok(Self(model)),
            Some(version) => Err(ApiError::InvalidParameter(format!(
                "`{model}@{version}` is one version, and this route is about all of `{model}`; leave `@{version}` out"
            ))),
        }
    }
}

/// Every model
///
/// By name, with versions, preprocessing, weights' origin and the provider in effect; and what the repository holds but does not
/// serve, 100 at a time (`problems_after` with the `problems_next` of the page before).
#[utoipa::path(get, path = "/models", operation_id = "list_models", tag = "models", params(ModelsQuery), responses((status = 200, description = "A page of models, by name", body = ModelsAnswer), Problems<{ PARAMETERS | ANSWER }>))]
pub async fn list(
    extract::State(state): extract::State<State>,
    query: ModelsQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let ModelsQuery { limit, after, problems_after } = query;
    let engine = state.engine().clone();
    let make = move |_: &Admission| Ok(ModelsAnswer::new(engine.served(), after.as_deref(), Limit::of(limit), problems_after));
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// One model
///
/// As in `/models`, with the labels of its versions.
#[utoipa::path(get, path = "/models/{model}", operation_id = "get_model", tag = "models", params(ModelQuery), responses((status = 200, description = "The model", body = ModelDetail), Problems<{ MODEL | ANSWER }>))]
pub async fn show(
    extract::State(state): extract::State<State>,
    query: ModelQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let ModelQuery { path, limit, after } = query;
    let engine = state.engine().clone();
    let make =
        move |_: &Admission| Ok(ModelDetail::page(engine.model(&path.model.0)?, after.unwrap_or_default(), Limit::of(limit)));
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// Every class of a model
///
/// What the classes are called, in index order; of the stable version unless `version` says otherwise.
#[utoipa::path(get, path = "/models/{model}/labels", operation_id = "list_labels", tag = "models", params(LabelsQuery), responses((status = 200, description = "A page of labels", body = LabelsAnswer), Problems<{ VERSION | ANSWER }>))]
pub async fn labels(
    extract::State(state): extract::State<State>,
    query: LabelsQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let LabelsQuery { path, version, limit, after } = query;
    let show = move |version| LabelsAnswer::new(version, after, Limit::of(limit));
    of_version(&state, path, version, admission, show).await
}

/// Every layer of a model
///
/// In index order, as Keras numbers and names them; of the stable version unless `version` says otherwise.
#[utoipa::path(get, path = "/models/{model}/layers", operation_id = "list_layers", tag = "models", params(LayersQuery), responses((status = 200, description = "A page of layers", body = LayersAnswer), Problems<{ VERSION | ANSWER }>))]
pub async fn layers(
    extract::State(state): extract::State<State>,
    query: LayersQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let LayersQuery { path, version, limit, after } = query;
    let show = move |version| LayersAnswer::new(version, after, Limit::of(limit));
    of_version(&state, path, version, admission, show).await
}

/// What `show` makes of the `version` of a model, of the stable one without.
async fn of_version<T: Serialize + 'static>(
    state: &State,
    path: ModelPath,
    version: Option<u32>,
    admission: Admission,
    show: impl FnOnce(ModelVersion) -> T + Send + 'static,
) -> Result<Response, ApiError> {
    let engine = state.engine().clone();
    let make = move |_: &Admission| {
        let version = wanted(&engine, &path.model, version)?;
        Ok((model_headers(&ModelId::of(&version)), show(version)))
    };
    json::answer_with(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// The `version` of `model`, the stable one without.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::UnknownVersion`].
pub(super) fn wanted(engine: &Engine, model: &str, version: Option<u32>) -> Result<ModelVersion, Error> {
    let view = engine.model(model)?;
    let wanted = version.unwrap_or(view.stable.version);
    let available = || view.versions.iter().map(|version| version.metadata.version).collect();
    let unknown = || Error::UnknownVersion { name: view.name.clone(), version: wanted, available: available() };
    Ok(view.shown(view.version(wanted).ok_or_else(unknown)?).version)
}
