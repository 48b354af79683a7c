//! What can be wrong with a safetensors file of PyTorch weights: what was expected, what was found, and the way out.
//!
//! Knows nothing of how the file was read.

use super::names;
use crate::weights::keras::LayerName;

/// Why a file cannot be read as the weights of an architecture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
    /// The file does not begin as safetensors do.
    #[error("expected a safetensors file, found {found}")]
    NotSafetensors {
        /// What the first bytes look like, and what to do about it.
        found: String,
    },
    /// The header is longer than any that describes an architecture of graft's.
    #[error("the file's header says that it has {length} bytes; at most {most} are read")]
    HeaderLength {
        /// What the file says.
        length: u64,
        /// The bound.
        most: u64,
    },
    /// The header is no list of tensors that lie side by side.
    #[error("the header is damaged")]
    Header(#[from] serde_json::Error),
    /// The file is shorter or longer than its header says.
    #[error("the header describes a file of {expected} bytes, there are {found}; download or copy it again")]
    Length {
        /// Bytes by the header.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// No architecture of that name.
    #[error("unknown architecture `{name}`; graft knows {}", crate::arch::NAMES.join(", "))]
    UnknownArchitecture {
        /// What was asked for.
        name: String,
    },
    /// An architecture that is read from Keras's files alone.
    #[error(
        "expected an HDF5 file of Keras weights (`.h5`) for {architecture}, found safetensors, which graft reads for {}",
        names::KNOWN.join(", ")
    )]
    NoNames {
        /// What was asked for.
        architecture: String,
    },
    /// A tensor that the architecture needs.
    #[error("expected tensor `{tensor}` (for {layer}), found none of that name")]
    Missing {
        /// PyTorch's name.
        tensor: String,
        /// The architecture's layer.
        layer: LayerName,
    },
    /// Tensors that the architecture does not have.
    #[error("expected the weights of {architecture} alone, found {count} other tensors, the first of which is `{first}`")]
    Others {
        /// What was asked for.
        architecture: String,
        /// How many.
        count: usize,
        /// The first by name.
        first: String,
    },
    /// A tensor of another shape.
    #[error("expected `{tensor}` of shape {expected:?} for {layer}, found {found:?}")]
    Shape {
        /// PyTorch's name.
        tensor: String,
        /// The architecture's shape, in PyTorch's layout.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
        /// The architecture's layer.
        layer: LayerName,
    },
    /// A tensor of another type.
    #[error("expected F32 in `{tensor}`, found {found}; convert the model with `.float()` and save its weights again")]
    DataType {
        /// PyTorch's name.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// NaN or infinity among the weights.
    #[error("expected finite weights, found {value} in `{tensor}` of {layer}; the model diverged or the file is damaged")]
    NotFinite {
        /// The first such value.
        value: f32,
        /// PyTorch's name.
        tensor: String,
        /// The layer.
        layer: LayerName,
    },
    /// A layer that is not in the file's architecture was asked for.
    #[error("expected a layer of {architecture}, asked for {layer}")]
    NoSuchLayer {
        /// The file's architecture.
        architecture: String,
        /// What was asked for.
        layer: LayerName,
    },
}
