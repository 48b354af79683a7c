//! The kinds of jobs: a file each, and its word in the list below.
//!
//! Routes, store and worker know a kind only by what it declares.

use std::{path::PathBuf, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::Finetuner;
use crate::{
    access::Scope,
    config::Config,
    datasets::{self, Dataset, Datasets},
    inference::Engine,
    jobs::{Failure, Kind, Kinds, PlanError, Resource},
    message::{FieldProblem, Folders, serde_message},
    registry::{ModelVersion, Repository},
    runtime::Runtime,
    telemetry::chain,
};

macro_rules! kinds {
    ($($file:ident::$kind:ident),+ $(,)?) => {
        $(mod $file;)+
        $(pub use $file::$kind;)+

        /// Every kind, over a server's `parts`.
        pub fn kinds(parts: &Arc<Parts>) -> Kinds {
            Kinds::default()$(.with($kind::NAME, Arc::new($kind::new(Arc::clone(parts)))))+
        }

        /// What every kind says of itself, in the order of their names.
        pub fn described() -> Vec<Description> {
            vec![$(Description::of::<$kind>()),+]
        }
    };
}

kinds![evaluate::Evaluate, finetune::Finetune, import::Import];

/// What kinds of jobs work with.
pub struct Parts {
    finetuner: Finetuner,
    runtime: Runtime,
    engine: Engine,
    repository: Repository,
    datasets: Datasets,
    data_dir: PathBuf,
    max_import_bytes: u64,
    max_client_percent: u8,
    /// This server's folders, and what a client may call them.
    folders: Folders,
    /// Runs the engine's asynchronous calls from a job's thread.
    handle: tokio::runtime::Handle,
}

/// What a kind says of itself, for the document of the interface.
pub struct Description {
    /// Its name, as in `POST /jobs/NAME`.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// And in more words.
    pub description: &'static str,
    /// A request that makes sense, as JSON.
    pub example: &'static str,
    /// What a key must have that asks for it.
    pub scope: Scope,
    /// Of its request, of what a list shows of a job, of the rest of its plan, of its progress, and of its result.
    pub types: [Described; 5],
    /// Names of the request's fields, where it may come as a form with a file.
    pub fields: &'static [&'static str],
}

/// A type of a kind, as a schema with all that it refers to.
pub struct Described {
    /// The schema's name.
    pub name: String,
    /// The schema, and those that it refers to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

impl Description {
    fn of<K: Kind>() -> Self {
        let types = [
            Described::of::<K::Request>(),
            Described::of::<K::Subject>(),
            Described::of::<K::Plan>(),
            Described::of::<K::Progress>(),
            Described::of::<K::Result>(),
        ];
        Self {
            name: K::NAME,
            summary: K::SUMMARY,
            description: K::DESCRIPTION,
            example: K::EXAMPLE,
            scope: K::SCOPE,
            types,
            fields: K::FIELDS,
        }
    }
}

impl Described {
    fn of<T: ToSchema>() -> Self {
        let name = T::name().into_owned();
        let mut schemas = vec![(name.clone(), <T as PartialSchema>::schema())];
        T::schemas(&mut schemas);
        Self { name, schemas }
    }
}

impl Parts {
    /// Over the server's parts; called on the runtime that serves.
    pub fn new(runtime: Runtime, repository: Repository, datasets: Datasets, engine: Engine, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            folders: Folders::new([(&*config.data.dir, "data.dir"), (&*config.models.dir, "models.dir")]),
            finetuner: Finetuner::new(runtime.clone(), repository.clone(), engine.clone(), config),
            runtime,
            engine,
            repository,
            datasets,
            data_dir: config.data.dir.clone(),
            max_import_bytes: config.models.max_import_bytes,
            max_client_percent: config.server.max_client_percent,
            handle: tokio::runtime::Handle::current(),
        })
    }

    /// The data set of that id.
    fn dataset(&self, id: Option<&str>) -> Result<Dataset, PlanError> {
        let Some(id) = id else {
            return Err(invalid("dataset", "is missing; give the id of a data set (`GET /datasets` lists them)"));
        };
        match self.datasets.get(id) {
            Ok(dataset) => Ok(dataset),
            Err(error @ datasets::Error::Unknown { .. }) => Err(invalid("dataset", error.to_string())),
            Err(error) => Err(PlanError::Failed(error.into())),
        }
    }

    /// A version as it was when the job was accepted.
    fn version(&self, name: &str, version: u32) -> Result<ModelVersion, Failure> {
        let snapshot = self.repository.scan().map_err(|error| self.failure("repository", &error))?;
        let found = snapshot.model(name).and_then(|model| model.version(version)).cloned();
        found.ok_or_else(|| Failure::new("base_gone", format!("{name}@{version} is no longer in the repository")))
    }

    /// Serves what a job has published from this moment on.
    fn rescan(&self) {
        // What a scan cannot read now, the next one will.
        if let Err(error) = self.handle.block_on(self.engine.rescan()) {
            tracing::warn!(error = chain(&error), "cannot scan the model repository after a job");
        }
    }

    /// A failure as a client reads it: without paths of this server, which the log has. Whether it passes is told from its causes.
    fn failure(&self, code: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        self.failure_among(&self.folders, code, error)
    }

    /// The same, where a client knows more names of files.
    fn failure_among(&self, folders: &Folders, code: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        let (full, shown) = (chain(error), folders.for_client(|| chain(error)));
        if full != shown {
            tracing::warn!(code, error = full, "a client sees this failure without paths");
        }
        Failure::new(code, shown).caused_by(error)
    }
}

/// What jobs use that can be deleted by `DELETE /datasets/{id}`.
pub fn dataset_resource(id: &str) -> Resource {
    Resource(format!("dataset/{id}"))
}

/// What jobs use that can be deleted by `DELETE /models/{model}/versions/{version}`.
pub fn version_resource(model: &str, version: u32) -> Resource {
    Resource(format!("version/{model}@{version}"))
}

fn invalid(field: &str, detail: impl Into<String>) -> PlanError {
    PlanError::Invalid(vec![FieldProblem::new(field, detail)])
}

/// The request, which is an object: a list would be taken for its fields in their order.
fn read<T: DeserializeOwned>(request: &Value) -> Result<T, PlanError> {
    if !request.is_object() {
        return Err(invalid("", "is not a JSON object"));
    }
    serde_path_to_error::deserialize(request)
        .map_err(|error| invalid(&error.path().to_string(), serde_message(error.inner()).to_string()))
}

/// What was found, or `None` with what is wrong among the problems.
fn known<T>(found: Result<T, PlanError>, problems: &mut Vec<FieldProblem>) -> Result<Option<T>, PlanError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(PlanError::Invalid(found)) => {
            add(problems, found);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Adds what is wrong with fields of which nothing was said yet, nor of what they are in.
fn add(problems: &mut Vec<FieldProblem>, found: Vec<FieldProblem>) {
    let named: Vec<String> = problems.iter().map(|problem| problem.field.clone()).collect();
    let is_within = |field: &str, named: &String| {
        field.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let is_new = |problem: &FieldProblem| !named.iter().any(|named| named.is_empty() || is_within(&problem.field, named));
    problems.extend(found.into_iter().filter(is_new));
}
