//! The body of `POST /jobs/finetune`: every field optional here, so that what is missing is reported with the rest.
//!
//! Defaults and rules are those of [`super::Recipe`]; numbers are signed so that a negative one is a problem with a field.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serde_path_to_error::Segment;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    draft::{MAX_HIDDEN, MAX_PHASES},
    learning_rate::Schedule,
    optimizer::OptimizerRequest,
    preset::Preset,
    problem::{Choice, Problem},
    resolved::{BatchNorm, CalibrationMethod, ClassWeighting, Monitor, Publish, StartFrom},
};
use crate::{
    message::{excerpt, serde_message},
    preprocess::{Orientation, Resize},
    registry::named_model,
};

/// Most fields that are reported as unreadable.
const MAX_PROBLEMS: usize = 32;

/// A request to fine-tune; `dataset` and `name` are required.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FinetuneRequest)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Id of the data set.
    #[schema(value_type = String, required = true)]
    pub dataset: Option<String>,
    /// The model to start from, `NAME` or `NAME@VERSION`; default: the model that answers `/predict` without a name,
    /// which is `models.default` if it is trained, else a trained one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Name of the model that comes out.
    #[schema(value_type = String, required = true)]
    pub name: Option<String>,
    /// Whether the model may take the name of one with other labels; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<bool>,
    /// Whether the result answers requests that name no version, where a model of that name exists: `if_better` (default) than the
    /// version that answers, on validation images that neither was trained on, `always` or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Publish>)]
    pub publish: Option<Choice<Publish>>,
    /// What the fields mean that are left out, of the request and of its phases: graft's `default`, or `keras` for Keras's usual
    /// recipe. It alters no field that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Preset>)]
    pub recipe: Option<Choice<Preset>>,
    /// The new layers; default: average pooling, one hidden layer of 1024, and dropout 0.5, which `keras` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadRequest>,
    /// What trains, in order; default: 10 epochs of the head, then 1 of the top blocks with it, with `keras` 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phases: Option<Vec<PhaseRequest>>,
    /// Images per step, 1 to 1024; default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<i64>,
    /// What initial weights, shuffles, masks and the split are derived from, at least 0; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Share of every class that is kept for validation, 0 to under 1; default 0.2. Not with a data set that has `val/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_split: Option<f64>,
    /// `none` (default) or `balanced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ClassWeighting>)]
    pub class_weights: Option<Choice<ClassWeighting>>,
    /// Ends a phase when validation no longer improves; default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStoppingRequest>,
    /// Whether images are mirrored at random while training; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizontal_flip: Option<bool>,
    /// `frozen` (default) or `affine`: scale and shift train, statistics never do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BatchNorm>)]
    pub batch_norm: Option<Choice<BatchNorm>>,
    /// `temperature` (default): at the end, scores are made to say how often they are right, by the validation images; or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CalibrationMethod>)]
    pub calibration: Option<Choice<CalibrationMethod>>,
    /// Where preprocessing differs from the base's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<PreprocessingRequest>,
}

/// The new layers on top of the base.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeadRequest {
    /// How a map becomes a vector: `avg` (default) or `flatten`. Not with `keep_fc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MapPool>)]
    pub pool: Option<Choice<MapPool>>,
    /// Units of the hidden layers (relu); default `[1024]`, with `keep_fc` `[]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<i64>>,
    /// Share of values left out before the last layer, 0 to under 1; default 0, in a head that is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Whether VGG16's own `fc1` and `fc2` stay below the head; default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_fc: Option<bool>,
}

/// How a map becomes a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MapPool {
    /// Mean over height and width.
    Avg,
    /// Everything, in the order height, width, channel.
    Flatten,
}

/// One phase: what trains, how long, and by which rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PhaseRequest {
    /// Passes over the training images, 1 to 10000; default 10 for the head, otherwise 1, with `keras` 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<i64>,
    /// `head`: the new layers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainable: Option<String>,
    /// The first layer of the base that trains, by name or index, as in `base.layers[i:]`; a negative index counts from the
    /// layer that the head sits on, which is -1. The head trains too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LayerRef>)]
    pub trainable_from: Option<Choice<LayerRef>>,
    /// The weights that it starts from: of the `best` epoch so far (default), or of the `last` one (default with `keras`), as
    /// where Keras's `fit` is called again. The first phase starts from the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StartFrom>)]
    pub start_from: Option<Choice<StartFrom>>,
    /// The optimizer; default for the head `rmsprop` at 0.0005 with schedule `cosine`, with `keras` at a constant 0.001; otherwise
    /// `sgd` with momentum 0.9 at 0.0003, with `keras` at 0.0001.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerRequest>,
    /// Here or in `optimizer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Here or in `optimizer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_decay: Option<f64>,
    /// Here or in `optimizer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Schedule>)]
    pub schedule: Option<Choice<Schedule>>,
    /// Keras's `kernel_regularizer=l2(…)` on the kernels that train, at least 0; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
}

/// A layer of the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum LayerRef {
    /// Keras's index; from the end when it is negative.
    Index(i64),
    /// Its name.
    Name(String),
}

/// When a phase ends early (Keras's `EarlyStopping`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingRequest {
    /// Epochs without improvement, at least 1.
    pub patience: Option<i64>,
    /// `val_loss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Monitor>)]
    pub monitor: Option<Choice<Monitor>>,
    /// The least change that is an improvement, at least 0; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_delta: Option<f64>,
}

