//! Weights and graphs of the outside become published versions.
//!
//! Each import writes into a staging folder and publishes it whole; on any error nothing is left behind.

mod apart;
mod keras;
mod onnx;
mod settings;

pub use apart::{Apart, Examination, Examined, read_examination};
pub use keras::{Provenance, import_keras, import_seeded, import_weights, prepare_keras};
pub use onnx::{import_onnx, prepare_onnx, write_graph};
pub use settings::{OnnxSettings, PER_CHANNEL, per_channel, read_settings};

use super::{Metadata, ModelVersion, Published, Stable, Staging};
use crate::message::{Relayed, ServerPath};

/// Name of a version's external data, as its graph refers to it.
const WEIGHTS: &str = "weights.bin";

/// A model that is read and checked, and not yet published; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    staging: Staging,
    metadata: Metadata,
}

impl Prepared {
    /// What the version will say of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Publishes it under the next number.
    ///
    /// # Errors
    /// As [`Staging::publish`].
    pub fn publish(self) -> Result<ModelVersion, ImportError> {
        Ok(self.staging.publish(self.metadata)?)
    }

    /// Publishes or registers it for `job`, as `published` says of the model's stable version at that moment.
    ///
    /// # Errors
    /// As [`Staging::publish`].
    pub fn publish_for(self, job: &str, published: impl Fn(Option<Stable>) -> bool) -> Result<ModelVersion, ImportError> {
        let Self { mut staging, mut metadata } = self;
        metadata.job = Some(job.to_owned());
        // Tried as it is first, then as the model has come to be meanwhile.
        loop {
            metadata.published = !metadata.published;
            let wanted = metadata.published;
            match staging.publish_if(metadata.clone(), |stable| published(stable) == wanted)? {
                Published::Version(version) => return Ok(version),
                Published::Refused(refused) => staging = refused,
            }
        }
    }
}

/// Why an import was refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No such architecture.
    #[error("unknown architecture `{name}`; graft has {}", crate::arch::NAMES.join(", "))]
    UnknownArchitecture {
        /// What was asked for.
        name: String,
    },
    /// The weight file is not what it should be.
    #[error(transparent)]
    Weights(#[from] crate::weights::Error),
    /// The graph cannot be read or built.
    #[error(transparent)]
    Graph(#[from] crate::graph::Error),
    /// Weights and architecture do not make a graph.
    #[error(transparent)]
    Build(#[from] crate::graph::BuildError),
    /// ONNX Runtime does not run the graph.
    #[error("ONNX Runtime cannot run this graph")]
    Runtime(#[from] crate::runtime::Error),
    /// Another process, which examined the file, refused it.
    #[error("{0}")]
    Refused(Relayed),
    /// The process that examined the file has died.
    #[error(
        "examining the file ended with {how}: it needs more memory, disk or processor time than files of its size may take, or breaks \
         its reader; simplify a graph, for example with onnxslim, and save weights anew"
    )]
    Died {
        /// How it ended.
        how: String,
    },
    /// The file could not be examined in time.
    #[error(
        "examining the file takes more than {} s (`models.import_timeout_ms`); simplify a graph, for example with onnxslim",
        .limit.as_secs_f64()
    )]
    TooSlow {
        /// How long it was given.
        limit: std::time::Duration,
    },
    /// Whoever asked for it wants it no more.
    #[error("the import was stopped")]
    Stopped,
    /// The repository refused it.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The settings beside an ONNX file cannot be read.
    #[error("cannot read the settings {path}")]
    Settings {
        /// The TOML file.
        path: ServerPath,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The graph answers something else than scores of classes.
    #[error("this is no classifier that graft serves: {reason}")]
    NotAClassifier {
        /// What it answers, and what to do.
        reason: String,
    },
    /// What the file says of itself cannot be read.
    #[error(transparent)]
    Property(#[from] crate::registry::PropertyError),
    /// The labels of the settings cannot be used.
    #[error(transparent)]
    Labels(#[from] crate::registry::LabelsError),
    /// The labels of the settings are not those of the graph.
    #[error("labels: {path} holds {labels} labels, but the graph has {classes} classes")]
    LabelCount {
        /// The file.
        path: ServerPath,
        /// How many it has.
        labels: usize,
        /// How many the graph has.
        classes: usize,
    },
    /// A setting that the graph contradicts or that makes no sense.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its name, as in the TOML file.
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("cannot read or write {path}")]
    File {
        /// The file.
        path: ServerPath,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}
