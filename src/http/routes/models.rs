//! `GET /models`, `/models/{m}` and `/models/{m}/layers`: what is served.

use axum::{
    Json,
    extract::{self, Request},
    response::{IntoResponse, Response},
};

use super::answer::model_headers;
use crate::{
    http::{
        dto::{LayerDto, LayersAnswer, ModelDetail, ModelsAnswer},
        error::ApiError,
        openapi::{LayersQuery, ModelPath},
        params::Target,
        query::Query,
        state::State,
    },
    inference::{Error, ModelId, ModelView},
};

/// Every model
///
/// With versions, preprocessing, weights' origin and the provider in effect; and what the repository holds but does not serve.
#[utoipa::path(get, path = "/models", operation_id = "list_models", tag = "models", responses((status = 200, description = "Every model, by name", body = ModelsAnswer)))]
pub async fn list(extract::State(state): extract::State<State>, request: Request) -> Result<Json<ModelsAnswer>, ApiError> {
    Query::parse(request.uri(), &[])?;
    let models = state.engine().models().iter().map(|view| ModelDetail::new(view, false)).collect();
    Ok(Json(ModelsAnswer { models, problems: state.engine().readiness().problems }))
}

/// One model
///
/// As in `/models`, with the labels of every version.
#[utoipa::path(get, path = "/models/{model}", operation_id = "get_model", tag = "models", params(ModelPath), responses((status = 200, description = "The model", body = ModelDetail)))]
pub async fn show(extract::State(state): extract::State<State>, request: Request) -> Result<Json<ModelDetail>, ApiError> {
    let (mut parts, _) = request.into_parts();
    let view = state.engine().model(&Target::read(&mut parts, &[]).await?.every_version()?)?;
    Ok(Json(ModelDetail::new(&view, true)))
}

/// Every layer of a model
///
/// In index order, as Keras numbers and names them; of the stable version unless `version` says otherwise.
#[utoipa::path(get, path = "/models/{model}/layers", operation_id = "list_layers", tag = "models", params(ModelPath, LayersQuery), responses((status = 200, description = "Every layer", body = LayersAnswer)))]
pub async fn layers(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Target { model, version } = Target::read(&mut parts, &["version"]).await?;
    let view = state.engine().model(&model)?;
    let wanted = version.unwrap_or(view.stable.version);
    let found = view.versions.iter().find(|version| version.version.metadata.version == wanted);
    let version = &found.ok_or_else(|| unknown_version(&view, wanted))?.version;
    let layers = version.metadata.layers.iter().map(LayerDto::from).collect();
    Ok((model_headers(&ModelId::of(version)), Json(LayersAnswer { layers })).into_response())
}

fn unknown_version(view: &ModelView, version: u32) -> Error {
    let available = view.versions.iter().map(|version| version.version.metadata.version).collect();
    Error::UnknownVersion { name: view.name.clone(), version, available }
}
