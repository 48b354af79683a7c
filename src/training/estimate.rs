//! What a recipe will cost before anything is queued: bytes of cache and memory, and minutes from a short measurement.
//!
//! The formula: floating-point operations of every pass over every image, divided by a speed that [`Speed::measure`] finds
//! by decoding a few images and running the frozen part on them. Reading the cache and the optimizer count nothing.

use std::{path::Path, sync::atomic::AtomicBool, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Error, Samples,
    cache::{self, Context},
    recipe::{Phase, Recipe},
};
use crate::{
    preprocess::{self, Decoder, Preprocessing},
    tensor::Tensor,
    work::thread_time,
};

/// Forward passes that one training step costs: forward, two products backward, and what plain operators lose.
///
/// VGG16's fifth block took 100 ms per image forward and backward on one thread that does 100 GFLOP/s forward: 3.6.
const PASSES_PER_STEP: f64 = 3.6;

/// Images that are decoded and run to find the speed.
const PROBED: usize = 2;

/// Least speed, for a base so small that only decoding is measured, in operations per second.
const LEAST_FLOPS: f64 = 1e9;

/// How fast this machine is with this base.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Floating-point operations per second of the frozen part, all threads together.
    pub flops_per_second: f64,
    /// Time to read, decode and preprocess one image on one thread.
    pub decode: Duration,
    /// Threads that decode.
    pub threads: usize,
}

/// What a recipe costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Bytes of cache of all phases together; phases with the same frontier count once.
    pub cache_bytes: u64,
    /// Of these, what `training.cache_bytes` leaves room for.
    pub cached_bytes: u64,
    /// Memory that the phase with most takes, as `training.memory_bytes` bounds it.
    pub memory_bytes: u64,
    /// Minutes from start to end if no phase ends early, without what earlier jobs have cached.
    pub minutes: f64,
    /// What these are made of, by phase.
    pub phases: Vec<PhaseEstimate>,
}

/// What a phase costs, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseEstimate {
    /// To compute the tensors at its frontier that are cached; 0 for those that an earlier phase's pass gave.
    pub caching_seconds: f64,
    /// For its epochs, with what they compute anew.
    pub training_seconds: f64,
    /// Share of its cached tensors that `training.cache_bytes` has room for.
    pub cached_share: f64,
}

impl Speed {
    /// Decodes a few images of the data set and runs the frozen part on them, without storing anything. What a large one takes is told
    /// by its header: a client waits for this, and others for their turn.
    ///
    /// # Errors
    /// A graph that cannot be cut or run, an image that cannot be read.
    pub fn measure(context: Context<'_>, recipe: &Recipe, samples: &Samples) -> Result<Self, Error> {
        let threads = context.threads.get();
        let phase = recipe.phases.iter().max_by_key(|phase| phase.frozen_flops);
        let Some(phase) = phase.filter(|_| !samples.images.is_empty()) else {
            return Ok(Self { flops_per_second: LEAST_FLOPS, decode: Duration::ZERO, threads });
        };
        let files = samples.images.iter().take(PROBED).map(|image| image.file.as_path());
        let probed = files.map(|file| decoded(context, recipe, file)).collect::<Result<Vec<_>, Error>>()?;
        let decode = probed.iter().map(|(_, time)| *time).sum::<Duration>() / probed.len() as u32;
        let mut prepared: Vec<Tensor> = probed.into_iter().filter_map(|(image, _)| image).collect();
        if prepared.is_empty() {
            prepared.push(blank(&recipe.preprocessing));
        }
        let count = PROBED.max(threads).min(samples.images.len());
        let per_image = cache::probe(context, recipe, samples, &prepared, count)?.as_secs_f64() / count as f64;
        let flops_per_second = (phase.frozen_flops as f64 / per_image.max(1e-6)).max(LEAST_FLOPS);
        Ok(Self { flops_per_second, decode, threads })
    }

    /// Seconds for `images` through `flops` each.
    fn seconds(&self, images: f64, flops: f64) -> f64 {
        images * flops / self.flops_per_second
    }

    /// Seconds to compute `records` with `flops` each, from the images on.
    fn frozen(&self, records: f64, flops: f64) -> f64 {
        self.seconds(records, flops) + records * self.decode.as_secs_f64() / self.threads.max(1) as f64
    }
}

/// The image in `file`, unless it is large, and the time that reading and decoding it takes on one thread.
fn decoded(context: Context<'_>, recipe: &Recipe, file: &Path) -> Result<(Option<Tensor>, Duration), Error> {
    let started = thread_time();
    let limits = context.decoder.limits();
    if let Ok(header) = preprocess::header(&cache::file_contents(file, limits)?, limits)
        && !Decoder::is_small(header.cost)
    {
        return Ok((None, header.cost.time()));
    }
    let image = cache::image(file, &recipe.preprocessing, context.decoder, &AtomicBool::new(false))?;
    Ok((Some(image), thread_time().saturating_sub(started)))
}

