//! Why training cannot go on.
//!
//! Names causes with the way out; knows no status codes.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::{checkpoint::CheckpointError, event::Position, learner::LearnerError, recipe::LearningRate};
use crate::{message::ServerPath, preprocess::ImageError};

/// Why training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("cannot {action} {path}{}", way_out(.source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk has less room than what is about to be written.
    #[error("{path} needs {needed} bytes more, of which its disk has {free}{}", way_out(.source))]
    NoRoom {
        /// What is to be written, or the folder that it goes to.
        path: ServerPath,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
        /// What the system would say.
        #[source]
        source: io::Error,
    },
    /// An image of the data set cannot be used any more.
    #[error("cannot use the image {path}")]
    Image {
        /// Its file.
        path: ServerPath,
        /// Why not.
        #[source]
        source: ImageError,
    },
    /// The base's files cannot be read, or are not those that were published.
    #[error("cannot use the base")]
    Base(#[source] crate::registry::Error),
    /// The base's graph cannot be read or cut.
    #[error("cannot prepare the graph of `{model}`")]
    Graph {
        /// The base, `NAME@VERSION`.
        model: String,
        /// Why not.
        #[source]
        source: crate::graph::BuildError,
    },
    /// ONNX Runtime refused the base's graph or failed on an image.
    #[error("cannot run `{model}`")]
    Runtime {
        /// The base, `NAME@VERSION`.
        model: String,
        /// Why not.
        #[source]
        source: crate::runtime::Error,
    },
    /// A tensor of another size than the recipe says.
    #[error("tensor `{tensor}` has {found} values per image, the recipe says {expected}; submit the job again")]
    Size {
        /// The tensor.
        tensor: String,
        /// What the recipe says.
        expected: usize,
        /// What came out.
        found: usize,
    },
    /// The base is not the one that the recipe was made for.
    #[error("`{model}` has changed since the job was submitted; submit it again")]
    BaseChanged {
        /// The base, `NAME@VERSION`.
        model: String,
    },
    /// The data set is not the one that the recipe was made for.
    #[error("data set `{dataset}` has changed since the job was submitted; submit it again")]
    DatasetChanged {
        /// Its id.
        dataset: String,
    },
    /// A learner cannot be made or step.
    #[error("cannot train on `{model}`")]
    Learner {
        /// The base, `NAME@VERSION`.
        model: String,
        /// Why not.
        #[source]
        source: LearnerError,
    },
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The loss is no number any more.
    #[error(
        "the loss is {loss} in phase {}, epoch {}, step {}: the learning rate of {} is too high; try {}",
        at.phase + 1, at.epoch + 1, at.step, learning_rate.initial, learning_rate.lower()
    )]
    Diverged {
        /// What it is.
        loss: f64,
        /// Where; the message counts phases and epochs from 1.
        at: Position,
        /// The phase's.
        learning_rate: LearningRate,
    },
    /// The model as it would be served does not answer as it was trained.
    #[error(
        "the exported model's probabilities differ from the trainer's by {difference:e}, more than {bound:e}; no version was registered"
    )]
    Parity {
        /// Largest absolute difference.
        difference: f32,
        /// What is allowed.
        bound: f32,
    },
    /// The model cannot be exported or registered.
    #[error("cannot register `{name}`")]
    Register {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: crate::registry::ImportError,
    },
    /// The caller asked to stop.
    #[error("the job was cancelled")]
    Cancelled,
}

impl Error {
    /// That the disk of `path` has `free` bytes of the `needed` ones.
    pub(super) fn no_room(path: &Path, needed: u64, free: u64) -> Self {
        Self::NoRoom { path: path.into(), needed, free, source: ErrorKind::StorageFull.into() }
    }

    /// Whether a disk, or a quota on it, is full.
    pub fn is_disk_full(&self) -> bool {
        let causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        let mut systems = causes.filter_map(|error| error.downcast_ref::<io::Error>());
        systems.any(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    }
}

/// Attaches what was tried on which path to an `io::Error`.
pub(super) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.into(), source })
    }
}

fn way_out(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space there, or lower `training.cache_bytes`",
        ErrorKind::PermissionDenied => "; give this user permission on it",
        ErrorKind::ReadOnlyFilesystem => "; mount it writable, or choose another folder with `data.dir`",
        _ => "",
    }
}
