//! Jobs that import a weight file or an ONNX classifier which came with the request.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Parts, invalid, known, read};
use crate::{
    access::Scope,
    arch,
    finetuning::name::check_reserved,
    jobs::{Attachment, Control, Failure, Files, Kind, PlanError, Planned, Progress, Task, document},
    message::{excerpt, serde_message},
    registry::{
        Assumption, ImportError, ModelVersion, NAME_RULE, OnnxSettings, Prepared, Stable, prepare_keras, prepare_onnx, valid_name,
    },
    weights::pytorch::is_safetensors,
};

/// Most labels that come with a request.
const MAX_LABELS: usize = 100_000;

/// Imports a file.
pub struct Import {
    parts: Arc<Parts>,
    files: Files,
}

/// A request to import the file that comes with it; `name` is required.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = ImportRequest)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Name of the model; required.
    #[schema(value_type = String, required = true, example = "flowers")]
    name: Option<String>,
    /// The network whose weights the file holds (HDF5 of Keras, or safetensors of PyTorch); an ONNX classifier without.
    #[schema(nullable = false, example = "vgg16")]
    architecture: Option<String>,
    /// Whether the version answers requests that name none where a model of that name exists; default false.
    #[schema(value_type = Option<bool>, nullable = false)]
    replace: Option<Flag>,
    /// What an ONNX file does not say of itself, as the settings of `graft import`, without `labels`.
    #[schema(value_type = Option<OnnxSettings>, nullable = false)]
    settings: Option<Nested<OnnxSettings>>,
    /// Labels of an ONNX file's classes, in index order.
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    labels: Option<Nested<Vec<String>>>,
}

/// A value that a form's field or a query has as text.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Flag {
    Is(bool),
    Text(String),
}

/// JSON, or text that holds JSON, as in a form's field or a query.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Nested<T> {
    Text(String),
    Is(T),
}

/// What a list shows of an import.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = ImportSubject)]
pub struct Subject {
    /// Name of the model.
    #[schema(example = "flowers")]
    name: String,
    /// What the file is called.
    #[schema(example = "flowers.onnx")]
    file: String,
    /// Size of the file.
    bytes: u64,
}

/// The rest of an import's plan.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = ImportPlan)]
pub struct Plan {
    /// The network whose weights the file holds; null for an ONNX classifier.
    #[schema(required = true)]
    architecture: Option<String>,
    /// Whether the version answers requests that name none where a model of that name exists.
    replace: bool,
    /// What an ONNX file does not say of itself.
    settings: OnnxSettings,
    /// Labels of its classes; null without.
    #[schema(required = true)]
    labels: Option<Vec<String>>,
}

/// How far an import is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImportProgress {
    /// `importing`.
    stage: &'static str,
}

/// What an import made.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ImportResult)]
pub struct Imported {
    /// Name of the model.
    model: String,
    /// Its version.
    version: u32,
    /// Whether requests that name no version get it.
    served: bool,
    /// Number of classes; 0 without a top.
    classes: usize,
    /// What could not be known and was taken for granted.
    assumptions: Vec<Assumption>,
}

