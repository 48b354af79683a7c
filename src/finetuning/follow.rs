//! What a training run reports, as a job's events and progress.
//!
//! Counts phases and epochs from 1, as clients do; knows nothing of how a run trains or where events are kept.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    epoch::Epoch,
    forecast::{Forecast, Part},
};
use crate::{
    jobs::{self, Control, Progress, document},
    training::{
        Estimate,
        event::{EpochMetrics, Event, Observer, Position},
        recipe::Recipe,
    },
};

/// Share of a phase's cache after which an event says how far it is, however short a time that took.
const CACHING_SHARE: f64 = 0.1;

/// Time after which an event says how far caching is, however little was done.
const CACHING_TIME: Duration = Duration::from_secs(10);

/// How far a fine-tuning is; what is not known is left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct TrainingProgress {
    /// `caching`, `training`, `evaluating` or `exporting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "training")]
    stage: Option<String>,
    /// Phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    phase: Option<u32>,
    /// Number of phases.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    phases: Option<u32>,
    /// Epoch of the phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    epoch: Option<u32>,
    /// Number of epochs of the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    epochs: Option<u32>,
    /// Step of the phase, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    step: Option<u64>,
    /// Number of steps of the phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    steps: Option<u64>,
    /// Training loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    loss: Option<f64>,
    /// Training accuracy, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accuracy: Option<f64>,
    /// Speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    images_per_second: Option<f64>,
}

/// Follows a run on behalf of a job.
pub struct Follow<'a> {
    control: &'a dyn Control,
    recipe: &'a Recipe,
    /// Whether the plan told already that not all of the cache fits.
    is_warned: bool,
    /// A plain lock: the run tells from one thread, the watcher only asks whether to stop.
    known: Mutex<Known>,
}

/// What stays said until there is news of it.
#[derive(Debug)]
struct Known {
    forecast: Forecast,
    loss: Option<f64>,
    accuracy: Option<f64>,
    images_per_second: Option<f64>,
    caching: CachingNews,
}

/// Which reports of caching deserve an event: the first and the last of a phase, and of the others so many as to show that
/// it goes on.
#[derive(Debug, Default)]
struct CachingNews {
    /// Phase, share and time of the last event.
    last: Option<(usize, f64, Instant)>,
}

impl CachingNews {
    fn is_news(&mut self, phase: usize, done: usize, total: usize, now: Instant) -> bool {
        let share = done as f64 / total.max(1) as f64;
        let is_told = |(of, before, at): (usize, f64, Instant)| {
            of == phase && done < total && share < before + CACHING_SHARE && now.duration_since(at) < CACHING_TIME
        };
        if self.last.is_some_and(is_told) {
            return false;
        }
        self.last = Some((phase, share, now));
        true
    }
}

impl<'a> Follow<'a> {
    /// Follows a run of `recipe`, which an earlier run may have begun.
    pub fn new(control: &'a dyn Control, recipe: &'a Recipe, estimate: Option<&Estimate>, earlier: Option<&Progress>) -> Self {
        let is_warned = estimate.is_some_and(|estimate| !estimate.warnings().is_empty());
        let forecast = Forecast::new(estimate.map(|estimate| estimate.phases.clone()).unwrap_or_default());
        let earlier = earlier.and_then(|earlier| TrainingProgress::deserialize(&earlier.details).ok());
        let TrainingProgress { loss, accuracy, images_per_second, .. } = earlier.unwrap_or_default();
        Self {
            control,
            recipe,
            is_warned,
            known: Mutex::new(Known { forecast, loss, accuracy, images_per_second, caching: CachingNews::default() }),
        }
    }

    /// Steps done in the phase.
    fn steps(&self, at: Position) -> u64 {
        at.epoch * self.recipe.steps_per_epoch + at.step
    }

    fn mark(&self, event: jobs::Event, at: Position) -> jobs::Event {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        event.at(number(at.phase as u64 + 1), number(at.epoch + 1), self.steps(at))
    }