/// An image of nothing.
fn blank(preprocessing: &Preprocessing) -> Tensor {
    let shape = vec![preprocessing.channels(), preprocessing.height as usize, preprocessing.width as usize];
    let values = vec![0.0; shape.iter().product()];
    Tensor::new(shape, values).expect("as many values as the shape has")
}

impl Estimate {
    /// What `recipe` costs at `speed`, with `bound` bytes for caches.
    pub fn of(recipe: &Recipe, speed: &Speed, bound: u64) -> Self {
        let (train, val) = (recipe.validation.train as f64, recipe.validation.val as f64);
        let variants = if recipe.horizontal_flip { 2.0 } else { 1.0 };
        let records = train * variants + val;
        // A pass gives the tensors of all phases.
        let pass = recipe.phases.iter().map(|phase| phase.frozen_flops).max().unwrap_or(0) as f64;
        let (mut cache_bytes, mut cached_bytes, mut passed) = (0, 0, 0.0_f64);
        let of_phase = |(index, phase): (usize, &Phase)| {
            let bytes = (phase.frontier_bytes_per_image as f64 * records) as u64;
            let share = if bytes == 0 { 1.0 } else { (bound as f64 / bytes as f64).min(1.0) };
            if recipe.phases[..index].iter().all(|earlier| earlier.frontier != phase.frontier) {
                cache_bytes += bytes;
                cached_bytes += bytes.min(bound);
            }
            let caching_seconds = speed.frozen(records * (share - passed).max(0.0), pass);
            passed = passed.max(share);
            let epoch = speed.frozen((train + val) * (1.0 - share), pass)
                + speed.seconds(train * PASSES_PER_STEP + val, phase.trained_flops as f64);
            PhaseEstimate { caching_seconds, training_seconds: phase.epochs as f64 * epoch, cached_share: share }
        };
        let phases: Vec<PhaseEstimate> = recipe.phases.iter().enumerate().map(of_phase).collect();
        let test = recipe.validation.test as f64;
        let last =
            recipe.phases.last().map_or(0.0, |phase| speed.frozen(test, pass) + speed.seconds(test, phase.trained_flops as f64));
        let seconds: f64 = last + phases.iter().map(|phase| phase.caching_seconds + phase.training_seconds).sum::<f64>();
        let memory_bytes = recipe.memory_bytes();
        Self { cache_bytes, cached_bytes: cached_bytes.min(bound), memory_bytes, minutes: seconds / 60.0, phases }
    }

    /// What the user should know: of which phases not everything that is cached fits.
    pub fn warnings(&self) -> Vec<String> {
        let short = self.phases.iter().enumerate().filter(|(_, phase)| phase.cached_share < 1.0);
        let warning = |(index, phase): (usize, &PhaseEstimate)| {
            let percent = 100.0 * phase.cached_share;
            format!(
                "phases[{index}]: {percent:.0} % of its cached tensors fit, the rest is computed anew in every epoch; \
                 raise `training.cache_bytes`"
            )
        };
        short.map(warning).collect()
    }

    /// The estimate for `samples`, measured now: seconds, on the threads of `context`.
    ///
    /// # Errors
    /// As [`Speed::measure`].
    pub fn measured(context: Context<'_>, recipe: &Recipe, samples: &Samples) -> Result<Self, Error> {
        Ok(Self::of(recipe, &Speed::measure(context, recipe, samples)?, context.bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::fixture::resolved_inception;

    #[test]
    fn estimates_follow_the_formula() {
        let speed = Speed { flops_per_second: 1e11, decode: Duration::from_millis(10), threads: 2 };
        let recipe = resolved_inception();
        let estimate = Estimate::of(&recipe, &speed, u64::MAX);
        assert_eq!(estimate.cache_bytes, 20 * (8192 + 327_680));
        assert_eq!(estimate.cached_bytes, estimate.cache_bytes);
        let [head, top] = &recipe.phases[..] else { panic!("two phases") };
        let frozen = 20.0 * (head.frozen_flops as f64 / 1e11 + 0.005);
        let steps = |phase: &Phase| phase.epochs as f64 * (16.0 * 3.6 + 4.0) * phase.trained_flops as f64 / 1e11;
        let seconds = frozen + steps(head) + steps(top);
        assert!((estimate.minutes * 60.0 - seconds).abs() < 1e-9, "{} is not {seconds}", estimate.minutes * 60.0);
    }

    #[test]
    fn without_room_every_epoch_computes() {
        let speed = Speed { flops_per_second: 1e11, decode: Duration::ZERO, threads: 2 };
        let recipe = resolved_inception();
        let minutes = |bound| Estimate::of(&recipe, &speed, bound).minutes;
        assert!(minutes(0) > 3.0 * minutes(u64::MAX));
        let estimate = Estimate::of(&recipe, &speed, 20 * 8192);
        assert_eq!(estimate.cached_bytes, 20 * 8192);
        let warnings = estimate.warnings();
        assert!(warnings.len() == 1 && warnings[0].starts_with("phases[1]: 2 % of its cached tensors fit"), "{warnings:?}");
        // Caches go for others: together they need not fit.
        assert_eq!(Estimate::of(&recipe, &speed, 20 * 327_680).warnings(), Vec::<String>::new());
    }
}
