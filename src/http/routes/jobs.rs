//! `POST /jobs/KIND`, `/jobs`, `/jobs/{id}` and its cancellation: work that goes on after the answer.
//!
//! Knows kinds of jobs by what they say of themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{self, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::runtime::Handle;

use super::{job_events::EventId, job_file};
use crate::{
    finetuning::kinds::{Description, described},
    http::{
        access::Guarded,
        code::{ANSWER, BODY, Codes, PARAMETERS, codes},
        dto::{AcceptedJob, JobDetail, JobDto, JobsAnswer, PlannedJob},
        error::ApiError,
        idempotency::IdempotencyKey,
        json::{self, Received},
        openapi::{Problems, fields, submission},
        page::{Limit, page},
        parameters::{Parameter, Parameters, choices, parameters},
        query::Query,
        state::State,
    },
    inference::Admission,
    jobs::{self, HistoryPage, Jobs, Listing, Summary},
    service::Submission,
};

/// What may go wrong with a submission.
const SUBMISSION: Codes = PARAMETERS
    | BODY
    | codes! { InvalidRecipe IdempotencyKeyReused IdempotencyInProgress QueueFull StorageFull ResponseTooLarge JobsUnavailable };

parameters! {
    /// What `POST /jobs/KIND` takes besides its body.
    struct SubmissionQuery {
        /// Whether to answer with what would be done, and do nothing; false without.
        dry_run: Option<bool>,
        /// Makes a retry safe; at most 255 characters, bare or quoted
        key: Option<IdempotencyKey> => Header("Idempotency-Key"),
    }
}

parameters! {
    /// Which page of `/jobs`.
    pub struct JobsQuery {
        /// Only jobs in this state, such as `running`.
        state: Option<jobs::State>,
        /// Jobs in the answer; 20 without.
        limit: Option<Limit<20, 100>>,
        /// `next` of the page before.
        after: Option<String>,
    }
}

parameters! {
    /// The job in a path.
    pub struct JobPath {
        /// What the answer that accepted it called it, such as `019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10`.
        id: String => Path,
    }
}

parameters! {
    /// What `/jobs/{id}` takes.
    pub struct JobQuery {
        /// Of which job.
        path: JobPath,
        /// Epochs in `history`; 1000 without.
        limit: Option<Limit<1000, 10_000>>,
        /// `next` of the page before.
        after: Option<EventId>,
    }
}

choices!(jobs::State);

/// What is declared for the route of each kind: the fields of requests that come with a file, and what every kind takes.
static DECLARED: LazyLock<BTreeMap<&'static str, Vec<Parameter>>> = LazyLock::new(|| {
    let declared = |kind: &Description| [fields(kind), SubmissionQuery::declared().to_vec()].concat();
    described().iter().map(|kind| (kind.name, declared(kind))).collect()
});

/// What the route of a kind takes.
#[derive(Clone, Copy)]
struct Taken {
    name: &'static str,
    fields: &'static [&'static str],
    declared: &'static [Parameter],
}

/// Adds a route for every kind of job; each kind says what it needs.
pub fn submissions(routes: Guarded) -> Guarded {
    described().into_iter().fold(routes, |routes, kind| {
        let taken = Taken { name: kind.name, fields: kind.fields, declared: &DECLARED[kind.name] };
        let (schemas, paths) = match kind.fields.is_empty() {
            true => submission::<Problems<SUBMISSION>>(&kind, taken.declared),
            false => submission::<Problems<{ SUBMISSION | codes!(Disabled) }>>(&kind, taken.declared),
        };
        let submit = move |state: extract::State<State>, request: Request| submit(state, taken, request);
        routes.route(kind.scope, (schemas, paths, post(submit)))
    })
}

