//! The optimizer of a request, and what becomes of it: one with all its parameters; what it does not have is a problem.
//!
//! Names, defaults and ranges are those that the optimizers declare.

use std::{borrow::Cow, collections::BTreeMap, ops::Bound::Included};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::AdditionalProperties},
};

use super::{
    learning_rate::{LearningRate, Schedule},
    problem::{Choice, Problems, quoted, shown},
    request::PhaseRequest,
};
use crate::{
    graph::gradient::{
        Optimizer,
        optimizer::{KINDS, Kind, POSITIVE, Parameter, Range, Values, number_schema, one_of_kinds},
    },
    message::excerpt,
};

/// Most parameters that are looked at; no optimizer has as many.
const MAX_PARAMETERS: usize = 32;

/// An optimizer with Keras's definitions and defaults; what it does not have is a problem.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerRequest {
    /// Which one.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Value>,
    /// More than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Step `t` of the phase, from 0, uses `learning_rate / (1 + learning_rate_decay · t)`; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_decay: Option<f64>,
    /// `constant` (default) or `cosine`: down to 0 over the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Choice<Schedule>>,
    /// Its own parameters, and whatever else was sent.
    #[serde(flatten)]
    pub parameters: BTreeMap<String, Value>,
}

impl ToSchema for OptimizerRequest {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("OptimizerRequest")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Schedule::name().into_owned(), Schedule::schema()));
    }
}

/// One of the optimizers, with the parameters that it may have.
impl PartialSchema for OptimizerRequest {
    fn schema() -> RefOr<Schema> {
        let decay = "Step `t` of the phase, from 0, uses `learning_rate / (1 + learning_rate_decay · t)`; default 0. Here or in \
                     the phase.";
        // A generated client sends every `default`, and these may stand in the phase.
        let number = |range, about: &str| number_schema(ObjectBuilder::new(), range).description(Some(about));
        one_of_kinds("An optimizer with Keras's definitions and defaults.", |kind| {
            let rate = format!("Default {}. Here or in the phase.", kind.learning_rate);
            let object = kind.schema().property("learning_rate", number(POSITIVE, &rate));
            let object = object.property("learning_rate_decay", number(NOT_NEGATIVE, decay));
            let object = object.property("schedule", utoipa::openapi::Ref::from_schema_name(Schedule::name()));
            object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
        })
    }
}

/// At least 0, and well within what float32 holds.
pub(super) const NOT_NEGATIVE: Range = (Included(0.0), POSITIVE.1);

/// How the weights of a phase change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) optimizer: Optimizer,
    pub(super) learning_rate: LearningRate,
    pub(super) l2: f64,
}

impl Rule {
    /// RMSprop at 0.001.
    pub(super) fn of_head() -> Self {
        Self::plain("rmsprop", &[], 1e-3)
    }

    /// SGD at 0.0001 with momentum 0.9.
    pub(super) fn of_base() -> Self {
        Self::plain("sgd", &[("momentum", 0.9)], 1e-4)
    }

    fn plain(name: &str, parameters: &[(&str, f64)], initial: f64) -> Self {
        let parameters = parameters.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        let optimizer = Optimizer::new(name, &parameters).expect("the default phases name optimizers that there are");
        let learning_rate = LearningRate { initial, decay: 0.0, schedule: Schedule::Constant };
        Self { optimizer, learning_rate, l2: 0.0 }
    }
}

/// The rule of the phase at `field`, without its L2; `default` where it names no optimizer.
pub(super) fn rule(field: &str, phase: &PhaseRequest, default: Rule, problems: &mut Problems) -> Rule {
    let inner = format!("{field}.optimizer");
    let (optimizer, initial, schedule) = match &phase.optimizer {
        None => (default.optimizer, default.learning_rate.initial, default.learning_rate.schedule),
        Some(request) => {
            let optimizer = optimizer(&inner, request, problems);
            let rate = optimizer.kind().learning_rate;
            (optimizer, rate, Schedule::Constant)
        }
    };
    let none = OptimizerRequest::default();
    let request = phase.optimizer.as_ref().unwrap_or(&none);
    let mut either = Either { phase: field, optimizer: &inner, problems };
    let learning_rate = either.number("learning_rate", phase.learning_rate, request.learning_rate, initial, POSITIVE);
    let decay = (phase.learning_rate_decay, request.learning_rate_decay);
    let decay = either.number("learning_rate_decay", decay.0, decay.1, 0.0, NOT_NEGATIVE);
    let schedule = either.schedule(phase.schedule.as_ref(), request.schedule.as_ref(), schedule);
    Rule { optimizer, learning_rate: LearningRate { initial: learning_rate, decay, schedule }, l2: 0.0 }
}

