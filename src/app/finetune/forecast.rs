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
    fn ratio(self) -> Option<f64> {
        (self.expected > 0.0).then(|| self.taken / self.expected)
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
        let ratio = |own: Measured, other: Measured| own.ratio().or(other.ratio()).unwrap_or(1.0);
        let (caching, training) = (ratio(self.caching, self.training), ratio(self.training, self.caching));
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
        let phase = |caching_seconds, training_seconds| PhaseEstimate { caching_seconds, training_seconds };
        let mut forecast = Forecast::new(vec![phase(10.0, 20.0), phase(0.0, 40.0)]);
        let start = Instant::now();
        let mut left = |phase, part, done, seconds| forecast.seconds(phase, part, done, start + Duration::from_secs(seconds));
        assert_eq!(left(0, Caching, 0.0, 0), Some(70.0), "nothing is known but the estimate");
        assert_eq!(left(0, Caching, 0.5, 10), Some(10.0 + 2.0 * 60.0), "twice as slow, and so may be what comes");
        assert_eq!(left(0, Caching, 1.0, 20), Some(120.0));
        assert_eq!(left(0, Training, 0.0, 21), Some(120.0), "nothing of it is measured yet");
        assert_eq!(left(0, Training, 0.5, 26), Some(5.0 + 20.0), "training is twice as fast");
        assert_eq!(left(1, Caching, 1.0, 40), Some(20.0));
        assert_eq!(left(1, Training, 1.0, 60), Some(0.0));
        assert_eq!(left(2, Training, 0.0, 60), None, "there is no such phase");
    }

    #[test]
    fn without_an_estimate_nothing_is_said() {
        assert_eq!(Forecast::new(Vec::new()).seconds(0, Training, 0.5, Instant::now()), None);
    }
}