impl Import {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        let bound = (parts.max_import_bytes, "models.max_import_bytes");
        Self { files: Files::new(parts.data_dir.join("imports"), bound, parts.max_client_percent), parts }
    }

    fn planned(&self, request: &Value, file: Option<&Attachment>) -> Result<Planned<Self>, PlanError> {
        if matches!(&request["settings"], Value::Array(_)) {
            return Err(invalid("settings", "is an array; write it as an object with names"));
        }
        let request: Request = read(request)?;
        let Some(file) = file else {
            return Err(invalid("file", "is missing; send it as the body, or as a file of a form (`-F file=@model.onnx`)"));
        };
        let mut problems = Vec::new();
        let name = known(name(request.name.as_deref()), &mut problems)?;
        let architecture = known(architecture(request.architecture, file), &mut problems)?;
        let replace = known(flag(request.replace), &mut problems)?;
        let settings = known(nested("settings", request.settings), &mut problems)?;
        let labels: Option<Option<Vec<String>>> = known(nested("labels", request.labels), &mut problems)?;
        let (Some(name), Some(architecture), Some(replace), Some(settings), Some(labels), true) =
            (name, architecture, replace, settings, labels, problems.is_empty())
        else {
            return Err(PlanError::Invalid(problems));
        };
        if architecture.is_some() && (settings.is_some() || labels.is_some()) {
            let field = if settings.is_some() { "settings" } else { "labels" };
            return Err(invalid(field, "is for ONNX classifiers; weights of an architecture have it from there: leave one of them out"));
        }
        let settings: OnnxSettings = settings.unwrap_or_default();
        // What is planned is stored as JSON, which has no infinity.
        if serde_json::to_value(&settings).and_then(serde_json::from_value::<OnnxSettings>).is_err() {
            return Err(invalid("settings", "has a number that is too large for float32"));
        }
        if settings.labels.is_some() {
            return Err(invalid("settings", "has `labels`, a file of the server; send the labels as `labels`, a list"));
        }
        if labels.as_ref().is_some_and(|labels| labels.len() > MAX_LABELS) {
            return Err(invalid("labels", format!("has more than {MAX_LABELS} entries")));
        }
        let stable = self.stable(&name)?;
        let warning = stable.filter(|stable| !replace || stable.pinned).map(|Stable { version, pinned }| {
            let way_out = match pinned {
                true => format!("is pinned; `DELETE /models/{name}/stable` ends that"),
                false => "goes on answering; `replace=true` lets the new one answer".to_owned(),
            };
            format!("name: `{name}` exists, and its version {version} {way_out}")
        });
        Ok(Planned {
            subject: Subject { name, file: excerpt(&file.name).to_string(), bytes: file.bytes },
            plan: Plan { architecture, replace, settings, labels },
            uses: Vec::new(),
            warnings: warning.into_iter().collect(),
        })
    }

    fn stable(&self, name: &str) -> Result<Option<Stable>, PlanError> {
        let snapshot = self.parts.repository.scan().map_err(|error| PlanError::Failed(error.into()))?;
        Ok(snapshot.model(name).map(|model| model.stable))
    }

    fn import(&self, task: &Task<Self>, control: &dyn Control) -> Result<ModelVersion, Failure> {
        let (parts, Subject { name, .. }) = (&self.parts, &task.subject);
        let snapshot = parts.repository.scan().map_err(|error| parts.failure("repository", &error))?;
        let versions = snapshot.model(name).map(|model| model.versions.as_slice()).unwrap_or_default();
        // A run before may have published it and died.
        if let Some(made) = versions.iter().find(|version| version.metadata.job.as_ref() == Some(&task.id)) {
            return Ok(made.clone());
        }
        // Text that is made on the way has the client's name of the file, too.
        let labels = self.labels(&task.id, control.lease());
        let folders = parts.folders.and(&self.files.path(&task.id), &task.subject.file).and(&labels, "the list");
        let prepared = folders.for_client(|| self.prepared(task, &labels, control));
        if control.cancelled() {
            return Err(Failure::new("cancelled", "the job was stopped"));
        }
        let prepared = prepared.map_err(|error| parts.failure_among(&folders, "import", &error))?;
        let published = prepared.publish_for(&task.id, |stable| task.plan.replace || stable.is_none());
        published.map_err(|error| parts.failure("register", &error))
    }

    fn prepared(&self, task: &Task<Self>, list: &Path, control: &dyn Control) -> Result<Prepared, ImportError> {
        let (repository, file) = (&self.parts.repository, self.files.path(&task.id));
        let (Subject { name, file: called, .. }, Plan { architecture, settings, labels, .. }) = (&task.subject, &task.plan);
        if let Some(architecture) = architecture {
            let kind = if is_safetensors(&file) { "pytorch" } else { "keras" };
            let source = format!("{kind}:{called}");
            return prepare_keras(repository, Some(name), architecture, &file, source, &|| control.cancelled());
        }
        let labels = labels.as_ref().map(|labels| write_labels(list, labels)).transpose()?;
        let settings = OnnxSettings { labels, ..settings.clone() };
        prepare_onnx(repository, &self.parts.runtime, name, &file, &settings, &|| control.cancelled())
    }

    /// Where the worker with that lease writes the labels, beside the file that is imported.
    fn labels(&self, id: &str, lease: u64) -> PathBuf {
        self.files.path(id).with_file_name(format!("labels-{lease}.json"))
    }
}

/// A file with the labels.
fn write_labels(path: &Path, labels: &[String]) -> Result<PathBuf, ImportError> {
    let written = std::fs::write(path, json!(labels).to_string());
    written.map_err(|source| ImportError::File { path: path.into(), source })?;
    Ok(path.to_owned())
}

