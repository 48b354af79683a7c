//! Jobs that are asked for: planned at their desk, within the time of a request, and accepted once for every key; and cancelled.

use std::{io, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};

use super::{Error, JobsPart, Service};
use crate::{
    inference::Admission,
    jobs::{Admission as KeyAdmission, AnyKind, Attachment, Job, NewJob, PlanError, Reservation, Spec, Summary},
    message::FieldProblem,
    work::{EndsElsewhere, Seat},
};

/// Most bytes of JSON in which a job may be described: 100,000 classes take some six million.
const MAX_PLAN_BYTES: usize = 8 << 20;

/// A job that is asked for.
pub struct Submission {
    kind: Arc<dyn AnyKind>,
    /// Up to a hundred thousand values: dropping them takes its time, too.
    request: EndsElsewhere<Value>,
    file: Option<Attachment>,
    hash: String,
}

impl Submission {
    /// A job of `kind`, called `name`, as `request` says, which was sent as `bytes`.
    pub fn new(kind: Arc<dyn AnyKind>, name: &str, request: Value, bytes: &[u8]) -> Self {
        Self { kind, request: EndsElsewhere::new(request), file: None, hash: hash(&[name.as_bytes(), bytes]) }
    }

    /// The same about `file`.
    pub fn with_file(kind: Arc<dyn AnyKind>, name: &str, request: Value, file: Attachment) -> Self {
        let hash = hash(&[name.as_bytes(), request.to_string().as_bytes(), file.sha256.as_bytes()]);
        Self { kind, request: EndsElsewhere::new(request), file: Some(file), hash }
    }
}

impl Service {
    /// What would be done; nothing is accepted.
    ///
    /// # Errors
    /// [`Error::TooManyPlans`], [`Error::LatePlan`], [`Error::Plan`], [`Error::Memory`].
    pub async fn plan(&self, submission: Submission, admission: &Admission) -> Result<Spec, Error> {
        let (plan, file) = self.planning(submission, admission)?.plan().await?;
        // Before the answer: whoever has it may send the next file at once.
        if let Some(file) = file {
            spawn_blocking(move || file.discard()).await.map_err(|_| Error::ShuttingDown)?;
        }
        Ok(plan.spec)
    }

