//! `/datasets`, `/datasets/{id}` and its classes and skipped files: labelled photos in, listed, removed.
//!
//! Streams and asks; computes nothing, and reads no archive.

use axum::{
    extract::{self, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::{
    datasets::{Dataset, Summary},
    http::{
        code::{ANSWER, BODY, Codes, PARAMETERS, codes},
        dto::{ClassesAnswer, DatasetDto, DatasetsAnswer, SkippedAnswer},
        error::ApiError,
        json,
        openapi::Problems,
        page::{Index, Limit},
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

parameters! {
    /// What `/datasets/{id}/classes` takes.
    pub struct ClassesQuery {
        /// Of which data set.
        path: DatasetPath,
        /// Classes in the answer; 1000 without.
        limit: Option<Limit<1000, 10_000>>,
        /// `next` of the page before: the index of its last class, from 0.
        after: Option<Index>,
    }
}

parameters! {
    /// What `/datasets/{id}/skipped` takes.
    pub struct SkippedQuery {
        /// Of which data set.
        path: DatasetPath,
        /// Files in the answer; 1000 without.
        limit: Option<Limit<1000, 10_000>>,
        /// `next` of the page before: the position of its last file, from 0.
        after: Option<Index>,
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
/// With the first 10 000 of its classes (`class_count` in all, in pages at `/datasets/{id}/classes`), and the first 1000 of the
/// files that were skipped, and why (`skipped_count` in all, in pages at `/datasets/{id}/skipped`).
#[utoipa::path(get, path = "/datasets/{id}", operation_id = "get_dataset", tag = "datasets", params(DatasetPath), responses((status = 200, description = "The data set", body = DatasetDto), Problems<{ PARAMETERS | ANSWER | codes!(UnknownDataset) }>))]
pub async fn show(
    extract::State(state): extract::State<State>,
    path: DatasetPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    shown(&state, path, admission, |summary| DatasetDto::new(summary, true)).await
}

/// Every class of a data set
///
/// In index order, with its images.
#[utoipa::path(get, path = "/datasets/{id}/classes", operation_id = "list_dataset_classes", tag = "datasets", params(ClassesQuery), responses((status = 200, description = "A page of classes", body = ClassesAnswer), Problems<{ PARAMETERS | ANSWER | codes!(UnknownDataset) }>))]
pub async fn classes(
    extract::State(state): extract::State<State>,
    query: ClassesQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let ClassesQuery { path, limit, after } = query;
    shown(&state, path, admission, move |summary| ClassesAnswer::new(summary, after, Limit::of(limit))).await
}

/// Every skipped file of a data set
///
/// By path, with the reason; of more than 10 000 the first 10 000 are kept, and `skipped_count` counts all.
#[utoipa::path(get, path = "/datasets/{id}/skipped", operation_id = "list_skipped_files", tag = "datasets", params(SkippedQuery), responses((status = 200, description = "A page of files", body = SkippedAnswer), Problems<{ PARAMETERS | ANSWER | codes!(UnknownDataset) }>))]
pub async fn skipped(
    extract::State(state): extract::State<State>,
    query: SkippedQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let SkippedQuery { path, limit, after } = query;
    shown(&state, path, admission, move |summary| SkippedAnswer::new(summary, after, Limit::of(limit))).await
}

/// What `show` makes of a data set, read within the memory of all.
async fn shown<T: Serialize + 'static>(
    state: &State,
    path: DatasetPath,
    admission: Admission,
    show: impl FnOnce(Summary) -> T + Send + 'static,
) -> Result<Response, ApiError> {
    let store = state.datasets().clone();
    let make = move |admission: &Admission| {
        let hold = |bytes| admission.memory().add(bytes).map_err(ApiError::from);
        Ok(show(store.summary(&path.id, hold)?))
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