/// A field that may stand in the phase or in its optimizer, not in both.
struct Either<'a> {
    phase: &'a str,
    optimizer: &'a str,
    problems: &'a mut Problems,
}

impl Either<'_> {
    fn number(&mut self, name: &str, outer: Option<f64>, inner: Option<f64>, default: f64, range: Range) -> f64 {
        let place = self.place(name, outer.is_some(), inner.is_some());
        self.problems.single(&place, outer.or(inner), default, range)
    }

    fn schedule(&mut self, outer: Option<&Choice<Schedule>>, inner: Option<&Choice<Schedule>>, default: Schedule) -> Schedule {
        let place = self.place("schedule", outer.is_some(), inner.is_some());
        self.problems.choice(&place, outer.or(inner), default)
    }

    fn place(&mut self, name: &str, outer: bool, inner: bool) -> String {
        let place = format!("{}.{name}", if outer { self.phase } else { self.optimizer });
        if outer && inner {
            self.problems.add(&place, format!("is given here and in `optimizer`; leave one `{name}` out"));
        }
        place
    }
}

/// The optimizer with Keras's defaults for what `request` leaves out.
fn optimizer(field: &str, request: &OptimizerRequest, problems: &mut Problems) -> Optimizer {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let place = format!("{field}.type");
    let kind = request.kind.as_ref().and_then(|kind| Kind::named(kind.as_str()?));
    match &request.kind {
        None => problems.add(place, format!("is missing; use {}", quoted(&names))),
        Some(other) if kind.is_none() => problems.add(place, format!("is {}; use {}", shown(other), quoted(&names))),
        Some(_) => {}
    }
    let mut optimizer = Optimizer::from(kind.unwrap_or(KINDS[0]));
    let given = request.parameters.iter().filter(|(_, value)| !value.is_null());
    for (name, value) in given.take(MAX_PARAMETERS) {
        let place = format!("{field}.{}", excerpt(name));
        match (kind, kind.and_then(|kind| kind.parameter(name))) {
            (_, Some(parameter)) => {
                if let Some(value) = checked(&place, parameter, value, problems) {
                    optimizer.set(name, &value).expect("the value is of the parameter's type");
                }
            }
            _ if name == "lr" => problems.add(place, "is called `learning_rate`"),
            (Some(kind), None) => problems.add(place, foreign(kind)),
            (None, None) if KINDS.iter().all(|kind| kind.parameter(name).is_none()) => {
                problems.add(place, "is not a parameter of any optimizer; leave it out");
            }
            (None, None) => {}
        }
    }
    optimizer
}

/// `value`, unless it is of another type, which is a problem; one out of range is a problem too.
fn checked(field: &str, parameter: &Parameter, value: &Value, problems: &mut Problems) -> Option<Value> {
    match (parameter.values, value.as_f64()) {
        (Values::Number { default, range }, Some(number)) => Some(problems.single(field, Some(number), default, range).into()),
        (Values::Flag { .. }, _) if value.is_boolean() => Some(value.clone()),
        (values, _) => {
            problems.add(field, format!("is {}; it must be {}", shown(value), values.expected()));
            None
        }
    }
}

fn foreign(kind: &Kind) -> String {
    let own: Vec<&str> = kind.parameters.iter().map(|parameter| parameter.name).collect();
    format!("is not a parameter of `{}`, which has {} besides its `learning_rate`; leave it out", kind.name, quoted(&own))
}
