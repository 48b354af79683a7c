//! `POST /jobs/KIND`, `/jobs`, `/jobs/{id}` and its cancellation: work that goes on after the answer.
//!
//! Knows kinds of jobs by what they say of themselves.

use std::sync::Arc;

use axum::{
    Json,
    extract::{self, Path, Request, rejection::PathRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    finetuning::kinds::{Description, described},
    http::{
        dto::{AcceptedJob, JobDetail, JobDto, JobsAnswer, PlannedJob},
        error::ApiError,
        idempotency, json,
        openapi::{JobPath, JobsQuery, submission},
        params,
        query::Query,
        state::{JobsPart, State},
    },
    jobs::{self, Admission, AnyKind, Job, Listing, NewJob, Reservation},
};

/// Jobs in one page unless told otherwise, and at most.
const PAGE: u32 = 20;
const MAX_PAGE: u32 = 100;

const FLAG: [(&str, bool); 2] = [("true", true), ("false", false)];

/// A route for every kind of job.
pub fn submissions() -> OpenApiRouter<State> {
    described().into_iter().fold(OpenApiRouter::new(), |router, kind| {
        let (schemas, paths) = submission(&kind);
        let Description { name, .. } = kind;
        let submit = move |state: extract::State<State>, request: Request| submit(state, name, request);
        router.routes((schemas, paths, post(submit)))
    })
}

/// Accepts a job of the kind `name` and answers at once; with `dry_run` nothing is accepted, and the answer is what would be done.
async fn submit(
    extract::State(state): extract::State<State>,
    name: &'static str,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (jobs, kind, dry_run, key) = door(&state, name, &parts.uri, &parts.headers)?;
    let bytes = json::bytes(state.intake(), &parts.headers, body).await?;
    if dry_run {
        return Ok(Json(PlannedJob::from(plan(kind, bytes).await?.spec)).into_response());
    }
    // A client that leaves must not leave its key behind half-used.
    let job = tokio::spawn(async move { accept(&jobs, kind, key, bytes).await }).await.map_err(ApiError::internal)??;
    let location = format!("/jobs/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(AcceptedJob::from(job))).into_response())
}

/// Every job that is kept
///
/// The newest first; `jobs.max_finished` bounds how many that have ended are kept.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery), responses((status = 200, description = "A page of jobs", body = JobsAnswer)))]
pub async fn list(extract::State(state): extract::State<State>, request: Request) -> Result<Json<JobsAnswer>, ApiError> {
    let query = Query::parse(request.uri(), &["state", "limit", "after"])?;
    let states = jobs::State::ALL.map(|state| (state.name(), state));
    let limit = query.positive("limit")?.unwrap_or(PAGE);
    if limit > MAX_PAGE {
        return Err(ApiError::InvalidParameter(format!(
            "`limit` is {limit}; {MAX_PAGE} is the most, `after` gives the next page"
        )));
    }
    let after = query.one("after")?.map(str::to_owned);
    let listing = Listing { state: query.choice("state", &states)?, after, limit: limit + 1 };
    let jobs = &state.jobs()?.jobs;
    let mut found = jobs.list(&listing).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|job| job.id.clone());
    let dto = |job: &Job| JobDto::new(job, jobs.lease(job));
    Ok(Json(JobsAnswer { jobs: found.iter().map(dto).collect(), next }))
}

/// One job
///
/// With its plan, the metrics of every epoch, and what it made.
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "get_job", tag = "jobs", params(JobPath), responses((status = 200, description = "The job", body = JobDetail)))]
pub async fn show(
    extract::State(state): extract::State<State>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<JobDetail>, ApiError> {
    let id = params::only(id)?;
    Query::parse(&uri, &[])?;
    let jobs = &state.jobs()?.jobs;
    let (job, highlights) = (jobs.job(&id).await?, jobs.highlights(&id).await?);
    let lease = jobs.lease(&job);
    Ok(Json(JobDetail::new(job, lease, &highlights)))
}

/// Cancel a job
///
/// A waiting one ends at once; a running one within two seconds. Refused when it has ended.
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs", params(JobPath), responses(
    (status = 200, description = "It is cancelled", body = JobDto),
    (status = 202, description = "It will stop", body = JobDto)
))]
pub async fn cancel(
    extract::State(state): extract::State<State>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = params::only(id)?;
    Query::parse(&uri, &[])?;
    let jobs = &state.jobs()?.jobs;
    let job = jobs.cancel(&id).await?;
    let status = if job.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(JobDto::new(&job, jobs.lease(&job)))).into_response())
}

type Door = (Arc<JobsPart>, Arc<dyn AnyKind>, bool, Option<String>);

/// What can be checked before the body is read.
fn door(state: &State, name: &str, uri: &Uri, headers: &HeaderMap) -> Result<Door, ApiError> {
    let jobs = Arc::clone(state.jobs()?);
    let kind = jobs.kinds.get(name).cloned().ok_or(ApiError::NoJobs)?;
    let dry_run = Query::parse(uri, &["dry_run"])?.choice("dry_run", &FLAG)?.unwrap_or_default();
    Ok((jobs, kind, dry_run, idempotency::key(headers)?))
}

/// The job of this key and body; a new one unless it was accepted before.
async fn accept(part: &JobsPart, kind: Arc<dyn AnyKind>, key: Option<String>, bytes: Bytes) -> Result<Job, ApiError> {
    let Some(key) = key else { return plan_and_enqueue(part, kind, None, bytes).await };
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let reservation = match part.jobs.reserve(&key, &hash).await? {
        Admission::Known(job) => return Ok(*job),
        Admission::New(reservation) => reservation,
    };
    let accepted = plan_and_enqueue(part, kind, Some(&reservation), bytes).await;
    if accepted.is_err() {
        part.jobs.give_up(reservation).await?;
    }
    accepted
}

async fn plan_and_enqueue(
    part: &JobsPart,
    kind: Arc<dyn AnyKind>,
    reservation: Option<&Reservation>,
    bytes: Bytes,
) -> Result<Job, ApiError> {
    let plan = plan(kind, bytes).await?;
    Ok(part.jobs.enqueue(&plan, reservation).await?)
}

async fn plan(kind: Arc<dyn AnyKind>, bytes: Bytes) -> Result<NewJob, ApiError> {
    let request: Value = json::parse(&bytes)?;
    let planned = tokio::task::spawn_blocking(move || kind.plan(&request)).await;
    planned.map_err(ApiError::internal)?.map_err(ApiError::from_plan)
}
