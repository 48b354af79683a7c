//! When a run will end: the plan's estimate of every part, corrected by how long parts like it have taken so far.
//!
//! Knows parts and shares of them; knows nothing of what a run does.

use std::time::Instant;

use crate::training::PhaseEstimate;

/// A part of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Caching,
    Training,
}

/// Share of a whole run's estimate that must be measured before measurements count as much as the estimate: the first seconds
/// of a run, and parts that take next to nothing, say little of what comes.
const PRIOR: f64 = 0.1;

/// The seconds that a run will still take.
#[derive(Debug)]
pub(super) struct Forecast {
    phases: Vec<PhaseEstimate>,
    caching: Measured,
    training: Measured,
    last: Option<(usize, Part, f64, Instant)>,
}

/// How long something took, and how long it was expected to; seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    taken: f64,
    expected: f64,
}

impl Measured {
    /// How much longer it takes than expected, when `prior` seconds are taken to have gone as expected.
    fn ratio(self, prior: f64) -> f64 {
        let expected = self.expected + prior;
        if expected > 0.0 { (self.taken + prior) / expected } else { 1.0 }
    }
}

impl Forecast {
    /// A forecast from the plan's estimate; without one there is no forecast.
    pub(super) fn new(phases: Vec<PhaseEstimate>) -> Self {
        Self { phases, caching: Measured::default(), training: Measured::default(), last: None }
    }

    /// Seconds left at `now`, when the share `done` of a part of `phase` is done; shares of a part never shrink.
    pub(super) fn seconds(&mut self, phase: usize, part: Part, done: f64, now: Instant) -> Option<f64> {
        let expected = self.expected(phase, part)?;
        if let Some((of, which, before, since)) = self.last.replace((phase, part, done, now))
            && (of, which) == (phase, part)
        {
            let measured = self.measured(part);
            measured.taken += now.duration_since(since).as_secs_f64();
            measured.expected += expected * (done - before);
        }
        let whole: f64 = self.phases.iter().map(|phase| phase.caching_seconds + phase.training_seconds).sum();
        let [caching, training] = [self.caching, self.training].map(|measured| measured.ratio(PRIOR * whole));
        let here = match part {
            Part::Caching => expected * (1.0 - done) * caching + self.phases[phase].training_seconds * training,
            Part::Training => expected * (1.0 - done) * training,
        };
        let later = self.phases[phase + 1..].iter();
        let later: f64 = later.map(|phase| phase.caching_seconds * caching + phase.training_seconds * training).sum();
        Some(here + later)
    }

    fn expected(&self, phase: usize, part: Part) -> Option<f64> {
        self.phases.get(phase).map(|phase| match part {
            Part::Caching => phase.caching_seconds,
            Part::Training => phase.training_seconds,
        })
    }

    fn measured(&mut self, part: Part) -> &mut Measured {
        match part {
            Part::Caching => &mut self.caching,
            Part::Training => &mut self.training,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Part::*, *};

    #[test]
    fn what_was_measured_corrects_what_is_left() {
        let phase = |caching_seconds, training_seconds| PhaseEstimate { caching_seconds, training_seconds, cached_share: 1.0 };
        let mut forecast = Forecast::new(vec![phase(10.0, 50.0), phase(0.0, 40.0)]);
        let start = Instant::now();
        let mut left = |phase, part, done, seconds| forecast.seconds(phase, part, done, start + Duration::from_secs(seconds));
        assert_eq!(left(0, Caching, 0.0, 0), Some(100.0), "nothing is known but the estimate");
        assert_eq!(left(0, Caching, 0.5, 20), Some(5.0 * 2.0 + 90.0), "20 seconds for 5, and the prior's 10 as they were");
        assert_eq!(left(0, Caching, 1.0, 30), Some(90.0));
        assert_eq!(left(0, Training, 0.0, 31), Some(90.0), "nothing of it is measured yet");
        assert_eq!(left(0, Training, 0.2, 31), Some((40.0 + 40.0) * 0.5), "nothing for 10, and the prior's 10");
        assert_eq!(left(1, Caching, 1.0, 40), Some(20.0));
        assert_eq!(left(1, Training, 1.0, 60), Some(0.0));
        assert_eq!(left(2, Training, 0.0, 60), None, "there is no such phase");
    }

    #[test]
    fn without_an_estimate_nothing_is_said() {
        assert_eq!(Forecast::new(Vec::new()).seconds(0, Training, 0.5, Instant::now()), None);
    }
}
