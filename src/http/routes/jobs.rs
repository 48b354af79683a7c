//! `POST /jobs/KIND`, `/jobs`, `/jobs/{id}` and its cancellation: work that goes on after the answer.
//!
//! Knows kinds of jobs by what they say of themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    Json,
    extract::{self, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::job_file;
use crate::{
    finetuning::kinds::{Description, described},
    http::{
        access::Guarded,
        client::client,
        code::{ANSWER, BODY, Codes, PARAMETERS, codes},
        dto::{AcceptedJob, JobDetail, JobDto, JobsAnswer, PlannedJob},
        error::ApiError,
        idempotency::IdempotencyKey,
        json,
        openapi::{Problems, fields, submission},
        page::{Limit, page},
        parameters::{Parameter, Parameters, choices, parameters},
        query::Query,
        state::{JobsPart, State},
    },
    inference::Admission,
    jobs::{self, Admission as KeyAdmission, AnyKind, Attachment, Job, Listing, NewJob, Reservation},
    work::{Client, Lane, Origin, Share},
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
    let jobs = Arc::clone(state.jobs()?);
    let kind = jobs.kinds.get(taken.name).cloned().ok_or(ApiError::NoJobs)?;
    let (mut parts, body) = request.into_parts();
    let query = Query::of(&mut parts, taken.declared).await?;
    let SubmissionQuery { dry_run, key } = SubmissionQuery::read(&query)?;
    let client = client(&parts.extensions);
    let asked = match kind.files() {
        None => Asked::json(taken.name, &json::bytes(state.intake(), &parts, body).await?)?,
        Some(files) => {
            let (request, file) =
                job_file::receive(&state, (files, &client), taken.fields, &query, (&parts.uri, &parts.headers, body)).await?;
            let hash = hash(&[taken.name.as_bytes(), request.to_string().as_bytes(), file.sha256.as_bytes()]);
            Asked { hash, request, file: Some(file) }
        }
    };
    let place = jobs.plans.places.take(&client, 1).map_err(|_| ApiError::TooManyPlans)?;
    let planning = Planning { lane: jobs.plans.lane.clone(), _place: place };
    if dry_run == Some(true) {
        let planned = planning.plan(kind, asked).await?.0.spec;
        return json::answer(state.intake(), state.intake().admit(&parts.extensions), move || PlannedJob::from(planned)).await;
    }
    // A client that leaves must not leave its key behind half-used.
    let job = tokio::spawn(async move { accept((&jobs, &client), kind, key, asked, planning).await })
        .await
        .map_err(ApiError::internal)??;
    let location = format!("/jobs/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(AcceptedJob::from(job))).into_response())
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
    let jobs = state.jobs()?.jobs.clone();
    let (found, next) = page(jobs.list(&listing).await?, limit, |job| job.id.clone());
    let dto = move |job: &Job| JobDto::new(job, jobs.lease(job));
    json::answer(state.intake(), admission, move || JobsAnswer { jobs: found.iter().map(dto).collect(), next }).await
}

/// One job
///
/// With its plan, the metrics of every epoch, and what it made.
#[utoipa::path(get, path = "/jobs/{id}", operation_id = "get_job", tag = "jobs", params(JobPath), responses((status = 200, description = "The job", body = JobDetail), Problems<{ PARAMETERS | ANSWER | codes! { UnknownJob JobsUnavailable } }>))]
pub async fn show(
    extract::State(state): extract::State<State>,
    path: JobPath,
    admission: Admission,
) -> Result<Response, ApiError> {
    let jobs = &state.jobs()?.jobs;
    let (job, highlights) = (jobs.job(&path.id).await?, jobs.highlights(&path.id).await?);
    let lease = jobs.lease(&job);
    json::answer(state.intake(), admission, move || JobDetail::new(job, lease, &highlights)).await
}

/// Cancel a job
///
/// A waiting one ends at once; a running one within two seconds, an import after the step at hand. Refused when it has ended.
#[utoipa::path(post, path = "/jobs/{id}/cancel", operation_id = "cancel_job", tag = "jobs", params(JobPath), responses(
    (status = 200, description = "It is cancelled", body = JobDto),
    (status = 202, description = "It will stop", body = JobDto),
    Problems<{ PARAMETERS | codes! { UnknownJob JobFinished JobsUnavailable } }>
))]
pub async fn cancel(extract::State(state): extract::State<State>, path: JobPath) -> Result<Response, ApiError> {
    let JobsPart { jobs, kinds, .. } = &**state.jobs()?;
    let job = jobs.cancel(&path.id).await?;
    if !job.state.is_terminal() {
        return Ok((StatusCode::ACCEPTED, Json(JobDto::new(&job, jobs.lease(&job)))).into_response());
    }
    // No worker has it, and what came with it makes room at once.
    if let Some(kind) = kinds.get(&job.spec.kind).cloned() {
        let discarded = tokio::task::spawn_blocking(move || kind.discard(&path.id)).await;
        discarded.map_err(ApiError::internal)?;
    }
    Ok(Json(JobDto::new(&job, jobs.lease(&job))).into_response())
}

/// What a request asks for.
struct Asked {
    request: Value,
    file: Option<Attachment>,
    /// SHA-256 of the kind and of all that was sent, hexadecimal.
    hash: String,
}

impl Asked {
    fn json(kind: &str, bytes: &Bytes) -> Result<Self, ApiError> {
        Ok(Self { request: json::parse(bytes)?, file: None, hash: hash(&[kind.as_bytes(), bytes]) })
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex::encode(hasher.finalize())
}

/// The job of this key and body; a new one unless it was accepted before.
async fn accept(
    (part, client): (&JobsPart, &Client),
    kind: Arc<dyn AnyKind>,
    key: Option<IdempotencyKey>,
    asked: Asked,
    planning: Planning,
) -> Result<Job, ApiError> {
    let Some(IdempotencyKey(key)) = key else { return plan_and_enqueue((part, client), kind, None, asked, planning).await };
    let mut reservation = match part.jobs.reserve(client, &key, &asked.hash).await? {
        KeyAdmission::Known(job) => return Ok(*job),
        KeyAdmission::New(reservation) => reservation,
    };
    let accepted = plan_and_enqueue((part, client), kind, Some(&mut reservation), asked, planning).await;
    // Before the answer: whoever mends the request may send it again with the same key.
    reservation.give_up().await;
    accepted
}

async fn plan_and_enqueue(
    (part, client): (&JobsPart, &Client),
    kind: Arc<dyn AnyKind>,
    reservation: Option<&mut Reservation>,
    asked: Asked,
    planning: Planning,
) -> Result<Job, ApiError> {
    let (plan, file) = planning.plan(kind, asked).await?;
    let job = part.jobs.enqueue(client, &plan, reservation).await?;
    file.into_iter().for_each(Attachment::keep);
    Ok(job)
}

/// A place among those whose jobs are being planned.
struct Planning {
    lane: Lane,
    _place: Share,
}

impl Planning {
    /// The plan, and the file that it is about.
    async fn plan(self, kind: Arc<dyn AnyKind>, asked: Asked) -> Result<(NewJob, Option<Attachment>), ApiError> {
        let Asked { request, file, .. } = asked;
        let Self { lane, _place: place } = self;
        let origin = Origin { client: place.client().clone(), request: 0 };
        let work = move || {
            let _place = place;
            kind.plan(&request, file.as_ref()).map(|plan| (plan, file))
        };
        let planned = lane.run(origin, work).await.expect("any number may wait that has a place");
        planned.map_err(ApiError::from_plan)
    }
}