    /// Accepts a job, whoever leaves; where a `key` is given, once.
    ///
    /// # Errors
    /// As [`Self::plan`]; [`Error::Jobs`].
    pub async fn submit(&self, submission: Submission, key: Option<String>, admission: &Admission) -> Result<Job, Error> {
        let (service, part, planning) = (self.clone(), Arc::clone(self.part()?), self.planning(submission, admission)?);
        let held = admission.clone();
        // A client that leaves must not leave its key behind half-used.
        let accepting = async move {
            let _held = held;
            service.accept(part, key, planning).await
        };
        tokio::spawn(accepting).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Cancels the job `id`, whoever leaves.
    ///
    /// # Errors
    /// [`Error::StoreBusy`]; [`Error::Jobs`] for one that has ended, or is not known.
    pub async fn cancel(&self, id: String, admission: &Admission) -> Result<Summary, Error> {
        let (part, seat, held) = (Arc::clone(self.part()?), self.seat(admission.client())?, admission.clone());
        let cancelling = async move {
            let _held = held;
            let job = part.jobs.cancel(&id).await?;
            // No worker has it, and what came with it makes room at once.
            if let Some(kind) = part.kinds.get(&job.kind).cloned().filter(|_| job.state.is_terminal()) {
                spawn_blocking(move || kind.discard(&id)).await.map_err(|_| Error::ShuttingDown)?;
            }
            Ok(job)
        };
        seat.run_async(cancelling).await
    }

    /// The job of this key and request; a new one unless it was accepted before.
    async fn accept(&self, part: Arc<JobsPart>, key: Option<String>, planning: Planning) -> Result<Job, Error> {
        let admission = planning.admission.clone();
        let Some(key) = key else { return self.plan_and_enqueue(part, None, planning).await.0 };
        let (jobs, client, hash) = (part.jobs.clone(), admission.client().clone(), planning.submission.hash.clone());
        let (held, runtime) = (admission.clone(), Handle::current());
        let reserving = async move {
            match jobs.reserve(&client, &key, &hash).await? {
                KeyAdmission::New(reservation) => Ok(Ok(reservation)),
                KeyAdmission::Known(id) => {
                    let hold = |bytes| held.memory().add(bytes).map_err(Error::from);
                    jobs.accepted(&id, hold).await.map(Err)
                }
            }
        };
        let reservation = match self.seat(admission.client())?.run(move || runtime.block_on(reserving)).await {
            Ok(Ok(reservation)) => reservation,
            Ok(Err(job)) => return Ok(job),
            Err(error) => return Err(error),
        };
        let (accepted, reservation) = self.plan_and_enqueue(part, Some(reservation), planning).await;
        // Before the answer: whoever mends the request may send it again with the same key.
        if let Some(reservation) = reservation {
            reservation.give_up().await;
        }
        accepted
    }

    /// The new job; what is left of the reservation comes back.
    async fn plan_and_enqueue(
        &self,
        part: Arc<JobsPart>,
        mut reservation: Option<Reservation>,
        planning: Planning,
    ) -> (Result<Job, Error>, Option<Reservation>) {
        let client = planning.admission.client().clone();
        let (plan, file, seat) = match planning.plan().await.and_then(|(plan, file)| Ok((plan, file, self.seat(&client)?))) {
            Ok(planned) => planned,
            Err(error) => return (Err(error), reservation),
        };
        // On a thread that may block: a plan of many classes takes its time to be written.
        let runtime = Handle::current();
        let enqueue = move || {
            let job = runtime.block_on(part.jobs.enqueue(&client, &plan, reservation.as_mut()));
            if job.is_ok() {
                file.into_iter().for_each(Attachment::keep);
            }
            (job.map_err(Error::from), reservation)
        };
        seat.run(enqueue).await
    }

    fn planning(&self, submission: Submission, admission: &Admission) -> Result<Planning, Error> {
        let seat = self.part()?.plans.seat(admission.client()).map_err(|_| Error::TooManyPlans)?;
        Ok(Planning { seat, submission, admission: admission.clone() })
    }
}

/// A job that is to be planned, and what it holds meanwhile.
struct Planning {
    seat: Seat,
    submission: Submission,
    admission: Admission,
}

impl Planning {
    /// The plan, and the file that it is about.
    async fn plan(self) -> Result<(NewJob, Option<Attachment>), Error> {
        let Self { seat, submission: Submission { kind, request, file, .. }, admission } = self;
        let time = admission.time();
        let work = move || match planned(&*kind, &request.into_inner(), file.as_ref(), &admission) {
            Ok(plan) => Ok((plan, file)),
            Err(error) => {
                // Before the answer: whoever has it may send a better file at once.
                file.into_iter().for_each(Attachment::discard);
                Err(error)
            }
        };
        let planning = seat.run(work);
        match time {
            Some(time) => timeout(time, planning).await.map_err(|_| Error::LatePlan { ms: time.as_millis() })?,
            None => planning.await,
        }
    }
}

/// What `kind` makes of `request`, within the memory of `admission`.
fn planned(kind: &dyn AnyKind, request: &Value, file: Option<&Attachment>, admission: &Admission) -> Result<NewJob, Error> {
    let plan = kind.plan(request, file)?;
    let bytes = written_bytes(&plan.spec)?;
    if bytes > MAX_PLAN_BYTES {
        let problem = format!(
            "the job would be described in {bytes} bytes, and {MAX_PLAN_BYTES} are kept of one; nearly all are names of classes: give them \
             shorter ones, or take fewer"
        );
        return Err(PlanError::Invalid(vec![FieldProblem::new("dataset", problem)]).into());
    }
    // Its parts, its row, and the answer that shows it.
    admission.take(4 * bytes)?;
    Ok(plan)
}

/// Bytes of the JSON that is kept of what a job is to do.
fn written_bytes(spec: &Spec) -> Result<usize, PlanError> {
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
    let written = serde_json::to_writer(&mut count, &(&spec.subject, &spec.plan, &spec.warnings));
    written.map_err(|error| PlanError::Failed(error.into()))?;
    Ok(count.0)
}

/// SHA-256, hexadecimal.
fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex::encode(hasher.finalize())
}
