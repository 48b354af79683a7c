//! The recipes that have a name: what stands in the fields that a request leaves out.
//!
//! Knows no base; which layers are its top blocks the architecture says.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    learning_rate::{LearningRate, Schedule},
    optimizer::Rule,
    resolved::StartFrom,
};

/// A recipe by its name; it alters no field that a request gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// graft's own.
    #[default]
    Default,
    /// That of Keras's example of fine-tuning InceptionV3 (<https://keras.io/api/applications>).
    Keras,
}

/// What a phase does that does not say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PhaseDefaults {
    pub(super) epochs: u64,
    pub(super) rule: Rule,
    pub(super) start_from: StartFrom,
}

impl Preset {
    /// Of a phase that trains the head alone.
    ///
    /// RMSprop at Keras's 0.001 jumps about the optimum with features of most bases; at half of it, and ever less, it settles.
    pub(super) fn head(self) -> PhaseDefaults {
        let keras = PhaseDefaults { epochs: 10, rule: Rule::of_head(), start_from: StartFrom::Last };
        match self {
            Self::Default => PhaseDefaults { start_from: StartFrom::Best, ..keras }.at(5e-4, Schedule::Cosine),
            Self::Keras => keras,
        }
    }

    /// Of a phase that trains layers of the base too: it costs many times what the head's does, and gains little where photos
    /// are few.
    pub(super) fn top(self) -> PhaseDefaults {
        let keras = PhaseDefaults { epochs: 3, rule: Rule::of_base(), start_from: StartFrom::Last };
        match self {
            Self::Default => PhaseDefaults { epochs: 1, start_from: StartFrom::Best, ..keras }.at(3e-4, Schedule::Constant),
            Self::Keras => keras,
        }
    }

    /// Dropout of a head that a request does not describe.
    pub(super) fn dropout(self) -> f64 {
        match self {
            Self::Default => 0.5,
            Self::Keras => 0.0,
        }
    }
}

impl PhaseDefaults {
    fn at(mut self, initial: f64, schedule: Schedule) -> Self {
        self.rule.learning_rate = LearningRate { initial, decay: 0.0, schedule };
        self
    }
}
