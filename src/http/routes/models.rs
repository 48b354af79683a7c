//! `GET /models`, `/models/{m}` and `/models/{m}/layers`: what is served.

use axum::{
    Json, extract,
    response::{IntoResponse, Response},
};

use super::answer::model_headers;
use crate::{
    http::{
        code::{MODEL, PARAMETERS, VERSION},
        dto::{LayerDto, LayersAnswer, ModelDetail, ModelsAnswer},
        error::ApiError,
        openapi::Problems,
        parameters::{Field, NoParameters, Parameter, parameters},
        query::Query,
        state::State,
    },
    inference::{Error, ModelId, ModelView},
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
    /// What `/models/{model}/layers` takes.
    pub struct LayersQuery {
        /// Of which model.
        path: ModelPath,
        /// Version; the stable one without.
        version: Option<u32>,
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
/// With versions, preprocessing, weights' origin and the provider in effect; and what the repository holds but does not serve.
#[utoipa::path(get, path = "/models", operation_id = "list_models", tag = "models", responses((status = 200, description = "Every model, by name", body = ModelsAnswer), Problems<PARAMETERS>))]
pub async fn list(extract::State(state): extract::State<State>, _: NoParameters) -> Result<Json<ModelsAnswer>, ApiError> {
    let models = state.engine().models().iter().map(|view| ModelDetail::new(view, false)).collect();
    Ok(Json(ModelsAnswer { models, problems: state.engine().readiness().problems }))
}

/// One model
///
/// As in `/models`, with the labels of every version.
#[utoipa::path(get, path = "/models/{model}", operation_id = "get_model", tag = "models", params(WholeModelPath), responses((status = 200, description = "The model", body = ModelDetail), Problems<MODEL>))]
pub async fn show(extract::State(state): extract::State<State>, path: WholeModelPath) -> Result<Json<ModelDetail>, ApiError> {
    let view = state.engine().model(&path.model.0)?;
    Ok(Json(ModelDetail::new(&view, true)))
}

/// Every layer of a model
///
/// In index order, as Keras numbers and names them; of the stable version unless `version` says otherwise.
#[utoipa::path(get, path = "/models/{model}/layers", operation_id = "list_layers", tag = "models", params(LayersQuery), responses((status = 200, description = "Every layer", body = LayersAnswer), Problems<VERSION>))]
pub async fn layers(extract::State(state): extract::State<State>, query: LayersQuery) -> Result<Response, ApiError> {
    let view = state.engine().model(&query.path.model)?;
    let wanted = query.version.unwrap_or(view.stable.version);
    let found = view.versions.iter().find(|version| version.version.metadata.version == wanted);
    let version = &found.ok_or_else(|| unknown_version(&view, wanted))?.version;
    let layers = version.metadata.layers.iter().map(LayerDto::from).collect();
    Ok((model_headers(&ModelId::of(version)), Json(LayersAnswer { layers })).into_response())
}

fn unknown_version(view: &ModelView, version: u32) -> Error {
    let available = view.versions.iter().map(|version| version.version.metadata.version).collect();
    Error::UnknownVersion { name: view.name.clone(), version, available }
}
