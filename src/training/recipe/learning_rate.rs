//! The learning rate of every step: decay and schedules with Keras's definitions.
//!
//! What is done with it is the optimizer's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
