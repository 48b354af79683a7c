//! Optimizers as Keras 3 defines them, in plain operators: each is a file that declares its [`Kind`], named in [`KINDS`].
//!
//! Schedules and decay are the caller's: the learning rate is an input of every step.

mod adam;
mod json;
mod kind;
mod rmsprop;
mod sgd;
mod update;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use self::update::Update;
pub use self::{
    json::{number_schema, one_of_kinds},
    kind::{Kind, POSITIVE, Parameter, Range, Values},
};
use super::{Carried, TrainingSpec, tape::Tape};

/// Every optimizer that there is, in the order in which messages and schemas list them.
pub const KINDS: [&Kind; 3] = [&sgd::SGD, &rmsprop::RMSPROP, &adam::ADAM];

/// Input: float32 scalar, the learning rate of this step.
pub const LEARNING_RATE: &str = "training/learning_rate";
/// Input of an optimizer that counts steps: float32 scalar, the number of this step, from 1.
pub const STEP: &str = "training/step";

/// An optimizer with all its parameters. It starts anew with every phase, as Keras's does when a model is compiled again.
#[derive(Clone)]
pub struct Optimizer {
    kind: &'static Kind,
    /// One per parameter of the kind; flags are 0 or 1.
    values: Vec<f64>,
}

/// Why words and numbers make no optimizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptimizerError {
    /// There is no such optimizer.
    #[error("there is no optimizer `{0}`")]
    UnknownKind(String),
    /// The optimizer has no such parameter.
    #[error("`{kind}` has no parameter `{parameter}`")]
    UnknownParameter {
        /// The optimizer.
        kind: &'static str,
        /// What it does not have.
        parameter: String,
    },
    /// A value of another type.
    #[error("`{parameter}` is {found}; it must be {expected}")]
    Type {
        /// The parameter.
        parameter: String,
        /// The value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Optimizer {
    /// The optimizer called `name` with `parameters`, and Keras's defaults for those left out; ranges are not checked.
    ///
    /// # Errors
    /// An unknown optimizer, a parameter that it does not have, a value that is no number or no boolean.
    pub fn new(name: &str, parameters: &BTreeMap<String, Value>) -> Result<Self, OptimizerError> {
        let kind = Kind::named(name).ok_or_else(|| OptimizerError::UnknownKind(name.to_owned()))?;
        let mut optimizer = Self::from(kind);
        for (parameter, value) in parameters {
            optimizer.set(parameter, value)?;
        }
        Ok(optimizer)
    }

    /// What it is called, and what it has.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Sets the parameter called `name`; its range is not checked.
    ///
    /// # Errors
    /// No such parameter, a value that is no number or no boolean.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), OptimizerError> {
        let unknown = || OptimizerError::UnknownParameter { kind: self.kind.name, parameter: name.to_owned() };
        let position = self.kind.parameters.iter().position(|parameter| parameter.name == name).ok_or_else(unknown)?;
        let parameter = &self.kind.parameters[position];
        self.values[position] = parameter.read(value).ok_or_else(|| OptimizerError::Type {
            parameter: name.to_owned(),
            found: value.to_string(),
            expected: parameter.values.expected(),
        })?;
        Ok(())
    }

    /// Its parameters with their values.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static Parameter, Value)> {
        self.kind.parameters.iter().zip(&self.values).map(|(parameter, &value)| (parameter, parameter.json(value)))
    }

    /// Whether gradients enter only as their product with the learning rate, which can then be taken at the loss already.
    pub(super) fn is_linear(&self) -> bool {
        self.kind.is_linear
    }

    fn value(&self, name: &str) -> f64 {
        let position = self.kind.parameters.iter().position(|parameter| parameter.name == name);
        self.values[position.expect("an optimizer reads parameters that it declares")]
    }
}

/// With Keras's defaults.
impl From<&'static Kind> for Optimizer {
    fn from(kind: &'static Kind) -> Self {
        let values = kind.parameters.iter().map(|parameter| parameter.values.default()).collect();
        Self { kind, values }
    }
}

impl PartialEq for Optimizer {
    fn eq(&self, other: &Self) -> bool {
        self.kind.name == other.kind.name && self.values == other.values
    }
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct(self.kind.name);
        self.parameters().for_each(|(parameter, value)| {
            debug.field(parameter.name, &value);
        });
        debug.finish()
    }
}

/// Adds the updates; the answer is the names of the updated parameters, and the state.
///
/// The gradients of a linear optimizer come with the learning rate in them.
pub(super) fn add(tape: &mut Tape, spec: &TrainingSpec, gradients: &[String]) -> (Vec<String>, Vec<Carried>) {
    let optimizer = &spec.optimizer;
    tape.enter("training");
    let rate = optimizer.kind.rate.map_or_else(|| LEARNING_RATE.to_owned(), |rate| rate(tape, optimizer));
    let mut state = Vec::new();
    let mut outputs = Vec::with_capacity(gradients.len());
    for (trainable, gradient) in spec.trainable.iter().zip(gradients) {
        tape.enter(&trainable.name);
        let shape = tape.known().of(&trainable.name).unwrap_or_default().to_vec();
        let mut update = Update { tape, optimizer, rate: &rate, w: &trainable.name, shape, state: &mut state };
        (optimizer.kind.update)(&mut update, gradient);
        outputs.push(update.output());
    }
    (outputs, state)
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;

    use serde_json::json;

    use super::*;

    /// As recipes of jobs, checkpoints and lineages hold it since 0.4.
    #[test]
    fn stored_optimizers_are_read_and_written_as_ever() {
        let stored = [
            json!({"type": "sgd", "momentum": 0.9, "nesterov": true}),
            json!({"type": "rmsprop", "rho": 0.8, "momentum": 0.5, "epsilon": 1e-7}),
            json!({"type": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ];
        for stored in stored {
            let optimizer: Optimizer = serde_json::from_value(stored.clone()).expect("an optimizer");
            assert_eq!(serde_json::to_string(&optimizer).expect("JSON"), stored.to_string());
        }
        let bare: Optimizer = serde_json::from_value(json!({"type": "rmsprop", "momentum": 0.5})).expect("an optimizer");
        assert_eq!(format!("{bare:?}"), "rmsprop { rho: Number(0.9), momentum: Number(0.5), epsilon: Number(1e-7) }");
    }

    #[test]
    fn what_is_no_optimizer_is_named() {
        let check = |stored: Value, expected: &str| {
            let error = serde_json::from_value::<Optimizer>(stored).expect_err(expected).to_string();
            assert_eq!(error, expected);
        };
        check(json!({"type": "adamw"}), "there is no optimizer `adamw`");
        check(json!({"type": "adam", "momentum": 0.9}), "`adam` has no parameter `momentum`");
        check(json!({"type": "sgd", "nesterov": 1}), "`nesterov` is 1; it must be true or false");
        check(json!({"type": "sgd", "momentum": "much"}), "`momentum` is \"much\"; it must be a number");
        check(json!({"momentum": 0.9}), "missing field `type`");
    }

    #[test]
    fn declarations_are_sound() {
        let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len(), "one name, one optimizer");
        for parameter in KINDS.iter().flat_map(|kind| kind.parameters) {
            let Values::Number { default, range } = parameter.values else { continue };
            assert!(range.contains(&default), "{parameter:?}");
        }
    }
}
