//! One phase: epochs of steps, each followed by a measurement on the validation images.
//!
//! Knows batches and cached tensors; reads no image.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::Thread,
    time::{Duration, Instant},
};

use super::{Run, evaluate, progress::Running, warnings};
use crate::{
    runtime::Stop,
    tensor::{Tensor, argmax},
    training::{
        Error, Patience,
        batches::{Batch, Batches, Epoch},
        cache::FrontierCache,
        event::{EpochMetrics, Event, Observer, Position},
        learner::{self, Learner},
        recipe::{Phase, StartFrom},
        report::ClassificationReport,
    },
};

/// How often a running step is asked to end.
const POLL: Duration = Duration::from_millis(100);

impl Run<'_> {
    /// Trains `phase` from where the run is, and moves on to the next one.
    pub(super) fn phase(&mut self, phase: &Phase) -> Result<(), Error> {
        let mut cache = self.cache(phase)?;
        let mut learner = self.learner(phase)?;
        let tensors = &self.tensors;
        let kept = |name: &str| tensors.now.get(name).or_else(|| tensors.state.get(name)).cloned();
        learner.restore(kept).map_err(|source| self.failed(source))?;
        let (observer, stops) = (self.observer, learner.stops());
        interruptible(observer, &stops, || self.epochs(phase, &mut learner, &mut cache))?;
        let (number, next) = (self.progress.at.phase, self.progress.at.phase + 1);
        if let Some(detail) = warnings::of_phase(self.recipe, &self.progress.history, number) {
            self.observer.event(Event::Warning { at: Position { phase: number, epoch: phase.epochs, step: 0 }, detail });
        }
        self.progress.at = Position { phase: next, epoch: 0, step: 0 };
        self.progress.patience = Patience::default();
        self.tensors.state.clear();
        if self.recipe.phases.get(next).is_some_and(|next| next.start_from == StartFrom::Best) {
            // What a phase taught the base after its best epoch goes too: what is missing here starts as in the base.
            self.tensors.now.clone_from(&self.tensors.best);
        }
        self.write()
    }

    fn epochs(&mut self, phase: &Phase, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<(), Error> {
        while self.progress.at.epoch < phase.epochs {
            self.steps(phase, learner, cache)?;
            self.observer.event(Event::Evaluating { at: self.progress.at });
            let report = evaluate::report(self, learner, cache, 1.0)?;
            if self.end_epoch(learner, &report)? {
                break;
            }
        }
        Ok(())
    }

    /// The steps of the epoch that are left.
    fn steps(&mut self, phase: &Phase, learner: &mut Learner, cache: &mut FrontierCache<'_>) -> Result<(), Error> {
        let (train, classes) = (std::mem::take(&mut self.division.train), std::mem::take(&mut self.classes));
        let batches = Batches {
            train: &train,
            classes: &classes,
            class_weights: &self.recipe.class_weights,
            batch_size: self.recipe.batch_size,
            horizontal_flip: self.recipe.horizontal_flip,
            seed: self.recipe.seed,
            phase: u32::try_from(self.progress.at.phase).unwrap_or(u32::MAX),
        };
        let epoch = batches.epoch(self.progress.at.epoch);
        let mut result = Ok(());
        while let Some(batch) = epoch.batch(self.progress.at.step) {
            result = self.step(phase, &epoch, batch, learner, cache);
            if result.is_err() {
                break;
            }
        }
        (self.division.train, self.classes) = (train, classes);
        result
    }

    fn step(
        &mut self,
        phase: &Phase,
        epoch: &Epoch<'_>,
        batch: Batch,
        learner: &mut Learner,
        cache: &mut FrontierCache<'_>,
    ) -> Result<(), Error> {
        self.go_on()?;
        let (started, at, steps) = (Instant::now(), self.progress.at, self.recipe.steps_per_epoch);
        let (done, images) = (at.epoch * steps + at.step, batch.images.len());
        let learning_rate = phase.learning_rate.at(done, steps * phase.epochs);
        let masks = masks(learner, epoch, &batch);
        let inputs = cache.batch(&batch.images, self.recipe.batch_size)?;
        let labels: Vec<i64> = batch.labels.iter().map(|&label| label as i64).collect();
        let fed = learner::Batch { inputs, labels: labels.clone(), weights: batch.weights };
        let output = learner.step(fed, masks, learning_rate, done + 1).map_err(|source| self.failed(source))?;
        let at = Position { step: at.step + 1, ..at };
        if !output.loss.is_finite() {
            return Err(Error::Diverged { loss: output.loss.into(), at, learning_rate: phase.learning_rate });
        }
        let correct = right(&output.logits, &labels[..images]);
        let running = &mut self.progress.running;
        running.loss += f64::from(output.loss) * images as f64;
        running.correct += correct;
        running.images += images as u64;
        running.seconds += started.elapsed().as_secs_f64();
        self.progress.at = at;
        let (loss, accuracy) = (f64::from(output.loss), correct as f64 / images as f64);
        let images_per_second = running.images_per_second();
        self.observer.event(Event::Step { at, loss, accuracy, learning_rate, images_per_second });
        if self.checkpointed.elapsed() >= self.context.checkpoint_interval && at.step < steps {
            self.checkpoint(learner)?;
        }
        Ok(())
    }

    /// Records the epoch; whether the phase ends with it.
    fn end_epoch(&mut self, learner: &Learner, report: &ClassificationReport) -> Result<bool, Error> {
        let Position { phase, epoch, .. } = self.progress.at;
        if let Some(loss) = report.loss.filter(|loss| !loss.is_finite()) {
            let learning_rate = self.recipe.phases[phase].learning_rate;
            return Err(Error::Diverged { loss, at: self.progress.at, learning_rate });
        }
        let (loss, accuracy) = self.progress.running.means();
        let metrics = EpochMetrics {
            phase,
            epoch,
            loss,
            accuracy,
            val_loss: report.loss,
            val_accuracy: report.accuracy,
            images_per_second: self.progress.running.images_per_second(),
        };
        let is_best = self.progress.is_best(&metrics);
        self.progress.history.push(metrics);
        if is_best {
            let parameters = learner.parameters().map_err(|source| self.failed(source))?;
            self.progress.best = Some(self.progress.history.len() - 1);
            self.tensors.now.extend(parameters);
            self.tensors.best.clone_from(&self.tensors.now);
        }
        let (patience, stopping) = (&mut self.progress.patience, self.recipe.early_stopping.as_ref());
        let stop = metrics.val_loss.zip(stopping).is_some_and(|(loss, stopping)| patience.ends(epoch, loss, stopping));
        self.progress.at = Position { phase, epoch: epoch + 1, step: 0 };
        self.progress.running = Running::default();
        self.observer.event(Event::Epoch(metrics));
        if stop {
            // What a resumed run reads: no epoch of this phase is left.
            self.progress.at.epoch = self.recipe.phases[phase].epochs;
        }
        self.checkpoint(learner)?;
        Ok(stop)
    }
}