/// Where preprocessing differs from the base's; the same at training and serving.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessingRequest {
    /// `nearest`, `bilinear`, `bicubic` or `opencv_bilinear`; default: the base's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Resize>)]
    pub resize: Option<Choice<Resize>>,
    /// `exif` (default) or `ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Orientation>)]
    pub orientation: Option<Choice<Orientation>>,
}

impl Request {
    /// Reads a request without the fields that cannot be read, and says what is wrong with each of them: another type, another
    /// name.
    pub fn from_json(value: &Value) -> (Self, Vec<Problem>) {
        let problem = |field: &str, detail: String| Problem { field: field.to_owned(), detail };
        if !value.is_object() {
            return (Self::default(), vec![problem("", "is not a JSON object; send `{\"dataset\": …, \"name\": …}`".to_owned())]);
        }
        let too_long = [("/phases", MAX_PHASES), ("/head/hidden", MAX_HIDDEN.0)].into_iter().filter_map(|(field, most)| {
            let entries = value.pointer(field)?.as_array()?.len();
            let detail = format!("has {entries} entries; at most {most} are taken");
            (entries > most).then(|| problem(&field[1..].replace('/', "."), detail))
        });
        let too_long: Vec<Problem> = too_long.collect();
        if !too_long.is_empty() {
            // Of each entry something would be said.
            return (Self::default(), too_long);
        }
        let mut value = value.clone();
        let mut problems = lists(&mut value);
        loop {
            let error = match serde_path_to_error::deserialize::<_, Self>(&value) {
                Ok(request) => return (request, problems),
                Err(error) => error,
            };
            let path: Vec<Segment> = error.path().iter().cloned().collect();
            let field = if path.is_empty() { String::new() } else { excerpt(&error.path().to_string()).to_string() };
            let hint = hint(&path, &value);
            problems.push(problem(&field, format!("cannot be read: {}{hint}", serde_message(error.inner()))));
            if problems.len() == MAX_PROBLEMS || !take_out(&mut value, &path) {
                // Of what was not read nothing can be said.
                problems.push(problem("", "has more that cannot be read; mend these first".to_owned()));
                return (Self::default(), problems);
            }
        }
    }

    /// Name and version of the base, when the request names one; the version is `None` for the stable one.
    ///
    /// # Errors
    /// A version that is no positive number.
    pub fn base_model(&self) -> Result<Option<(&str, Option<u32>)>, Problem> {
        let Some(base) = self.base.as_deref() else { return Ok(None) };
        let named = named_model(base).map_err(|error| Problem { field: "base".to_owned(), detail: error.to_string() })?;
        Ok(Some(named))
    }
}

/// Takes lists out that stand for objects, which would be read as their fields in order.
fn lists(value: &mut Value) -> Vec<Problem> {
    let parts = value.as_object_mut().into_iter().flatten().flat_map(|(name, part)| match (name.as_str(), part) {
        ("phases", Value::Array(phases)) => {
            phases.iter_mut().enumerate().map(|(index, phase)| (format!("phases[{index}]"), phase)).collect()
        }
        (name @ ("head" | "early_stopping" | "preprocessing"), part) => vec![(name.to_owned(), part)],
        _ => Vec::new(),
    });
    let is_list = |(_, part): &(String, &mut Value)| part.is_array();
    let problem = |(field, part): (String, &mut Value)| {
        *part = json!({});
        Problem { field, detail: "is a list; write it as an object with names".to_owned() }
    };
    parts.filter(is_list).map(problem).take(MAX_PROBLEMS).collect()
}

/// What was probably meant where the field at `path` of `value` cannot be read.
fn hint(path: &[Segment], value: &Value) -> String {
    let names: Vec<&str> =
        path.iter().filter_map(|segment| if let Segment::Map { key } = segment { Some(&**key) } else { None }).collect();
    match names[..] {
        ["phases", "optimizer"] => "; write it as `{\"type\": \"adam\"}`".to_owned(),
        ["head", "hidden"] => "; write it as `[1024]`".to_owned(),
        ["early_stopping"] => "; write it as `{\"patience\": 3}`".to_owned(),
        [name] if value.get(name).is_some() => belongs(name),
        _ => String::new(),
    }
}

/// Where a field belongs that is not one of the request's own.
fn belongs(name: &str) -> String {
    let has = |schema: RefOr<Schema>| matches!(schema, RefOr::T(Schema::Object(object)) if object.properties.contains_key(name));
    let parts = [
        ("phases[]", PhaseRequest::schema()),
        ("head", HeadRequest::schema()),
        ("early_stopping", EarlyStoppingRequest::schema()),
        ("preprocessing", PreprocessingRequest::schema()),
    ];
    let is_own = has(Request::schema());
    let found = parts.into_iter().filter(|_| !is_own).find(|(_, schema)| has(schema.clone()));
    found.map_or_else(String::new, |(place, _)| format!("; it belongs in `{place}`"))
}

/// Takes the field at `path` out of `value`, or of a list's entry the list that it is in; whether there was one.
fn take_out(value: &mut Value, path: &[Segment]) -> bool {
    let Some(last) = path.iter().rposition(|segment| matches!(segment, Segment::Map { .. })) else { return false };
    let mut at = value;
    for segment in &path[..last] {
        let next = match segment {
            Segment::Map { key } => at.get_mut(key),
            Segment::Seq { index } => at.get_mut(index),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match (&path[last], at) {
        (Segment::Map { key }, Value::Object(fields)) => fields.remove(key).is_some(),
        _ => false,
    }
}
