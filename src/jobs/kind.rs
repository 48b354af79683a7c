//! Kinds of jobs: each plans and runs with types of its own, and shows store, worker and routes one face.
//!
//! What a kind writes is JSON from the moment it leaves the kind's hands; nobody else reads it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    control::Control,
    files::{Attachment, Files},
    job::{Failure, Job, NewJob, Progress, Spec},
};
use crate::{access::Scope, message::FieldProblem};

/// What a kind writes: a JSON object, which goes to clients as it is.
pub type Document = Map<String, Value>;

/// Something that jobs use and that can be removed; called by whoever owns it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource(pub String);

impl fmt::Display for Resource {
    /// As messages name it: "dataset `photos`" for `dataset/photos`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('/') {
            Some((kind, name)) => write!(f, "{kind} `{name}`"),
            None => write!(f, "`{}`", self.0),
        }
    }
}

/// A kind of job.
pub trait Kind: Send + Sync + 'static {
    /// What asks for it, `POST /jobs/NAME`, and what the store calls it.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// And in more words.
    const DESCRIPTION: &'static str;
    /// A request that makes sense, as JSON.
    const EXAMPLE: &'static str;
    /// What a key must have that asks for it.
    const SCOPE: Scope;
    /// Fields of a request that comes with a file: in the query, or beside the file in a form. Empty for kinds whose requests are
    /// JSON alone.
    const FIELDS: &'static [&'static str] = &[];
    /// What asks for a job, as the document shows it; [`Self::plan`] reads it.
    type Request: ToSchema;
    /// What a list shows of a job.
    type Subject: Serialize + DeserializeOwned + ToSchema;
    /// The rest of what the worker is given: everything that decides the result.
    type Plan: Serialize + DeserializeOwned + ToSchema;
    /// How far a job is.
    type Progress: Serialize + ToSchema;
    /// What a job made.
    type Result: Serialize + ToSchema;

    /// Where the files are kept that come with requests; `None` for a kind whose requests are JSON alone.
    fn files(&self) -> Option<&Files> {
        None
    }

    /// Resolves and checks the JSON of a request, and its file if it comes with one; nothing is looked up again later. Blocks, off
    /// the async threads.
    ///
    /// # Errors
    /// Every problem at once, or that it could not be looked into.
    fn plan(&self, request: &Value, file: Option<&Attachment>) -> Result<Planned<Self>, PlanError>;

    /// Runs a job to its end, or until [`Control::cancelled`]. Blocks, on a thread of its own at low priority, which threads that
    /// it starts inherit. It resumes by itself from what an earlier run left behind.
    ///
    /// # Errors
    /// Why there is no result; what it is does not matter once `control` says to stop.
    fn run(&self, task: Task<Self>, control: &dyn Control) -> Result<Self::Result, Failure>;

    /// Ids of the jobs of which something is kept for a later run to go on from.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes what is kept of the job `id`; called when the job has ended and that is durable.
    fn discard(&self, _id: &str) {}
}

/// A job that can be accepted.
#[derive(Debug, Clone)]
pub struct Planned<K: Kind + ?Sized> {
    /// What a list shows of it.
    pub subject: K::Subject,
    /// What the worker is given besides.
    pub plan: K::Plan,
    /// What must stay until it has ended.
    pub uses: Vec<Resource>,
    /// What the user should know before it starts.
    pub warnings: Vec<String>,
}

/// A job in its kind's hands.
#[derive(Debug, Clone)]
pub struct Task<K: Kind + ?Sized> {
    /// Its id.
    pub id: String,
    /// What a list shows of it.
    pub subject: K::Subject,
    /// What was planned besides.
    pub plan: K::Plan,
    /// How far an earlier run was.
    pub progress: Option<Progress>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The request asks for what cannot be done.
    #[error("the request has {} problems", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// A defect or a failing machine.
    #[error("cannot check the request")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A kind as store, worker and routes know it.
pub trait AnyKind: Send + Sync {
    /// As [`Kind::files`].
    fn files(&self) -> Option<&Files> {
        None
    }

    /// As [`Kind::plan`].
    ///
    /// # Errors
    /// As [`Kind::plan`].
    fn plan(&self, request: &Value, file: Option<&Attachment>) -> Result<NewJob, PlanError>;

    /// As [`Kind::run`].
    ///
    /// # Errors
    /// As [`Kind::run`]; a plan that this graft cannot read.
    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure>;

    /// As [`Kind::leftovers`].
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    /// As [`Kind::discard`].
    fn discard(&self, _id: &str) {}
}

impl<K: Kind> AnyKind for K {
    fn files(&self) -> Option<&Files> {
        Kind::files(self)
    }

    fn plan(&self, request: &Value, file: Option<&Attachment>) -> Result<NewJob, PlanError> {
        let Planned { subject, plan, uses, warnings } = Kind::plan(self, request, file)?;
        let failed = |error: serde_json::Error| PlanError::Failed(error.into());
        let (subject, plan) = (document(&subject).map_err(failed)?, document(&plan).map_err(failed)?);
        Ok(NewJob {
            id: file.map(|file| file.id.clone()),
            spec: Spec { kind: K::NAME.to_owned(), subject, plan, warnings },
            uses,
        })
    }

    fn run(&self, job: &Job, control: &dyn Control) -> Result<Value, Failure> {
        let foreign = |error| Failure::new("foreign_plan", format!("the job was planned by another graft: {error}"));
        let task = Task {
            id: job.id.clone(),
            subject: read(&job.spec.subject).map_err(foreign)?,
            plan: read(&job.spec.plan).map_err(foreign)?,
            progress: job.progress.clone(),
        };
        let result = Kind::run(self, task, control)?;
        serde_json::to_value(result).map_err(|error| Failure::new("result", format!("the result is no JSON: {error}")))
    }

    fn leftovers(&self) -> Vec<String> {
        Kind::leftovers(self)
    }

    fn discard(&self, id: &str) {
        Kind::discard(self, id);
    }
}

/// The kinds that a server knows, by name; cheap to clone.
#[derive(Clone, Default)]
pub struct Kinds(Arc<BTreeMap<&'static str, Arc<dyn AnyKind>>>);

impl Kinds {
    /// The same with one more.
    #[must_use]
    pub fn with(self, name: &'static str, kind: Arc<dyn AnyKind>) -> Self {
        let mut kinds = Arc::unwrap_or_clone(self.0);
        kinds.insert(name, kind);
        Self(Arc::new(kinds))
    }

    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(name)
    }

    /// Every kind.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.0.values()
    }
}

/// `value` as a JSON object.
///
/// # Errors
/// A value that is no struct or map.
pub fn document(value: &impl Serialize) -> Result<Document, serde_json::Error> {
    match serde_json::to_value(value)? {
        Value::Object(document) => Ok(document),
        other => Err(serde::de::Error::custom(format!("{other} is not an object"))),
    }
}

fn read<T: DeserializeOwned>(document: &Document) -> Result<T, serde_json::Error> {
    T::deserialize(document)
}
