//! `GET /models`, `/models/{m}`, `/models/{m}/labels` and `/models/{m}/layers`: what is served.

use axum::{
    extract,
    response::{IntoResponse, Response},
};
use utoipa::openapi::{KnownFormat, RefOr, schema::Schema};

use super::answer::model_headers;
use crate::{
    http::{
        code::{ANSWER, MODEL, PARAMETERS, VERSION},
        dto::{ClassLabelDto, LabelsAnswer, LayerDto, LayersAnswer, ModelDetail, ModelsAnswer, VERSIONS},
        error::ApiError,
        json,
        openapi::Problems,
        page::{Limit, page},
        parameters::{Field, Parameter, Value, parameters, refused, whole_number},
        query::Query,
        state::State,
    },
    inference::{Admission, Error, ModelId, ModelView},
    registry::{Label, ModelVersion},
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
        after: Option<LayerIndex>,
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
        after: Option<ClassIndex>,
    }
}

/// The index of a layer, from 0.
#[derive(Debug, Clone, Copy)]
struct LayerIndex(usize);

/// The index of a class, from 0.
#[derive(Debug, Clone, Copy)]
struct ClassIndex(usize);

impl Value for ClassIndex {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| refused(text, "it must be the index of a class, or 0"))
    }

    fn schema() -> RefOr<Schema> {
        whole_number(KnownFormat::Int64).minimum(Some(0)).into()
    }
}

impl Value for LayerIndex {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| refused(text, "it must be the index of a layer, or 0"))
    }

    fn schema() -> RefOr<Schema> {
        whole_number(KnownFormat::Int64).minimum(Some(0)).into()
    }
}

/// Problems of the repository that are listed.
const MAX_PROBLEMS: usize = 100;

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
/// serve.
#[utoipa::path(get, path = "/models", operation_id = "list_models", tag = "models", params(ModelsQuery), responses((status = 200, description = "A page of models, by name", body = ModelsAnswer), Problems<{ PARAMETERS | ANSWER }>))]
pub async fn list(
    extract::State(state): extract::State<State>,
    query: ModelsQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let ModelsQuery { limit, after } = query;
    let engine = state.engine().clone();
    let make = move || {
        let views = engine.models();
        let rest = views.iter().filter(|view| after.as_ref().is_none_or(|after| view.name > *after));
        let (views, next) = page(rest, Limit::of(limit), |view| view.name.clone());
        let mut problems = engine.readiness().problems;
        problems.truncate(MAX_PROBLEMS);
        ModelsAnswer { models: views.into_iter().map(ModelDetail::short).collect(), next, problems }
    };
    json::answer(state.intake(), admission, make).await
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
    let view = state.engine().model(&path.model.0)?;
    let make = move || ModelDetail::page(&view, after.unwrap_or_default(), Limit::of(limit));
    json::answer(state.intake(), admission, make).await
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
    let version = wanted(&state, &path.model, version)?;
    let headers = model_headers(&ModelId::of(&version));
    let make = move || {
        let rest = version.metadata.labels.iter().enumerate().skip(after.map_or(0, |ClassIndex(after)| after.saturating_add(1)));
        let (labels, next) = page(rest, Limit::of(limit), |(index, _)| *index);
        let class = |(index, label): (usize, &Label)| ClassLabelDto { index, label: label.clone() };
        LabelsAnswer { labels: labels.into_iter().map(class).collect(), next }
    };
    Ok((headers, json::answer(state.intake(), admission, make).await?).into_response())
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
    let version = wanted(&state, &path.model, version)?;
    let headers = model_headers(&ModelId::of(&version));
    let make = move || {
        let rest = version.metadata.layers.iter().filter(|layer| after.is_none_or(|LayerIndex(after)| layer.index > after));
        let (layers, next) = page(rest, Limit::of(limit), |layer| layer.index);
        LayersAnswer { layers: layers.into_iter().map(LayerDto::from).collect(), next }
    };
    Ok((headers, json::answer(state.intake(), admission, make).await?).into_response())
}

/// The `version` of `model`, the stable one without.
fn wanted(state: &State, model: &str, version: Option<u32>) -> Result<ModelVersion, ApiError> {
    let view = state.engine().model(model)?;
    let wanted = version.unwrap_or(view.stable.version);
    let found = view.versions.iter().find(|version| version.version.metadata.version == wanted);
    Ok(found.ok_or_else(|| unknown_version(&view, wanted))?.version.clone())
}

fn unknown_version(view: &ModelView, version: u32) -> Error {
    let available = view.versions.iter().map(|version| version.version.metadata.version).collect();
    Error::UnknownVersion { name: view.name.clone(), version, available }
}
