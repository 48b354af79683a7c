//! `POST /jobs/KIND`, `/jobs`, `/jobs/{id}` and its cancellation: work that goes on after the answer.
//!
//! Knows kinds of jobs by what they say of themselves.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, LazyLock},
};

use axum::{
    extract::{self, Request},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};

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
        state::{JobsPart, State},
    },
    inference::Admission,
    jobs::{
        self, Admission as KeyAdmission, AnyKind, Attachment, HistoryPage, Job, Jobs, Listing, NewJob, PlanError, Reservation,
        Spec, Summary,
    },
    message::FieldProblem,
    work::Seat,
};

/// Most bytes of JSON in which a job may be described: 100,000 classes take some six million.
const MAX_PLAN_BYTES: usize = 8 << 20;

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
    let jobs = Arc::clone(state.jobs()?);
    let kind = jobs.kinds.get(taken.name).cloned().ok_or(ApiError::NoJobs)?;
    let (mut parts, body) = request.into_parts();
    let query = Query::of(&mut parts, taken.declared).await?;
    let SubmissionQuery { dry_run, key } = SubmissionQuery::read(&query)?;
    let intake = state.intake();
    let (asked, admission) = match kind.files() {
        None => {
            let received = Received::from(intake, &parts, body).await?;
            received.read(intake, |bytes| Asked::json(taken.name, bytes)).await?
        }
        Some(files) => {
            let admission = intake.admit(&parts.extensions);
            let (request, file) =
                job_file::receive(&state, (files, &admission), taken.fields, &query, (&parts.uri, &parts.headers, body)).await?;
            let named = move || {
                let hash = hash(&[taken.name.as_bytes(), request.to_string().as_bytes(), file.sha256.as_bytes()]);
                Asked { hash, request, file: Some(file) }
            };
            (intake.encoding.run(admission.origin(), named).await.expect("any number may wait"), admission)
        }
    };
    let seat = jobs.plans.seat(admission.client()).map_err(|_| ApiError::TooManyPlans)?;
    let planning = Planning { seat, kind, asked, admission: admission.clone() };
    if dry_run == Some(true) {
        let planned = planning.plan().await?.0.spec;
        return json::answer(intake, admission, move || PlannedJob::from(planned)).await;
    }
    // A client that leaves must not leave its key behind half-used.
    let held = admission.clone();
    let accepting = async move {
        let _held = held;
        accept(&jobs, key, planning).await
    };
    // On a thread that may block: a plan of many classes takes its time to be written.
    let runtime = Handle::current();
    let job = spawn_blocking(move || runtime.block_on(accepting)).await.map_err(ApiError::internal)??;
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
    let (jobs, runtime) = (state.jobs()?.jobs.clone(), Handle::current());
    let make = move |_: &Admission| {
        let (found, next) = page(runtime.block_on(jobs.list(&listing))?, limit, |job| job.id.clone());
        Ok(JobsAnswer { jobs: found.into_iter().map(|job| shown(&jobs, job)).collect(), next })
    };
    json::answer_at(state.seat(admission.client())?, state.intake(), admission, make).await
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
    let (jobs, runtime) = (state.jobs()?.jobs.clone(), Handle::current());
    let make = move |admission: &Admission| {
        let hold = |bytes| admission.memory().add(bytes).map_err(ApiError::from);
        let details = runtime.block_on(jobs.details(&id, page, hold))?;
        let lease = jobs.lease(details.summary.claim.as_ref());
        Ok(JobDetail::new(details, lease))
    };
    json::answer_at(state.seat(admission.client())?, state.intake(), admission, make).await
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
    let (part, held) = (Arc::clone(state.jobs()?), admission.clone());
    let cancelling = async move {
        let _held = held;
        let job = part.jobs.cancel(&path.id).await?;
        // No worker has it, and what came with it makes room at once.
        if let Some(kind) = part.kinds.get(&job.kind).cloned().filter(|_| job.state.is_terminal()) {
            tokio::task::spawn_blocking(move || kind.discard(&path.id)).await.map_err(ApiError::internal)?;
        }
        Ok::<_, ApiError>(shown(&part.jobs, job))
    };
    let job = state.seat(admission.client())?.run_async(cancelling).await?;
    let status = if job.state.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, json::done(state.intake(), admission, move || job).await?).into_response())
}

/// What a request asks for.
struct Asked {
    request: Value,
    file: Option<Attachment>,
    /// SHA-256 of the kind and of all that was sent, hexadecimal.
    hash: String,
}

impl Asked {
    fn json(kind: &str, bytes: &[u8]) -> Result<Self, ApiError> {
        Ok(Self { request: json::parse(bytes)?, file: None, hash: hash(&[kind.as_bytes(), bytes]) })
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex::encode(hasher.finalize())
}

/// The job of this key and body; a new one unless it was accepted before.
async fn accept(part: &JobsPart, key: Option<IdempotencyKey>, planning: Planning) -> Result<Job, ApiError> {
    let Some(IdempotencyKey(key)) = key else { return plan_and_enqueue(part, None, planning).await };
    let mut reservation = match part.jobs.reserve(planning.admission.client(), &key, &planning.asked.hash).await? {
        KeyAdmission::Known(job) => return Ok(*job),
        KeyAdmission::New(reservation) => reservation,
    };
    let accepted = plan_and_enqueue(part, Some(&mut reservation), planning).await;
    // Before the answer: whoever mends the request may send it again with the same key.
    reservation.give_up().await;
    accepted
}

async fn plan_and_enqueue(part: &JobsPart, reservation: Option<&mut Reservation>, planning: Planning) -> Result<Job, ApiError> {
    let client = planning.admission.client().clone();
    let (plan, file) = planning.plan().await?;
    let job = part.jobs.enqueue(&client, &plan, reservation).await?;
    file.into_iter().for_each(Attachment::keep);
    Ok(job)
}

/// Bytes of the JSON that is kept of what a job is to do.
fn written_bytes(spec: &Spec) -> Result<usize, ApiError> {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, &(&spec.subject, &spec.plan, &spec.warnings)).map_err(ApiError::internal)?;
    Ok(count.0)
}

/// A job that is to be planned, and what it holds meanwhile.
struct Planning {
    seat: Seat,
    kind: Arc<dyn AnyKind>,
    asked: Asked,
    admission: Admission,
}

impl Planning {
    /// The plan, and the file that it is about.
    async fn plan(self) -> Result<(NewJob, Option<Attachment>), ApiError> {
        let Self { seat, kind, asked: Asked { request, file, .. }, admission } = self;
        let time = admission.time();
        let work = move || {
            let plan = kind.plan(&request, file.as_ref()).map_err(ApiError::from_plan)?;
            let bytes = written_bytes(&plan.spec)?;
            if bytes > MAX_PLAN_BYTES {
                let problem = format!(
                    "the job would be described in {bytes} bytes, and {MAX_PLAN_BYTES} are kept of one; nearly all are names of classes: give them \
                     shorter ones, or take fewer"
                );
                return Err(ApiError::from_plan(PlanError::Invalid(vec![FieldProblem::new("dataset", problem)])));
            }
            // Its parts, its row, and the answer that shows it.
            admission.take(4 * bytes)?;
            Ok((plan, file))
        };
        let planning = seat.run(work);
        match time {
            Some(time) => timeout(time, planning).await.map_err(|_| ApiError::LatePlan { ms: time.as_millis() })?,
            None => planning.await,
        }
    }
}
