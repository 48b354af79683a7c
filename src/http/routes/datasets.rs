//! `/datasets` and `/datasets/{id}`: labelled photos in, listed, removed.
//!
//! Streams and asks; computes nothing, and reads no archive.

use axum::{
    Json,
    extract::{self, FromRequestParts, Path, Request},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use tokio::task::spawn_blocking;

use crate::{
    datasets::{Datasets, Error},
    finetuning::kinds::dataset_resource,
    http::{
        dto::{DatasetDto, DatasetsAnswer},
        error::ApiError,
        openapi::{DatasetPath, DatasetsQuery},
        query::Query,
        state::State,
        upload::{self, PARAMETERS, Said},
    },
    jobs::{Error as JobsError, Removal},
};

/// Upload a data set
///
/// An archive of class folders, optionally under or over `train/`, `val/` and `test/` (under any of their usual names), optionally
/// within outer folders. Photos of a test folder are neither trained nor validated on, but measured once a model has been trained.
/// Every image is decoded; what cannot be trained on is skipped and listed with the reason.
#[utoipa::path(post, path = "/datasets", operation_id = "upload_dataset", tag = "datasets", params(DatasetsQuery), responses((status = 201, description = "The data set", body = DatasetDto)))]
pub async fn create(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let said = Said::of(&Query::parse(&parts.uri, &PARAMETERS)?)?;
    let dataset = upload::receive(&state, said, &parts, body).await?;
    let location = [(header::LOCATION, format!("/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(DatasetDto::new(dataset.summary, true))).into_response())
}

/// Every data set
///
/// The oldest first, without the files that were skipped.
#[utoipa::path(get, path = "/datasets", operation_id = "list_datasets", tag = "datasets", responses((status = 200, description = "Every data set", body = DatasetsAnswer)))]
pub async fn list(extract::State(state): extract::State<State>, request: Request) -> Result<Json<DatasetsAnswer>, ApiError> {
    Query::parse(request.uri(), &[])?;
    let summaries = on_disk(&state, Datasets::list).await?;
    Ok(Json(DatasetsAnswer { datasets: summaries.into_iter().map(|summary| DatasetDto::new(summary, false)).collect() }))
}

/// One data set
///
/// With the files that were skipped, and why.
#[utoipa::path(get, path = "/datasets/{id}", operation_id = "get_dataset", tag = "datasets", params(DatasetPath), responses((status = 200, description = "The data set", body = DatasetDto)))]
pub async fn show(extract::State(state): extract::State<State>, request: Request) -> Result<Json<DatasetDto>, ApiError> {
    let id = id(request).await?;
    let summary = on_disk(&state, move |datasets| datasets.summary(&id)).await?;
    Ok(Json(DatasetDto::new(summary, true)))
}

/// Delete a data set
///
/// Refused while a job uses it. What was trained on it stays.
#[utoipa::path(delete, path = "/datasets/{id}", operation_id = "delete_dataset", tag = "datasets", params(DatasetPath), responses((status = 204, description = "It is gone")))]
pub async fn remove(extract::State(state): extract::State<State>, request: Request) -> Result<StatusCode, ApiError> {
    let id = id(request).await?;
    // A client that leaves must not leave it half removed.
    tokio::spawn(remove_unused(state, id)).await.map_err(ApiError::internal)??;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_unused(state: State, id: String) -> Result<(), ApiError> {
    let removal = match state.remove(dataset_resource(&id), None).await {
        Err(JobsError::InUse { job, .. }) => return Err(ApiError::DatasetInUse { id, job }),
        removal => removal?,
    };
    on_disk(&state, move |datasets| datasets.remove(&id)).await?;
    removal.into_iter().for_each(Removal::done);
    Ok(())
}

/// Reads the path's id, and refuses query parameters.
async fn id(request: Request) -> Result<String, ApiError> {
    let (mut parts, _): (Parts, _) = request.into_parts();
    Query::parse(&parts.uri, &[])?;
    let path = Path::<String>::from_request_parts(&mut parts, &()).await;
    let Path(id) = path.map_err(|error| ApiError::InvalidParameter(format!("cannot read the path: {error}")))?;
    Ok(id)
}

/// Asks the store on a thread that may block.
async fn on_disk<T: Send + 'static>(
    state: &State,
    ask: impl FnOnce(&Datasets) -> Result<T, Error> + Send + 'static,
) -> Result<T, ApiError> {
    let datasets = state.datasets().clone();
    Ok(spawn_blocking(move || ask(&datasets)).await.map_err(ApiError::internal)??)
}
