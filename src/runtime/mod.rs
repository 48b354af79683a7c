//! ONNX Runtime: library, environment, providers, sessions; the only place that knows `ort`.
//!
//! Knows graphs as bytes and weights as files; knows nothing of models, layers or queues.

mod library;
mod memory;
mod opt_out;
mod session;
mod shared;
mod training_session;

use std::{num::NonZeroUsize, path::PathBuf, sync::OnceLock, time::Duration};

use bytes::Bytes;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use tracing::warn;

pub use library::{SEARCHED, locate};
pub use memory::{return_large_blocks, trim};
pub use session::Session;
pub use shared::SharedWeights;
pub use training_session::{Feed, Stop, TrainingSession, TrainingSessionSource};

use self::session::Use;
use crate::{
    config::{Provider, ProviderChoice, ProviderPolicy, RuntimeConfig},
    graph::Graph,
    message::Foreign,
};

/// Why ONNX Runtime cannot be had or refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No library where graft looks.
    #[error("no ONNX Runtime library found; looked in {}; run `make library`, or set `runtime.library`", .searched.join(", "))]
    LibraryNotFound {
        /// Places that were looked at.
        searched: Vec<String>,
    },
    /// The library cannot be loaded.
    #[error("cannot load the ONNX Runtime library {path}: {reason}")]
    LibraryBroken {
        /// Its path.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// A required provider cannot be had.
    #[error(
        "provider `{provider}` is required but cannot be used: {reason}; set `runtime.provider_policy = \"preferred\"` to fall back to the CPU"
    )]
    ProviderUnavailable {
        /// `cuda`.
        provider: &'static str,
        /// What ONNX Runtime said, first line.
        reason: String,
    },
    /// Weights that cannot be read, or are not those that were checked.
    #[error(transparent)]
    Weights(#[from] crate::graph::Error),
    /// An output is neither float32 nor float16.
    #[error("output `{tensor}` is {found}; graft reads float32 and float16")]
    OutputType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor that a training session does not carry, or that it has no value of yet.
    #[error("`{0}` is not carried from step to step, or has no value yet")]
    NotCarried(String),
    /// A tensor's data and shape disagree.
    #[error(transparent)]
    Shape(#[from] crate::tensor::ShapeError),
    /// More than all runs together may hold.
    #[error(
        "{node} wants more memory than `runtime.max_run_bytes` leaves; give smaller images or batches, or raise that setting"
    )]
    TooMuchMemory {
        /// The node: its operator and its name.
        node: String,
    },
    /// A run that was ended because it took too long.
    #[error("the graph runs for more than {} s on one batch; graft ends such runs", .limit.as_secs())]
    TooSlow {
        /// How long it was given.
        limit: Duration,
    },
    /// A run that was ended because nobody waits for its outputs any more.
    #[error("the run was ended: nobody waits for it any more")]
    Unwanted,
    /// Anything else that ONNX Runtime refused.
    #[error("{}", Foreign(.0))]
    Ort(ort::Error),
}

impl From<ort::Error> for Error {
    fn from(error: ort::Error) -> Self {
        match memory::beyond_arena(error.message()) {
            Some(node) => Self::TooMuchMemory { node },
            None => Self::Ort(error),
        }
    }
}

/// What a session is made from: all of it is in memory, so that no file is read or mapped behind graft's back.
#[derive(Debug, Clone, Copy)]
pub struct SessionSource<'a> {
    /// A serialised graph with its data, but for those that are shared.
    pub graph: &'a [u8],
    /// Weights that several sessions hold in common.
    pub shared: &'a SharedWeights,
}

/// A graph with its data, read for one session or several.
#[derive(Debug)]
pub struct LoadedGraph {
    bytes: Bytes,
    shared: SharedWeights,
}

impl LoadedGraph {
    /// Reads the external data of `graph`: on the CPU, large matrices as values that sessions share.
    ///
    /// # Errors
    /// Data that cannot be read, or are not those that were checked.
    pub fn read(graph: &Graph, provider: Provider) -> Result<Self, Error> {
        let shared = match provider {
            Provider::Cpu => SharedWeights::of(graph)?,
            Provider::Cuda => SharedWeights::default(),
        };
        let bytes = graph.clone().in_memory(|name| shared.contains(name))?.to_bytes();
        Ok(Self { bytes, shared })
    }

    /// Reads the external data of `graph` into it, for a session that is run for long: weights that nobody shares are laid out
    /// for the processor.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn whole(graph: &Graph) -> Result<Self, Error> {
        Ok(Self { bytes: graph.clone().in_memory(|_| false)?.to_bytes(), shared: SharedWeights::default() })
    }

    /// What sessions are made from.
    pub fn source(&self) -> SessionSource<'_> {
        SessionSource { graph: &self.bytes, shared: &self.shared }
    }
}