/// Accepts a job of the kind that is `taken` and answers at once; with `dry_run` nothing is accepted, and the answer is what would be done.
async fn submit(extract::State(state): extract::State<State>, taken: Taken, request: Request) -> Result<Response, ApiError> {
    let service = state.service();
    let kind = Arc::clone(service.kind(taken.name)?);
    let (mut parts, body) = request.into_parts();
    let query = Query::of(&mut parts, taken.declared).await?;
    let SubmissionQuery { dry_run, key } = SubmissionQuery::read(&query)?;
    let intake = state.intake();
    let (submission, admission) = match kind.files() {
        None => {
            let received = Received::from(intake, &parts, body).await?;
            let read = move |bytes: &[u8]| Ok(Submission::new(kind, taken.name, json::parse(bytes)?, bytes));
            received.read(intake, read).await?
        }
        Some(files) => {
            let admission = intake.admit(&parts.extensions);
            let (request, file) =
                job_file::receive(&state, (files, &admission), taken.fields, &query, (&parts.uri, &parts.headers, body)).await?;
            let named = {
                let kind = Arc::clone(&kind);
                move || Submission::with_file(kind, taken.name, request, file)
            };
            (intake.encoding.run(admission.origin(), named).await.expect("any number may wait"), admission)
        }
    };
    if dry_run == Some(true) {
        let planned = service.plan(submission, &admission).await?;
        return json::answer(intake, admission, move || PlannedJob::from(planned)).await;
    }
    let job = service.submit(submission, key.map(|IdempotencyKey(key)| key), &admission).await?;
    let location = [(header::LOCATION, format!("/jobs/{}", job.id))];
    let answer = json::done(intake, admission, move || AcceptedJob::from(job)).await?;
    Ok((StatusCode::ACCEPTED, location, answer).into_response())
}

/// Every job that is kept
///
/// The newest first; `jobs.max_finished` bounds how many that have ended are kept.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery), responses((status = 200, description = "A page of jobs", body = JobsAnswer), Problems<{ PARAMETERS | ANSWER | codes! { UnknownJob JobsUnavailable } }>))]
pub async fn list(
    extract::State(state): extract::State<State>,
    query: JobsQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let limit = Limit::of(query.limit);
    let listing = Listing { state: query.state, after: query.after, limit: limit as u32 + 1 };
    let (jobs, runtime) = (state.service().jobs()?.clone(), Handle::current());
    let make = move |admission: &Admission| {
        let hold = |bytes| admission.memory().add(bytes).map_err(ApiError::from);
        let (found, next) = page(runtime.block_on(jobs.list(&listing, hold))?, limit, |job| job.id.clone());
        Ok(JobsAnswer { jobs: found.into_iter().map(|job| shown(&jobs, job)).collect(), next })
    };
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

fn shown(jobs: &Jobs, job: Summary) -> JobDto {
    let lease = jobs.lease(job.claim.as_ref());
    JobDto::new(job, lease)
}

/// One job
///
/// With its plan, the metrics of its epochs, and what it made.
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "get_job", tag = "jobs", params(JobQuery), responses((status = 200, description = "The job", body = JobDetail), Problems<{ PARAMETERS | ANSWER | codes! { UnknownJob JobsUnavailable } }>))]
pub async fn show(
    extract::State(state): extract::State<State>,
    query: JobQuery,
    admission: Admission,
) -> Result<Response, ApiError> {
    let JobQuery { path: JobPath { id }, limit, after } = query;
    let page = HistoryPage { after: after.and_then(|EventId(id)| id).unwrap_or_default(), limit: Limit::of(limit) as u32 };
    let (jobs, runtime) = (state.service().jobs()?.clone(), Handle::current());
    let make = move |admission: &Admission| {
        let hold = |bytes| admission.memory().add(bytes).map_err(ApiError::from);
        let details = runtime.block_on(jobs.details(&id, page, hold))?;
        let lease = jobs.lease(details.summary.claim.as_ref());
        Ok(JobDetail::new(details, lease))
    };
    json::answer_at(state.service().seat(admission.client())?, state.intake(), admission, make).await
}

/// Cancel a job
///
/// A waiting one ends at once; a running one within two seconds, an import after the step at hand. Refused when it has ended.
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs", params(JobPath), responses(
    (status = 200, description = "It is cancelled", body = JobDto),
    (status = 202, description = "It will stop", body = JobDto),
    Problems<{ PARAMETERS | codes! { UnknownJob JobFinished JobsUnavailable Busy } }>
))]
pub async fn cancel(
    extract::State(state): extract::State<State>,
    path: JobPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    let (jobs, job) = (state.service().jobs()?.clone(), state.service().cancel(path.id, &admission).await?);
    let status = if job.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, json::done(state.intake(), admission, move || shown(&jobs, job)).await?).into_response())
}