impl Kind for Import {
    const NAME: &'static str = "import";
    const SUMMARY: &'static str = "Import a weight file or an ONNX classifier";
    const DESCRIPTION: &'static str = "Takes the file in the body, with the fields in the query, or a form with both, and makes a \
                                       version of it as `graft import` does. Off unless `models.max_import_bytes` says how large \
                                       a file may be.";
    const EXAMPLE: &'static str = r#"{"name": "flowers"}"#;
    // It runs a foreign graph, and takes a name.
    const SCOPE: Scope = Scope::Admin;
    const FIELDS: &'static [&'static str] = &["name", "architecture", "replace", "settings", "labels"];
    type Request = Request;
    type Subject = Subject;
    type Plan = Plan;
    type Progress = ImportProgress;
    type Result = Imported;

    fn files(&self) -> Option<&Files> {
        Some(&self.files)
    }

    fn plan(&self, request: &Value, file: Option<&Attachment>) -> Result<Planned<Self>, PlanError> {
        self.parts.folders.for_client(|| self.planned(request, file))
    }

    fn run(&self, task: Task<Self>, control: &dyn Control) -> Result<Imported, Failure> {
        let details = document(&ImportProgress { stage: "importing" }).unwrap_or_default();
        control.progress(Progress { details, ..Progress::default() });
        let version = self.import(&task, control)?;
        self.parts.rescan();
        let metadata = &version.metadata;
        Ok(Imported {
            model: metadata.name.clone(),
            version: metadata.version,
            served: metadata.published && self.stable(&metadata.name).ok().flatten().is_none_or(|stable| !stable.pinned),
            classes: metadata.labels.len(),
            assumptions: metadata.assumptions.clone(),
        })
    }

    fn leftovers(&self) -> Vec<String> {
        self.files.kept()
    }

    fn discard(&self, id: &str) {
        self.files.remove(id);
    }
}

fn name(name: Option<&str>) -> Result<String, PlanError> {
    let Some(name) = name else { return Err(invalid("name", "is missing; it is required")) };
    if !valid_name(name) {
        return Err(invalid("name", format!("is `{}`; {NAME_RULE}", excerpt(name))));
    }
    check_reserved(name).map_err(|problem| PlanError::Invalid(vec![problem]))?;
    Ok(name.to_owned())
}

fn architecture(architecture: Option<String>, file: &Attachment) -> Result<Option<String>, PlanError> {
    let is_known = |name: &String| arch::NAMES.contains(&name.as_str());
    let names = || arch::NAMES.join("`, `");
    match architecture {
        Some(name) if !is_known(&name) => Err(invalid("architecture", format!("is `{}`; it may be `{}`", excerpt(&name), names()))),
        Some(name) => Ok(Some(name)),
        None if is_weights(file) => {
            Err(invalid("architecture", format!("is missing: the file holds weights; say of which network: `{}`", names())))
        }
        None => Ok(None),
    }
}

/// Whether the file is of Keras or PyTorch by its first bytes.
fn is_weights(file: &Attachment) -> bool {
    const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
    let mut first = [0; HDF5.len()];
    let read = std::fs::File::open(&file.path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut first));
    (read.is_ok() && first == HDF5) || is_safetensors(&file.path)
}

fn flag(flag: Option<Flag>) -> Result<bool, PlanError> {
    match flag {
        None => Ok(false),
        Some(Flag::Is(flag)) => Ok(flag),
        Some(Flag::Text(text)) => {
            text.parse().map_err(|_| invalid("replace", format!("is `{}`; it may be `true` or `false`", excerpt(&text))))
        }
    }
}

fn nested<T: for<'de> Deserialize<'de>>(field: &str, value: Option<Nested<T>>) -> Result<Option<T>, PlanError> {
    match value {
        None => Ok(None),
        Some(Nested::Is(value)) => Ok(Some(value)),
        Some(Nested::Text(text)) => {
            if field == "settings" && text.trim_start().starts_with('[') {
                return Err(invalid(field, "is an array; write it as an object with names"));
            }
            let read = serde_json::from_str(&text);
            read.map(Some).map_err(|error| invalid(field, format!("cannot be read as JSON: {}", serde_message(&error))))
        }
    }
}
