//! Configuration: one validated struct per concern, and the only reader of the environment.
//!
//! Order of precedence: defaults, `config/default.toml`, `config/<environment>.toml`, `GRAFT__SECTION__KEY`, flags.
//! Constructors elsewhere take their own section, never the whole `Config`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

/// Everything that can be configured, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listening address and request bounds.
    pub server: ServerConfig,
    /// The model repository and what is loaded from it.
    pub models: ModelsConfig,
    /// Bounds on uploaded images.
    pub images: ImagesConfig,
    /// ONNX Runtime: library, provider, threads, queues.
    pub runtime: RuntimeConfig,
}

/// `[server]`: where graft listens and what one request may cost.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to bind; default `127.0.0.1`; `GRAFT__SERVER__HOST`.
    pub host: IpAddr,
    /// Port to bind, 0 for any free one; default 8080; `GRAFT__SERVER__PORT`.
    pub port: u16,
    /// Largest request body in bytes; default 64 MiB; `GRAFT__SERVER__MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// Most images in one request; default 64; `GRAFT__SERVER__MAX_IMAGES`.
    pub max_images: usize,
    /// Largest answer in bytes, before compression; default 64 MiB; `GRAFT__SERVER__MAX_RESPONSE_BYTES`.
    pub max_response_bytes: usize,
    /// Time for a client to send its body; default 30 s; `GRAFT__SERVER__BODY_TIMEOUT_MS`.
    pub body_timeout: Duration,
    /// Time for a whole request, from its body's end to its answer; default 60 s; `GRAFT__SERVER__REQUEST_TIMEOUT_MS`.
    pub request_timeout: Duration,
    /// Time that open requests get at shutdown; default 30 s; `GRAFT__SERVER__SHUTDOWN_GRACE_MS`.
    pub shutdown_grace: Duration,
}

/// `[models]`: the repository and what is loaded from it.
#[derive(Debug, Clone)]
pub struct ModelsConfig {
    /// Folder of the model repository; default `models`; `GRAFT__MODELS__DIR`.
    pub dir: PathBuf,
    /// Model that requests without `model=` use; default `vgg16`; `GRAFT__MODELS__DEFAULT`.
    pub default: String,
    /// Models loaded and warmed at start, before `/readyz` is 200; default: the default model; `GRAFT__MODELS__PRELOAD`.
    pub preload: Vec<String>,
    /// Bound on the weights of all loaded models together, in bytes; default 4 GiB; `GRAFT__MODELS__MAX_LOADED_BYTES`.
    pub max_loaded_bytes: u64,
    /// How often the repository is scanned for new versions; default 2 s; `GRAFT__MODELS__SCAN_INTERVAL_MS`.
    pub scan_interval: Duration,
    /// Whether models with untrained weights may be served; default true, false in production; `GRAFT__MODELS__ALLOW_UNTRAINED`.
    pub allow_untrained: bool,
}

/// `[images]`: bounds on one uploaded image.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Largest encoded image in bytes; default 32 MiB; `GRAFT__IMAGES__MAX_BYTES`.
    pub max_bytes: usize,
    /// Most pixels of one image (width × height); default 50 million; `GRAFT__IMAGES__MAX_PIXELS`.
    pub max_pixels: u64,
}

/// `[runtime]`: ONNX Runtime.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Path of the ONNX Runtime library; default: searched beside the binary, see `runtime::library`; `GRAFT__RUNTIME__LIBRARY`.
    pub library: Option<PathBuf>,
    /// Threads of the shared pool; default: the processors this process may use, a cgroup quota included; `GRAFT__RUNTIME__THREADS`.
    pub threads: usize,
    /// Provider for models without an entry in `providers`; default `cpu`, required; `GRAFT__RUNTIME__PROVIDER`, `GRAFT__RUNTIME__PROVIDER_POLICY`.
    pub provider: ProviderChoice,
    /// Provider per model name: `[runtime.models.NAME] provider = "cuda"`, `provider_policy = "preferred"`.
    pub model_providers: std::collections::BTreeMap<String, ProviderChoice>,
    /// Images that may wait in front of one model; more get 503; default 256; `GRAFT__RUNTIME__QUEUE_IMAGES`.
    pub queue_images: usize,
    /// Most images in one run of a session; default 8; `GRAFT__RUNTIME__MAX_BATCH`.
    pub max_batch: usize,
    /// Threads that decode and preprocess images; default: as `threads`; `GRAFT__RUNTIME__DECODE_THREADS`.
    pub decode_threads: usize,
    /// Bound on the private weight copies of one model's cached cuts, in bytes; default 96 MiB; `GRAFT__RUNTIME__CUT_CACHE_BYTES`.
    pub cut_cache_bytes: u64,
}

/// A provider and how firmly it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderChoice {
    /// Where sessions run.
    pub provider: Provider,
    /// What happens when it cannot be had.
    pub policy: ProviderPolicy,
}

/// Where sessions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's CPU provider.
    Cpu,
    /// NVIDIA GPUs through CUDA and cuDNN.
    Cuda,
}

/// What happens when a provider cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderPolicy {
    /// The model does not load; at start the server exits.
    Required,
    /// The CPU is used instead, with a warning, and `/models` says so.
    Preferred,
}
