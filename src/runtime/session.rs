//! One ONNX Runtime session: host tensors in, host tensors out, float16 converted at the edge.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use half::f16;
use ort::{
    environment::Environment,
    ep,
    session::{
        RunOptions,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{TensorElementType, TensorRef, TensorValueTypeMarker, Value, ValueType},
};

use super::{Error, ProviderInEffect, SessionSource};
use crate::{config::Provider, graph::NOWHERE, tensor::Tensor};

/// How long a thread of a session's own looks for work before it sleeps, in microseconds.
///
/// Waking one takes about as long. A training step has hundreds of operators: it gains 3% by this, for 1.5% more processor
/// time; looking for longer, as ONNX Runtime's default does, gains no more and costs 4%.
const SPIN_US: &str = "100";

/// Longest run of a graph that may loop without end: a batch that takes longer is never answered.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// How soon a run ends that nobody wants any more.
const POLL: Duration = Duration::from_millis(20);

/// A session, owned by the one thread that runs it.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    half_input: bool,
    /// Whether its graph may loop for as long as the input says.
    is_open_ended: bool,
    provider: ProviderInEffect,
}

impl Session {
    pub(super) fn open(
        environment: &Environment,
        source: SessionSource<'_>,
        purpose: Use,
        provider: Provider,
        note: Option<String>,
    ) -> Result<Self, Error> {
        let mut builder = on_threads(builder(environment, source, provider, Memory::Shared)?, purpose.threads)?;
        if !purpose.folds {
            builder = builder.with_config_entry("optimization.disable_specified_optimizers", "ConstantFolding").map_err(plain)?;
        }
        let session = builder.commit_from_memory(source.graph)?;
        let half_input = session.inputs().first().is_some_and(|input| element(input.dtype()) == Some(TensorElementType::Float16));
        Ok(Self { session, half_input, is_open_ended: !purpose.folds, provider: ProviderInEffect { provider, note } })
    }

    /// Where it runs.
    pub fn provider(&self) -> &ProviderInEffect {
        &self.provider
    }

    /// Names of the outputs that [`Self::run`] can read: float32 and float16.
    pub fn float_outputs(&self) -> Vec<String> {
        let float = |kind| matches!(element(kind), Some(TensorElementType::Float32 | TensorElementType::Float16));
        self.session.outputs().iter().filter(|output| float(output.dtype())).map(|output| output.name().to_owned()).collect()
    }

    /// The shapes of those outputs of which every size is known without a run, by name.
    pub fn known_shapes(&self) -> HashMap<String, Vec<usize>> {
        let side = |&side: &i64| usize::try_from(side).ok();
        let known = |kind: &ValueType| kind.tensor_shape()?.iter().map(side).collect::<Option<Vec<_>>>();
        self.session.outputs().iter().filter_map(|output| Some((output.name().to_owned(), known(output.dtype())?))).collect()
    }

    /// Runs on `input`, the graph's one input with its batch dimension, and gives the outputs in graph order.
    ///
    /// # Errors
    /// A shape that the graph refuses, an output that is no float, a failure of the provider, [`Error::TooSlow`] for a graph with
    /// subgraphs or functions that runs for longer than five minutes.
    pub fn run(&mut self, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        self.run_while(&|| true, input)
    }

    /// As [`Self::run`]; of a graph with subgraphs or functions, which may loop without end, no further node begins once `is_wanted`
    /// says no. It is asked from another thread.
    ///
    /// # Errors
    /// [`Error::Unwanted`], and those of [`Self::run`].
    pub fn run_while(&mut self, is_wanted: &(dyn Fn() -> bool + Sync), input: &Tensor) -> Result<Vec<Tensor>, Error> {
        match self.is_open_ended {
            true => self.run_watched(RUN_LIMIT, is_wanted, input),
            // It has as many nodes as it has.
            false => self.run_with(input, &RunOptions::new()?),
        }
    }

    /// As [`Self::run`], for a graph of any kind: after `limit` no further node begins.
    ///
    /// # Errors
    /// [`Error::TooSlow`], and those of [`Self::run`].
    pub fn run_within(&mut self, limit: Duration, input: &Tensor) -> Result<Vec<Tensor>, Error> {
        self.run_watched(limit, &|| true, input)
    }

