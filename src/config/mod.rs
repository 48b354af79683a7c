//! Configuration: one validated struct per concern, and the only reader of the environment.
//!
//! Order of precedence: defaults, `config/default.toml`, `config/<environment>.toml`, `GRAFT__SECTION__KEY`, flags.
//! Constructors elsewhere take their own section, never the whole `Config`.

mod data;
mod datasets;
mod error;
mod images;
mod jobs;
mod key;
mod models;
mod regular;
mod runtime;
mod server;
mod sources;
mod telemetry;
mod training;
mod weights;

pub use data::DataConfig;
pub use datasets::DatasetsConfig;
pub use error::{ConfigError, Given};
pub use images::ImagesConfig;
pub use jobs::JobsConfig;
pub use key::Origin;
pub use models::ModelsConfig;
pub(crate) use regular::open_regular;
pub use runtime::{Provider, ProviderChoice, ProviderPolicy, RuntimeConfig};
pub use server::{Auth, ServerConfig, TlsFiles};
pub use sources::Sources;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use training::TrainingConfig;
pub use weights::WeightsConfig;

/// Everything that can be configured, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which `<environment>.toml` counts; default `development`; `GRAFT_ENVIRONMENT`.
    pub environment: Environment,
    /// Listening address and request bounds.
    pub server: ServerConfig,
    /// The model repository and what is loaded from it.
    pub models: ModelsConfig,
    /// Bounds on uploaded images.
    pub images: ImagesConfig,
    /// ONNX Runtime: library, provider, threads, queues.
    pub runtime: RuntimeConfig,
    /// What fine-tuning may use.
    pub training: TrainingConfig,
    /// Where published weight files are downloaded from.
    pub weights: WeightsConfig,
    /// Where graft keeps what it is given and what it makes.
    pub data: DataConfig,
    /// Bounds on data sets, and the folder of the server that may be read.
    pub datasets: DatasetsConfig,
    /// The queue of fine-tuning jobs.
    pub jobs: JobsConfig,
    /// Form and level of the log.
    pub telemetry: TelemetryConfig,
}

/// What graft is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine.
    Development,
    /// Refuses untrained weights and logs JSON, unless configured otherwise.
    Production,
}

/// Every section's keys.
const KEY_LISTS: [&[key::Key]; 10] = [
    server::KEYS,
    models::KEYS,
    images::KEYS,
    runtime::KEYS,
    training::KEYS,
    weights::KEYS,
    data::KEYS,
    datasets::KEYS,
    jobs::KEYS,
    telemetry::KEYS,
];

/// Reads and checks the configuration.
///
/// # Errors
/// Unreadable files, unknown keys, values out of range and values that contradict each other; the message names the key.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let (environment, values) = sources.read()?;
    let runtime = RuntimeConfig::from_values(&values)?;
    let data = DataConfig::from_values(&values);
    Ok(Config {
        environment,
        server: ServerConfig::from_values(&values)?,
        models: ModelsConfig::from_values(&values, &data.dir)?,
        images: ImagesConfig::from_values(&values)?,
        training: TrainingConfig::from_values(&values, runtime.threads),
        runtime,
        weights: WeightsConfig::from_values(&values)?,
        data,
        datasets: DatasetsConfig::from_values(&values)?,
        jobs: JobsConfig::from_values(&values),
        telemetry: TelemetryConfig::from_values(&values),
    })
}

impl Environment {
    /// `development` or `production`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

#[cfg(test)]
mod tests;