    /// Tells how far the run is: `step` of `steps` of a part of the phase of `at`.
    fn progress(&self, stage: &str, at: Position, (step, steps): (u64, u64), part: Part) {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let epochs = self.recipe.phases.get(at.phase).map_or(0, |phase| phase.epochs);
        let done = if steps > 0 { step as f64 / steps as f64 } else { 1.0 };
        let mut known = self.known();
        let remaining_seconds = known.forecast.seconds(at.phase, part, done, Instant::now());
        let details = TrainingProgress {
            stage: Some(stage.to_owned()),
            phase: Some(number(at.phase as u64 + 1)),
            phases: Some(number(self.recipe.phases.len() as u64)),
            epoch: Some(number((at.epoch + 1).min(epochs))),
            epochs: Some(number(epochs)),
            step: Some(step),
            steps: Some(steps),
            loss: known.loss,
            accuracy: known.accuracy,
            images_per_second: known.images_per_second,
        };
        drop(known);
        let details = document(&details).unwrap_or_default();
        self.control.progress(Progress { remaining_seconds, details, ..Progress::default() });
    }

    fn trains(&self, stage: &str, at: Position) {
        let epochs = self.recipe.phases.get(at.phase).map_or(0, |phase| phase.epochs);
        self.progress(stage, at, (self.steps(at), epochs * self.recipe.steps_per_epoch), Part::Training);
    }

    fn knows(&self, loss: f64, accuracy: f64, images_per_second: f64) {
        let mut known = self.known();
        (known.loss, known.accuracy) = (Some(loss), Some(accuracy));
        known.images_per_second = Some(images_per_second);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn epoch(&self, metrics: EpochMetrics) {
        let EpochMetrics { phase, epoch, .. } = metrics;
        let mut event = jobs::Event::new("epoch");
        event.data = document(&Epoch::from(metrics).measured).unwrap_or_default();
        let end = Position { phase, epoch, step: self.recipe.steps_per_epoch };
        self.control.event(self.mark(event, end));
        self.knows(metrics.loss, metrics.accuracy, metrics.images_per_second);
        self.trains("training", end);
    }
}

impl Observer for Follow<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Resumed { at } => {
                let event = jobs::Event::new("resumed").with("phase", at.phase + 1).with("epoch", at.epoch + 1);
                self.control.event(event.with("step", self.steps(at)));
            }
            Event::CacheTooSmall { .. } if self.is_warned => {}
            // With a place, so that it is reported once, however often the phase begins.
            Event::CacheTooSmall { phase, detail } => {
                let event = jobs::Event::warning(detail);
                self.control.event(self.mark(event, Position { phase, epoch: 0, step: 0 }));
            }
            Event::Warning { at, detail } => self.control.event(self.mark(jobs::Event::warning(detail), at)),
            Event::Caching { phase, done, total } => {
                if self.known().caching.is_news(phase, done, total, Instant::now()) {
                    let event = jobs::Event::new("caching").with("done", done).with("total", total);
                    self.control.event(event.at(u32::try_from(phase + 1).unwrap_or(u32::MAX), 0, done as u64));
                }
                let at = Position { phase, epoch: 0, step: 0 };
                self.progress("caching", at, (done as u64, total as u64), Part::Caching);
            }
            Event::Step { at, loss, accuracy, learning_rate, images_per_second } => {
                let event = jobs::Event::new("step").with("loss", loss).with("accuracy", accuracy);
                self.control.event(self.mark(event.with("learning_rate", learning_rate), at));
                self.knows(loss, accuracy, images_per_second);
                self.trains("training", at);
            }
            Event::Evaluating { at } => self.trains("evaluating", at),
            Event::Epoch(metrics) => self.epoch(metrics),
            Event::Exporting => {
                let phase = self.recipe.phases.len().saturating_sub(1);
                let epoch = self.recipe.phases.last().map_or(0, |phase| phase.epochs.saturating_sub(1));
                let end = Position { phase, epoch, step: self.recipe.steps_per_epoch };
                self.control.event(self.mark(jobs::Event::new("exporting"), end));
                self.trains("exporting", end);
            }
        }
    }

    fn flush(&self) {
        self.control.flush();
    }

    fn checkpointed(&self, _at: Position) {
        self.control.checkpointed();
    }

    fn cancelled(&self) -> bool {
        self.control.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caching_is_told_at_its_ends_and_now_and_then_between() {
        let start = Instant::now();
        let mut news = CachingNews::default();
        let mut told = |phase, done, seconds| news.is_news(phase, done, 1000, start + Duration::from_secs(seconds));
        assert!(told(0, 0, 0), "it begins");
        assert!(!told(0, 99, 1) && told(0, 100, 1), "a tenth is done");
        assert!(!told(0, 101, 10) && told(0, 101, 11), "time has passed");
        assert!(told(0, 1000, 12), "it is done");
        assert!(told(1, 1000, 12), "the next phase has its own");
    }
}