    fn run_watched(
        &mut self,
        limit: Duration,
        is_wanted: &(dyn Fn() -> bool + Sync),
        input: &Tensor,
    ) -> Result<Vec<Tensor>, Error> {
        let options = RunOptions::new()?;
        let (finished, waiting) = channel::<()>();
        let options = &options;
        thread::scope(|scope| {
            let watch = scope.spawn(move || {
                let end = Instant::now() + limit;
                loop {
                    let left = end.saturating_duration_since(Instant::now());
                    if waiting.recv_timeout(left.min(POLL)) != Err(RecvTimeoutError::Timeout) {
                        return None;
                    }
                    let ended = if Instant::now() >= end { Error::TooSlow { limit } } else { Error::Unwanted };
                    if matches!(ended, Error::TooSlow { .. }) || !is_wanted() {
                        return options.terminate().is_ok().then_some(ended);
                    }
                }
            });
            let outputs = self.run_with(input, options);
            drop(finished);
            let ended = watch.join().unwrap_or_default();
            outputs.map_err(|error| ended.unwrap_or(error))
        })
    }

    fn run_with(&mut self, input: &Tensor, options: &RunOptions) -> Result<Vec<Tensor>, Error> {
        let outputs = if self.half_input {
            let data: Vec<f16> = input.data().iter().copied().map(f16::from_f32).collect();
            let input = TensorRef::from_array_view((input.shape(), data.as_slice()))?;
            self.session.run_with_options(ort::inputs![input], options)?
        } else {
            let input = TensorRef::from_array_view((input.shape(), input.data()))?;
            self.session.run_with_options(ort::inputs![input], options)?
        };
        outputs.iter().map(|(name, value)| read(name, &value)).collect()
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// Threads of its own, beside those that serve; `None` to share these.
    pub(super) threads: Option<NonZeroUsize>,
    /// Whether constants of the graph are computed before it runs; a graph can make them as large as it likes.
    pub(super) folds: bool,
}

/// Where a session's activations lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// In the arena of all sessions, for shapes that vary.
    Shared,
    /// In an arena that goes with the session, laid out once, for shapes that do not.
    Own,
}

/// A session in the making, with the options that all of them have.
pub(super) fn builder(
    environment: &Environment,
    source: SessionSource<'_>,
    provider: Provider,
    memory: Memory,
) -> Result<SessionBuilder, Error> {
    let mut builder = SessionBuilder::new(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(plain)?
        .with_memory_pattern(memory == Memory::Own)
        .map_err(plain)?;
    if memory == Memory::Shared {
        builder = builder.with_env_allocators().map_err(plain)?;
    }
    match provider {
        Provider::Cpu => {
            if !source.shared.is_empty() {
                builder = builder
                    .with_prepacking(false)
                    .map_err(plain)?
                    .with_config_entry("session.model_external_initializers_file_folder_path", NOWHERE.0)
                    .map_err(plain)?;
            }
            for (name, value) in source.shared.iter() {
                builder = builder.with_initializer(name, value).map_err(plain)?;
            }
        }
        Provider::Cuda => {
            let cuda = ep::CUDA::default().with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
            builder = builder.with_execution_providers([cuda.build().error_on_failure()]).map_err(plain)?;
        }
    }
    Ok(builder)
}

/// The session with `threads` of its own, the one that runs it included; `None` to share those of all sessions.
pub(super) fn on_threads(builder: SessionBuilder, threads: Option<NonZeroUsize>) -> Result<SessionBuilder, Error> {
    let Some(threads) = threads else { return Ok(builder) };
    let builder = builder.with_independent_thread_pool().map_err(plain)?;
    let builder = builder.with_intra_threads(threads.get()).map_err(plain)?;
    Ok(builder.with_config_entry("session.intra_op.spin_duration_us", SPIN_US).map_err(plain)?)
}

pub(super) fn read<T: TensorValueTypeMarker + ?Sized>(name: &str, value: &Value<T>) -> Result<Tensor, Error> {
    let (shape, data) = match element(value.dtype()) {
        Some(TensorElementType::Float32) => {
            let (shape, data) = value.try_extract_tensor::<f32>()?;
            (shape, data.to_vec())
        }
        Some(TensorElementType::Float16) => {
            let (shape, data) = value.try_extract_tensor::<f16>()?;
            (shape, data.iter().map(|value| value.to_f32()).collect())
        }
        _ => return Err(Error::OutputType { tensor: name.to_owned(), found: value.dtype().to_string() }),
    };
    let shape = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect();
    Ok(Tensor::new(shape, data)?)
}

fn element(kind: &ValueType) -> Option<TensorElementType> {
    match kind {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    }
}

/// Drops the builder that `ort` hands back with an error.
pub(super) fn plain(error: ort::Error<SessionBuilder>) -> ort::Error {
    ort::Error::from(error)
}
