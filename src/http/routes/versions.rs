//! `PUT` and `DELETE /models/{m}/stable`, `DELETE /models/{m}/versions/{v}` and its `/onnx`: choose, roll back, delete, download.
//!
//! Asks the engine; touches no file.

use std::io::Read;

use axum::{
    extract::{self, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    answer::model_headers,
    models::{WholeModelPath, wanted},
};
use crate::{
    graph::{self, SingleFile},
    http::{
        body,
        code::{ANSWER, BODY, MODEL, VERSION, codes},
        dto::ModelDetail,
        error::ApiError,
        json::{self, Received},
        openapi::Problems,
        parameters::parameters,
        state::State,
    },
    inference::{Admission, Error, ModelId},
};

/// Bytes that are read and sent at once.
const CHUNK: usize = 256 << 10;

parameters! {
    /// The model and version in a path.
    pub struct VersionPath {
        /// Model name, such as `vgg16`.
        model: String => Path,
        /// Version, from 1.
        version: u32 => Path,
    }
}

/// The body of `PUT /models/{m}/stable`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StableVersion {
    /// The version that requests without one are to get.
    #[schema(example = 1, minimum = 1)]
    version: u32,
}

/// Choose the version that requests without one get
///
/// Rolling back is the same with an earlier version. What is asked next sees it. The choice is `pinned`: no newer version takes its
/// place until it is taken back.
#[utoipa::path(put, path = "/models/{model}/stable", operation_id = "set_stable_version", tag = "models", params(WholeModelPath), request_body = StableVersion, responses((status = 200, description = "The model, as in `/models`", body = ModelDetail), Problems<{ BODY | VERSION | codes! { StorageFull } }>))]
pub async fn choose(
    extract::State(state): extract::State<State>,
    path: WholeModelPath,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let received = Received::from(state.intake(), &parts, body).await?;
    let (StableVersion { version }, admission) = received.read(state.intake(), json::object).await?;
    let view = state.service().pin(path.model.0, version, &admission).await?;
    json::done(state.intake(), admission, move || ModelDetail::short(view)).await
}

/// Take the choice of a version back
///
/// The newest published version answers again, as it does where nobody chose one. Without a choice nothing changes. Refused
/// where no version was published.
#[utoipa::path(delete, path = "/models/{model}/stable", operation_id = "unset_stable_version", tag = "models", params(WholeModelPath), responses((status = 200, description = "The model, as in `/models`", body = ModelDetail), Problems<{ MODEL | codes! { VersionInUse StorageFull Busy } }>))]
pub async fn unchoose(
    extract::State(state): extract::State<State>,
    path: WholeModelPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    let view = state.service().unpin(path.model.0, &admission).await?;
    json::done(state.intake(), admission, move || ModelDetail::short(view)).await
}

/// Delete a version
///
/// Refused while a job uses it, when it is all that the default model has, and while it was chosen, or is the only one that was
/// published, and others are there: which of them is to answer somebody has to say. If it was the stable one, the newest published
/// one counts. The model goes with its last version. Requests that run on it finish. No later version gets its number.
#[utoipa::path(delete, path = "/models/{model}/versions/{version}", operation_id = "delete_version", tag = "models", params(VersionPath), responses((status = 204, description = "It is gone"), Problems<{ VERSION | codes! { VersionInUse StorageFull JobsUnavailable Busy } }>))]
pub async fn remove(
    extract::State(state): extract::State<State>,
    path: VersionPath,
    admission: Admission,
) -> Result<StatusCode, ApiError> {
    state.service().remove_version(path.model, path.version, &admission).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download a version as one ONNX file
///
/// With its weights inside, for any ONNX runtime. Layers keep their names; input and output are those of graft:
/// number, channel, height, width.
#[utoipa::path(get, path = "/models/{model}/versions/{version}/onnx", operation_id = "download_onnx", tag = "models", params(VersionPath), responses((status = 200, description = "The model"), Problems<{ VERSION | ANSWER }>))]
pub async fn download(
    extract::State(state): extract::State<State>,
    path: VersionPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    let VersionPath { model, version } = path;
    let place = state.service().download(admission.client())?;
    let (engine, named, asking) = (state.engine().clone(), model.clone(), admission.clone());
    let held = (place, admission);
    // The first time every byte is read.
    let open = move || {
        let id = ModelId::of(&wanted(&engine, &named, Some(version))?);
        engine.single_file(&named, version).map(|file| (id, file, held))
    };
    let (id, file, held) = state.service().opened(&asking, open).await.map_err(too_large)?;
    let (mut headers, length) = (HeaderMap::new(), file.length());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Model names have a narrow alphabet; the repository refuses others.
    let disposition = format!("attachment; filename=\"{model}-{version}.onnx\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).map_err(ApiError::internal)?);
    Ok((model_headers(&id), headers, body::streamed(chunks(file, held), length)).into_response())
}

/// A model that does not fit one file is the client's to know; anything else about its files is ours.
fn too_large(error: Error) -> ApiError {
    match error {
        Error::Graph { source, .. } if matches!(*source, graph::Error::TooLarge { .. }) => {
            ApiError::ResponseTooLarge(source.to_string())
        }
        other => other.into(),
    }
}

/// The file's bytes, read off the async threads as fast as the client takes them.
fn chunks<H: Send + 'static>(file: SingleFile, held: H) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, held), |(mut file, held)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map(|_| (file, held, chunk))
        });
        let (file, held, chunk) = read.await.map_err(std::io::Error::other)??;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), (file, held))))
    })
}
