//! `/datasets` and `/datasets/{id}`: labelled photos in, listed, removed.
//!
//! Streams and asks; computes nothing, and reads no archive.

use axum::{
    extract::{self, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::task::spawn_blocking;

use crate::{
    datasets::Dataset,
    http::{
        code::{ANSWER, BODY, Codes, PARAMETERS, codes},
        dto::{DatasetDto, DatasetsAnswer},
        error::ApiError,
        json,
        openapi::Problems,
        page::Limit,
        parameters::parameters,
        state::State,
        upload::{self, DatasetsQuery},
    },
    inference::Admission,
};

/// What may go wrong with an upload.
const UPLOAD: Codes = PARAMETERS | BODY | codes! { BadArchive ArchiveTooLarge BadDataset FolderRefused StorageFull };

parameters! {
    /// Which page of `/datasets`.
    pub struct DatasetsPage {
        /// Data sets in the answer; 20 without.
        limit: Option<Limit<20, 100>>,
        /// `next` of the page before.
        after: Option<String>,
    }
}

parameters! {
    /// The data set in a path.
    pub struct DatasetPath {
        /// What `POST /datasets` called it, such as `019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10`.
        id: String => Path,
    }
}

/// Upload a data set
///
/// An archive of class folders, optionally under or over `train/`, `val/` and `test/` (under any of their usual names), optionally
/// within outer folders. Photos of a test folder are neither trained nor validated on, but measured once a model has been trained.
/// Every image is decoded; what cannot be trained on is skipped and listed with the reason.
#[utoipa::path(post, path = "/datasets", operation_id = "upload_dataset", tag = "datasets", params(DatasetsQuery), responses((status = 201, description = "The data set", body = DatasetDto), Problems<UPLOAD>))]
pub async fn create(extract::State(state): extract::State<State>, request: Request) -> Result<Response, ApiError> {
    let (Dataset { summary, images, .. }, admission) = upload::receive(&state, request).await?;
    // Hundreds of thousands of paths, perhaps.
    spawn_blocking(move || drop(images));
    let location = [(header::LOCATION, format!("/datasets/{}", summary.id))];
    let answer = json::done(state.intake(), admission, move || DatasetDto::new(summary, true)).await?;
    Ok((StatusCode::CREATED, location, answer).into_response())
}

/// Every data set
///
/// The newest first, without the files that were skipped.
#[utoipa::path(get, path = "/datasets", operation_id = "list_datasets", tag = "datasets", params(DatasetsPage), responses((status = 200, description = "A page of data sets", body = DatasetsAnswer), Problems<{ PARAMETERS | ANSWER | codes!(UnknownDataset) }>))]
pub async fn list(
    extract::State(state): extract::State<State>,
    query: DatasetsPage,
    admission: Admission,
) -> Result<Response, ApiError> {
    let (store, memory) = (state.datasets().clone(), state.intake().admissions.memory().clone());
    let make = move |admission: &Admission| {
        let hold = |bytes| memory.take(admission.client(), bytes).map_err(ApiError::from);
        let show = |summary| DatasetDto::new(summary, false);
        let (datasets, next) = store.page(query.after.as_deref(), Limit::of(query.limit), hold, show)?;
        Ok(DatasetsAnswer { datasets, next })
    };
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// One data set
///
/// With the files that were skipped, and why.
#[utoipa::path(get, path = "/datasets/{id}", operation_id = "get_dataset", tag = "datasets", params(DatasetPath), responses((status = 200, description = "The data set", body = DatasetDto), Problems<{ PARAMETERS | ANSWER | codes!(UnknownDataset) }>))]
pub async fn show(
    extract::State(state): extract::State<State>,
    path: DatasetPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    let store = state.datasets().clone();
    let make = move |admission: &Admission| {
        let hold = |bytes| admission.memory().add(bytes).map_err(ApiError::from);
        Ok(DatasetDto::new(store.summary(&path.id, hold)?, true))
    };
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// Delete a data set
///
/// Refused while a job uses it. What was trained on it stays.
#[utoipa::path(delete, path = "/datasets/{id}", operation_id = "delete_dataset", tag = "datasets", params(DatasetPath), responses((status = 204, description = "It is gone"), Problems<{ PARAMETERS | codes! { UnknownDataset DatasetInUse StorageFull JobsUnavailable Busy } }>))]
pub async fn remove(
    extract::State(state): extract::State<State>,
    path: DatasetPath,
    admission: Admission,
) -> Result<StatusCode, ApiError> {
    state.service().remove_dataset(path.id, &admission).await?;
    Ok(StatusCode::NO_CONTENT)
}
