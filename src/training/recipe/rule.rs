//! How weights change: optimizers with Keras's definitions and defaults, and the learning rate of every step.
//!
//! Defines them; the graphs that compute them are `graph::gradient`'s.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Words;
use crate::graph::gradient;

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// `keras.optimizers.SGD`.
    Sgd,
    /// `keras.optimizers.RMSprop`.
    Rmsprop,
    /// `keras.optimizers.Adam`.
    Adam,
}

/// An optimizer with all its parameters. It starts anew with every phase, as Keras's does when a model is compiled again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Optimizer {
    /// `v ← momentum · v − lr · g`; `w ← w + v`, with nesterov `w ← w + momentum · v − lr · g`.
    Sgd {
        /// 0 for plain gradient descent.
        momentum: f64,
        /// Whether the step looks ahead.
        nesterov: bool,
    },
    /// `s ← rho · s + (1 − rho) · g²`; `u = lr · g / √(s + epsilon)`, ε under the root as in Keras 3.
    ///
    /// With momentum `v ← momentum · v + u`; `w ← w − v`.
    Rmsprop {
        /// Decay of the mean square.
        rho: f64,
        /// 0 for none.
        momentum: f64,
        /// Added under the root.
        epsilon: f64,
    },
    /// `w ← w − lr · √(1 − beta_2ᵗ) / (1 − beta_1ᵗ) · m / (√v + epsilon)`, t from 1.
    Adam {
        /// Decay of the mean.
        beta_1: f64,
        /// Decay of the mean square.
        beta_2: f64,
        /// Added to the root.
        epsilon: f64,
    },
}

impl From<Optimizer> for gradient::Optimizer {
    fn from(optimizer: Optimizer) -> Self {
        match optimizer {
            Optimizer::Sgd { momentum, nesterov } => Self::Sgd { momentum: momentum as f32, nesterov },
            Optimizer::Rmsprop { rho, momentum, epsilon } => {
                Self::RmsProp { rho: rho as f32, epsilon: epsilon as f32, momentum: momentum as f32 }
            }
            Optimizer::Adam { beta_1, beta_2, epsilon } => {
                Self::Adam { beta_1: beta_1 as f32, beta_2: beta_2 as f32, epsilon: epsilon as f32 }
            }
        }
    }
}

/// How the learning rate moves within a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Only the decay, if any.
    Constant,
    /// `keras.optimizers.schedules.CosineDecay` over all steps of the phase, down to 0.
    Cosine,
}

/// The learning rate of every step of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LearningRate {
    /// At step 0.
    pub initial: f64,
    /// Keras's former `decay`: the rate is divided by 1 + decay × step; 0 for none.
    pub decay: f64,
    /// How it moves besides.
    pub schedule: Schedule,
}

impl LearningRate {
    /// A rate to try where this one is too high: a tenth, and no more than trains a head on any base that was measured.
    pub fn lower(&self) -> f64 {
        let lower = (self.initial / 10.0).min(1e-3);
        // Two digits are enough to try, and to read.
        format!("{lower:.1e}").parse().unwrap_or(lower)
    }

    /// The rate of step `step` of `steps`, both counted within the phase, `step` from 0.
    ///
    /// Decay is `initial / (1 + decay · step)`, Keras's `InverseTimeDecay(initial, 1, decay)`;
    /// cosine multiplies with `½ (1 + cos(π · step / steps))`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        let decayed = self.initial / (1.0 + self.decay * step as f64);
        match self.schedule {
            Schedule::Constant => decayed,
            Schedule::Cosine => {
                let share = step.min(steps) as f64 / steps.max(1) as f64;
                decayed * 0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

impl Words for OptimizerKind {
    const WORDS: &'static [&'static str] = &["sgd", "rmsprop", "adam"];
}

impl Words for Schedule {
    const WORDS: &'static [&'static str] = &["constant", "cosine"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_their_formulas() {
        #[track_caller]
        fn check(decay: f64, schedule: Schedule, expected: [f64; 3]) {
            let rate = LearningRate { initial: 0.1, decay, schedule };
            for (step, expected) in [0, 5, 10].into_iter().zip(expected) {
                let found = rate.at(step, 10);
                assert!((found - expected).abs() < 1e-15, "step {step}: {found} is not {expected}");
            }
        }
        check(0.0, Schedule::Constant, [0.1, 0.1, 0.1]);
        check(0.2, Schedule::Constant, [0.1, 0.05, 0.1 / 3.0]);
        check(0.0, Schedule::Cosine, [0.1, 0.05, 0.0]);
        check(0.2, Schedule::Cosine, [0.1, 0.025, 0.0]);
    }

    #[test]
    fn a_phase_without_steps_has_a_rate() {
        let rate = LearningRate { initial: 0.1, decay: 0.0, schedule: Schedule::Cosine };
        assert!(rate.at(0, 0).is_finite());
    }
}
