//! What a training run tells, as a job's events and progress.
//!
//! Counts phases and epochs from 1, as clients do; knows nothing of how a run trains or where events are kept.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::forecast::{Forecast, Part};
use crate::{
    jobs::{self, Control, Job, Progress},
    training::{
        Estimate,
        event::{EpochMetrics, Event, Observer, Place},
        recipe::Recipe,
    },
};

/// Share of a phase's cache after which an event says how far it is, however short a time that took.
const CACHING_SHARE: f64 = 0.1;

/// Time after which an event says how far caching is, however little was done.
const CACHING_TIME: Duration = Duration::from_secs(10);

/// An epoch's metrics as clients read them: phase and epoch from 1.
pub fn epoch_json(metrics: &EpochMetrics) -> Map<String, Value> {
    let numbered = EpochMetrics { phase: metrics.phase + 1, epoch: metrics.epoch + 1, ..*metrics };
    match serde_json::to_value(numbered) {
        Ok(Value::Object(data)) => data,
        _ => Map::new(),
    }
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
    /// Follows a run of `recipe` for `job`.
    pub fn new(control: &'a dyn Control, recipe: &'a Recipe, job: &Job) -> Self {
        let estimate: Option<Estimate> = serde_json::from_value(job.spec.estimates.clone()).ok();
        let is_warned = estimate.as_ref().is_some_and(|estimate| !estimate.warnings().is_empty());
        let forecast = Forecast::new(estimate.map(|estimate| estimate.phases).unwrap_or_default());
        // Those of an earlier attempt.
        let Progress { loss, accuracy, images_per_second, .. } = job.progress.clone().unwrap_or_default();
        Self {
            control,
            recipe,
            is_warned,
            known: Mutex::new(Known { forecast, loss, accuracy, images_per_second, caching: CachingNews::default() }),
        }
    }

    /// Steps done in the phase.
    fn steps(&self, at: Place) -> u64 {
        at.epoch * self.recipe.steps_per_epoch + at.step
    }

    fn mark(&self, event: jobs::Event, at: Place) -> jobs::Event {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        event.at(number(at.phase as u64 + 1), number(at.epoch + 1), self.steps(at))
    }

    /// Tells how far the run is: `step` of `steps` of a part of the phase of `at`.
    fn progress(&self, stage: &str, at: Place, (step, steps): (u64, u64), part: Part) {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let epochs = self.recipe.phases.get(at.phase).map_or(0, |phase| phase.epochs);
        let done = if steps > 0 { step as f64 / steps as f64 } else { 1.0 };
        let mut known = self.known();
        let remaining_seconds = known.forecast.seconds(at.phase, part, done, Instant::now());
        let progress = Progress {
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
            remaining_seconds,
            reported_ms: None,
        };
        drop(known);
        self.control.progress(progress);
    }

    fn trains(&self, stage: &str, at: Place) {
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
        event.data = epoch_json(&metrics);
        event.data.retain(|key, _| !matches!(key.as_str(), "phase" | "epoch"));
        let end = Place { phase, epoch, step: self.recipe.steps_per_epoch };
        self.control.event(self.mark(event, end));
        self.knows(metrics.loss, metrics.accuracy, metrics.images_per_second);
        self.trains("training", end);
    }
}

impl Observer for Follow<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Resumed { at } => {
                let mut place = Map::new();
                place.insert("phase".to_owned(), (at.phase + 1).into());
                place.insert("epoch".to_owned(), at.epoch.saturating_add(1).into());
                place.insert("step".to_owned(), self.steps(at).into());
                let mut event = jobs::Event::new("resumed");
                event.data = place;
                self.control.event(event);
            }
            // With a place, so that it is told once, however often the run comes by.
            Event::Warning { at, detail } => self.control.event(self.mark(jobs::Event::warning(detail), at)),
            Event::CacheTooSmall { .. } if self.is_warned => {}
            Event::CacheTooSmall { phase, detail } => {
                self.control.event(self.mark(jobs::Event::warning(detail), Place { phase, epoch: 0, step: 0 }));
            }
            Event::Caching { phase, done, total } => {
                if self.known().caching.is_news(phase, done, total, Instant::now()) {
                    let event = jobs::Event::new("caching").with("done", done).with("total", total);
                    self.control.event(event.at(u32::try_from(phase + 1).unwrap_or(u32::MAX), 0, done as u64));
                }
                let at = Place { phase, epoch: 0, step: 0 };
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
                let end = Place { phase, epoch, step: self.recipe.steps_per_epoch };
                self.control.event(self.mark(jobs::Event::new("exporting"), end));
                self.trains("exporting", end);
            }
        }
    }

    fn flush(&self) {
        self.control.flush();
    }

    fn checkpointed(&self, _at: Place) {
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