/// The provider of a session, and why it is not the preferred one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderInEffect {
    /// Where the session runs.
    pub provider: Provider,
    /// Why a preferred provider is not in effect.
    pub note: Option<String>,
}

/// ONNX Runtime, loaded; cheap to clone. A process has one environment: the first [`Runtime::open`] decides its threads.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads the library and makes the environment: one thread pool for all sessions, no spinning, no telemetry.
    ///
    /// # Errors
    /// No library, or one that does not load.
    pub fn open(config: &RuntimeConfig) -> Result<Self, Error> {
        static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
        static OPENING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(environment) = ENVIRONMENT.get() {
            return Ok(Self { environment: environment.clone() });
        }
        let path = locate(config.library.as_deref())?;
        opt_out::forbid_telemetry();
        let builder = ort::init_from(&path).map_err(|reason| Error::LibraryBroken { path, reason: reason.to_string() })?;
        // Only after the library is loaded: making these options calls into it.
        let threads = GlobalThreadPoolOptions::default()
            .with_intra_threads(config.threads)?
            .with_inter_threads(1)?
            .with_spin_control(false)?;
        let environment = builder.with_name("graft").with_telemetry(false).with_global_thread_pool(threads).build()?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        memory::share_arena(&environment, config.max_run_bytes)?;
        Ok(Self { environment: ENVIRONMENT.get_or_init(|| environment).clone() })
    }

    /// ONNX Runtime's description of its build: version, commit, flags.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    /// Whether a provider works at all; which one is in effect.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub fn check(&self, choice: ProviderChoice) -> Result<ProviderInEffect, Error> {
        let graph = Graph::smallest().to_bytes();
        let source = SessionSource { graph: &graph, shared: &SharedWeights::default() };
        Ok(self.session(source, choice)?.provider().clone())
    }

    /// A session of `source` on the provider that `choice` asks for.
    ///
    /// # Errors
    /// [`Error::ProviderUnavailable`] when it is required and cannot be had; a graph that ONNX Runtime refuses.
    pub fn session(&self, source: SessionSource<'_>, choice: ProviderChoice) -> Result<Session, Error> {
        on_provider(choice, |provider, note| {
            Session::open(&self.environment, source, Use { threads: None, folds: true }, provider, note)
        })
    }

    /// A session of a graph with subgraphs or functions: it computes no constants before it runs, as these are not known to be
    /// small, and may loop without end ([`Session::run_while`]); with `threads` of its own, or with those of all sessions.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub fn unfolded_session(
        &self,
        source: SessionSource<'_>,
        choice: ProviderChoice,
        threads: Option<NonZeroUsize>,
    ) -> Result<Session, Error> {
        on_provider(choice, |provider, note| {
            Session::open(&self.environment, source, Use { threads, folds: false }, provider, note)
        })
    }

    /// A session with threads of its own, for work that shall not take those that serve.
    ///
    /// Threads inherit the priority of the one that makes the session; with one, everything runs on the caller's.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub fn background_session(
        &self,
        source: SessionSource<'_>,
        choice: ProviderChoice,
        threads: NonZeroUsize,
    ) -> Result<Session, Error> {
        let purpose = Use { threads: Some(threads), folds: true };
        on_provider(choice, |provider, note| Session::open(&self.environment, source, purpose, provider, note))
    }

    /// A session that is run step after step, on the provider that `choice` asks for.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub fn training_session(&self, source: TrainingSessionSource<'_>, choice: ProviderChoice) -> Result<TrainingSession, Error> {
        on_provider(choice, |provider, note| TrainingSession::open(&self.environment, source, provider, note))
    }
}

/// What `open` makes on the provider that is wanted, or on the CPU with a note where that will do.
fn on_provider<T>(
    choice: ProviderChoice,
    mut open: impl FnMut(Provider, Option<String>) -> Result<T, Error>,
) -> Result<T, Error> {
    let name = match choice.provider {
        Provider::Cpu => return open(Provider::Cpu, None),
        Provider::Cuda => "cuda",
    };
    let reason = match open(choice.provider, None) {
        Ok(opened) => return Ok(opened),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    match choice.policy {
        ProviderPolicy::Required => Err(Error::ProviderUnavailable { provider: name, reason }),
        ProviderPolicy::Preferred => {
            warn!(provider = name, %reason, "the preferred provider cannot be used; running on the CPU");
            open(Provider::Cpu, Some(format!("`{name}` cannot be used: {reason}")))
        }
    }
}
