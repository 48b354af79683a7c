//! What a training run tells, as a job's events and progress.
//!
//! Counts phases and epochs from 1, as clients do; knows nothing of how a run trains or where events are kept.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Map, Value};

use crate::{
    jobs::{self, Control, Progress},
    training::{
        event::{EpochMetrics, Event, Observer, Place},
        recipe::Recipe,
    },
};

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
    /// A plain lock: the run tells from one thread, the watcher only asks whether to stop.
    speed: Mutex<Speed>,
}

/// Time per step of the phase at hand.
#[derive(Debug, Default)]
struct Speed {
    phase: Option<usize>,
    started: Option<Instant>,
    steps: u64,
}

impl<'a> Follow<'a> {
    /// Follows a run of `recipe`.
    pub fn new(control: &'a dyn Control, recipe: &'a Recipe) -> Self {
        Self { control, recipe, speed: Mutex::default() }
    }

    /// Steps done in the phase.
    fn steps(&self, at: Place) -> u64 {
        at.epoch * self.recipe.steps_per_epoch + at.step
    }

    fn mark(&self, event: jobs::Event, at: Place) -> jobs::Event {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        event.at(number(at.phase as u64 + 1), number(at.epoch + 1), self.steps(at))
    }

    fn progress(&self, stage: &str, at: Place) -> Progress {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let epochs = self.recipe.phases.get(at.phase).map_or(0, |phase| phase.epochs);
        Progress {
            stage: Some(stage.to_owned()),
            phase: Some(number(at.phase as u64 + 1)),
            phases: Some(number(self.recipe.phases.len() as u64)),
            epoch: Some(number((at.epoch + 1).min(epochs))),
            epochs: Some(number(epochs)),
            step: Some(self.steps(at)),
            steps: Some(epochs * self.recipe.steps_per_epoch),
            ..Progress::default()
        }
    }

    fn step(&self, at: Place, loss: f64, accuracy: f64, learning_rate: f64) {
        let event = jobs::Event::new("step").with("loss", loss).with("accuracy", accuracy).with("learning_rate", learning_rate);
        self.control.event(self.mark(event, at));
        let (images_per_second, remaining_seconds) = self.timed(at);
        let progress = self.progress("training", at);
        let (loss, accuracy) = (Some(loss), Some(accuracy));
        self.control.progress(Progress { loss, accuracy, images_per_second, remaining_seconds, ..progress });
    }

    /// Images per second in this phase, and the seconds left: later steps cost as much more as they compute more.
    fn timed(&self, at: Place) -> (Option<f64>, Option<f64>) {
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        if speed.phase != Some(at.phase) {
            *speed = Speed { phase: Some(at.phase), started: Some(Instant::now()), steps: 0 };
            return (None, None);
        }
        speed.steps += 1;
        let Some(started) = speed.started else { return (None, None) };
        let seconds = started.elapsed().as_secs_f64() / speed.steps as f64;
        let flops = |phase: usize| self.recipe.phases[phase].trained_flops.max(1) as f64;
        let left = |phase: usize| (self.recipe.phases[phase].epochs * self.recipe.steps_per_epoch) as f64;
        let here = (left(at.phase) - self.steps(at) as f64).max(0.0) * seconds;
        let later: f64 =
            (at.phase + 1..self.recipe.phases.len()).map(|phase| left(phase) * seconds * flops(phase) / flops(at.phase)).sum();
        (Some(self.recipe.batch_size as f64 / seconds), Some(here + later))
    }

    fn epoch(&self, metrics: EpochMetrics) {
        let EpochMetrics { phase, epoch, .. } = metrics;
        let mut event = jobs::Event::new("epoch");
        event.data = epoch_json(&metrics);
        event.data.retain(|key, _| !matches!(key.as_str(), "phase" | "epoch"));
        let end = Place { phase, epoch, step: self.recipe.steps_per_epoch };
        self.control.event(self.mark(event, end));
        self.control.progress(Progress {
            loss: Some(metrics.loss),
            accuracy: Some(metrics.accuracy),
            images_per_second: Some(metrics.images_per_second),
            ..self.progress("evaluating", end)
        });
    }
}

impl Observer for Follow<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Resumed { at } => {
                let mut place = Map::new();
                place.insert("phase".to_owned(), (at.phase + 1).into());
                place.insert("epoch".to_owned(), at.epoch.saturating_add(1).into());
                place.insert("step".to_owned(), at.step.into());
                let mut event = jobs::Event::new("resumed");
                event.data = place;
                self.control.event(event);
            }
            Event::Warning { detail } => self.control.event(jobs::Event::warning(detail)),
            Event::Caching { phase, done, total } => {
                let event = jobs::Event::new("caching").with("done", done).with("total", total);
                if done == 0 || done == total {
                    self.control.event(event.at(u32::try_from(phase + 1).unwrap_or(u32::MAX), 0, done as u64));
                }
                let progress = self.progress("caching", Place { phase, epoch: 0, step: 0 });
                self.control.progress(Progress { step: Some(done as u64), steps: Some(total as u64), ..progress });
            }
            Event::Step { at, loss, accuracy, learning_rate } => self.step(at, loss, accuracy, learning_rate),
            Event::Epoch(metrics) => self.epoch(metrics),
            Event::Exporting => {
                let phase = self.recipe.phases.len().saturating_sub(1);
                let epoch = self.recipe.phases.last().map_or(0, |phase| phase.epochs.saturating_sub(1));
                let end = Place { phase, epoch, step: self.recipe.steps_per_epoch };
                self.control.event(self.mark(jobs::Event::new("exporting"), end));
                let progress = self.progress("exporting", end);
                self.control.progress(Progress { remaining_seconds: Some(0.0), ..progress });
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