/// Does `work` with a learner; when the run is to stop, ends the step at hand through `stops`.
pub(super) fn interruptible<T>(observer: &dyn Observer, stops: &[Stop], work: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                if observer.cancelled() {
                    // A step that cannot be stopped ends by itself.
                    return stops.iter().for_each(|stop| drop(stop.stop()));
                }
                std::thread::park_timeout(POLL);
            }
        });
        // On the way out of a panic too: the scope waits for the watcher.
        let _end = Ending { ended: &ended, watcher: watcher.thread() };
        work()
    })
}

/// Ends a watcher when it goes.
struct Ending<'a> {
    ended: &'a AtomicBool,
    watcher: &'a Thread,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.watcher.unpark();
    }
}

/// A mask per dropout of the graph, drawn for every image of the batch.
fn masks(learner: &Learner, epoch: &Epoch<'_>, batch: &Batch) -> Vec<Tensor> {
    let mask = |(layer, mask): (u32, &crate::graph::gradient::DropoutMask)| {
        let shape = mask.tensor.shape.clone();
        let mut values = vec![1.0; shape.iter().product()];
        let width = shape.iter().skip(1).product::<usize>().max(1);
        for (pick, row) in batch.images.iter().zip(values.chunks_exact_mut(width)) {
            epoch.dropout(pick.image, layer, mask.rate, row);
        }
        Tensor::new(shape, values).expect("as many factors as the shape has")
    };
    (0..).zip(learner.masks()).map(mask).collect()
}

/// How many rows have their label's logit on top.
fn right(logits: &Tensor, labels: &[i64]) -> u64 {
    let width = logits.shape().last().copied().unwrap_or(1).max(1);
    let rows = logits.data().chunks_exact(width).zip(labels);
    rows.filter(|(row, label)| argmax(row) as i64 == **label).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Quiet;

    impl Observer for Quiet {
        fn event(&self, _: Event) {}

        fn flush(&self) {}

        fn checkpointed(&self, _: Position) {}

        fn cancelled(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_panic_comes_out_instead_of_waiting_for_the_watcher() {
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let run = || interruptible::<()>(&Quiet, &[], || panic!("a defect"));
            let outcome = std::panic::catch_unwind(run);
            let _ = done.send(outcome.is_err());
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
    }
}
