//! What an optimizer declares of itself: name, parameters with Keras's defaults and ranges, rate, and how it updates.
//!
//! Knows no particular optimizer.

use std::ops::Bound::{self, Excluded, Included};

use serde_json::Value;

use super::{KINDS, Optimizer, Tape, Update};

/// An optimizer as its file declares it.
#[derive(Debug)]
pub struct Kind {
    /// On the wire, and in messages.
    pub name: &'static str,
    /// Whose it is in Keras, and its formula.
    pub about: &'static str,
    /// Keras's default rate.
    pub learning_rate: f64,
    /// What it has besides its rate.
    pub parameters: &'static [Parameter],
    /// Whether gradients enter only as their product with the learning rate.
    pub(super) is_linear: bool,
    /// Emits what is made of the learning rate once per step, for all parameters; `None` for the rate itself.
    pub(super) rate: Option<fn(&mut Tape, &Optimizer) -> String>,
    /// Emits the update of one parameter from its gradient; ends in [`Update::add`] or [`Update::subtract`].
    pub(super) update: fn(&mut Update<'_>, &str),
}

/// A parameter of an optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Keras's name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// What it may be.
    pub values: Values,
}

/// What a parameter may be, and is unless something else is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values {
    /// A number, computed with as float32.
    Number {
        /// Keras's.
        default: f64,
        /// Where it must lie.
        range: Range,
    },
    /// Yes or no.
    Flag {
        /// Keras's.
        default: bool,
    },
}

/// Least and largest value.
pub type Range = (Bound<f64>, Bound<f64>);

/// More than 0, and well within what float32 holds.
pub const POSITIVE: Range = (Excluded(0.0), Included(1e9));

/// 0 to under 1.
pub(super) const SHARE: Range = (Included(0.0), Excluded(1.0));

impl Kind {
    /// The optimizer that is called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// The parameter that is called `name`.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

impl Parameter {
    pub(super) const fn number(name: &'static str, default: f64, range: Range, about: &'static str) -> Self {
        Self { name, about, values: Values::Number { default, range } }
    }

    pub(super) const fn flag(name: &'static str, default: bool, about: &'static str) -> Self {
        Self { name, about, values: Values::Flag { default } }
    }

    /// `value` as a number, flags as 0 or 1; `None` when it is of another type.
    pub(super) fn read(&self, value: &Value) -> Option<f64> {
        match self.values {
            Values::Number { .. } => value.as_f64(),
            Values::Flag { .. } => value.as_bool().map(f64::from),
        }
    }

    /// [`Self::read`], backwards.
    pub(super) fn json(&self, value: f64) -> Value {
        match self.values {
            Values::Number { .. } => value.into(),
            Values::Flag { .. } => (value != 0.0).into(),
        }
    }
}

impl Values {
    /// What a value of another type should have been.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Number { .. } => "a number",
            Self::Flag { .. } => "true or false",
        }
    }

    pub(super) fn default(self) -> f64 {
        match self {
            Self::Number { default, .. } => default,
            Self::Flag { default } => default.into(),
        }
    }
}
