//! `[runtime]`: ONNX Runtime: library, provider, threads, queues.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, thread};

use super::{
    error::ConfigError,
    key::{Key, Kind, Values, integer, of},
};

/// `[runtime]`: ONNX Runtime.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Path of the ONNX Runtime library; default: searched beside the binary, see `runtime::library`; `GRAFT__RUNTIME__LIBRARY`.
    pub library: Option<PathBuf>,
    /// Threads of the shared pool; default: the processors this process may use, a cgroup quota included; `GRAFT__RUNTIME__THREADS`.
    pub threads: usize,
    /// Provider for models without an entry in `providers`; default `cpu`, required; `GRAFT__RUNTIME__PROVIDER`, `GRAFT__RUNTIME__PROVIDER_POLICY`.
    pub provider: ProviderChoice,
    /// Provider per model name: `[runtime.models.NAME] provider = "cuda"`, `provider_policy = "preferred"`;
    /// `GRAFT__RUNTIME__MODELS__NAME__PROVIDER`, `GRAFT__RUNTIME__MODELS__NAME__PROVIDER_POLICY` (names in lower case only).
    pub model_providers: BTreeMap<String, ProviderChoice>,
    /// Images that may wait in front of one model; more get 503; default 256; `GRAFT__RUNTIME__QUEUE_IMAGES`.
    pub queue_images: usize,
    /// Most images in one run of a session; default 8; `GRAFT__RUNTIME__MAX_BATCH`.
    pub max_batch: usize,
    /// Threads that decode and preprocess images; default: as `threads`; `GRAFT__RUNTIME__DECODE_THREADS`.
    pub decode_threads: usize,
    /// Bound on the private weight copies of one model's cached cuts, in bytes; default 96 MiB; `GRAFT__RUNTIME__CUT_CACHE_BYTES`.
    pub cut_cache_bytes: u64,
    /// Bound on what the runs of all sessions on the CPU hold at once, in bytes; default 8 GiB; `GRAFT__RUNTIME__MAX_RUN_BYTES`.
    pub max_run_bytes: usize,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
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

const PROVIDER: Kind = Kind::Choice(&["cpu", "cuda"]);
const POLICY: Kind = Kind::Choice(&["required", "preferred"]);

pub(super) const KEYS: &[Key] = &[
    of("runtime.library", Kind::Text),
    integer("runtime.threads", 1, 1024),
    integer("runtime.decode_threads", 1, 1024),
    of("runtime.provider", PROVIDER),
    of("runtime.provider_policy", POLICY),
    of("runtime.models.*.provider", PROVIDER),
    of("runtime.models.*.provider_policy", POLICY),
    integer("runtime.queue_images", 1, 1 << 20),
    integer("runtime.max_batch", 1, 1024),
    integer("runtime.cut_cache_bytes", 0, 1 << 40),
    integer("runtime.max_run_bytes", 64 << 20, 1 << 40),
];

impl RuntimeConfig {
    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        values.at_most("runtime.max_batch", "runtime.queue_images", "such a batch could never form")?;
        let provider = ProviderChoice {
            provider: provider(values.text("runtime.provider")),
            policy: policy(values.text("runtime.provider_policy")),
        };
        let threads = optional_size(values, "runtime.threads").unwrap_or_else(available);
        Ok(Self {
            library: values.optional_text("runtime.library").map(PathBuf::from),
            threads,
            provider,
            model_providers: model_providers(values, provider),
            queue_images: values.size("runtime.queue_images"),
            max_batch: values.size("runtime.max_batch"),
            decode_threads: optional_size(values, "runtime.decode_threads").unwrap_or(threads),
            cut_cache_bytes: values.integer("runtime.cut_cache_bytes"),
            max_run_bytes: values.size("runtime.max_run_bytes"),
        })
    }
}

fn optional_size(values: &Values, key: &str) -> Option<usize> {
    values.optional_integer(key).map(|size| usize::try_from(size).unwrap_or(usize::MAX))
}

/// Processors this process may use; the standard library counts affinity and cgroup quotas.
fn available() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What `[runtime.models.NAME]` leaves out is as for the server.
fn model_providers(values: &Values, server: ProviderChoice) -> BTreeMap<String, ProviderChoice> {
    let mut choices = BTreeMap::new();
    for (path, value) in values.texts_under(&["runtime", "models"]) {
        if let [_, _, name, key] = path {
            let choice = choices.entry(name.clone()).or_insert(server);
            match key.as_str() {
                "provider" => choice.provider = provider(value),
                _ => choice.policy = policy(value),
            }
        }
    }
    choices
}

fn provider(name: &str) -> Provider {
    if name == "cuda" { Provider::Cuda } else { Provider::Cpu }
}

fn policy(name: &str) -> ProviderPolicy {
    if name == "preferred" { ProviderPolicy::Preferred } else { ProviderPolicy::Required }
}
