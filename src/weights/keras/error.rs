//! What can be wrong with a Keras weight file: always what was expected, what was found, and the way out.
//!
//! Knows nothing of how the file was read.

use crate::arch::Layer;

/// Why a file cannot be read as the weights of an architecture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("the file cannot be read")]
    Io(#[from] std::io::Error),
    /// The first bytes are not those of HDF5.
    #[error("expected an HDF5 file, found {found}")]
    NotHdf5 {
        /// What the first bytes look like, and what to do about it.
        found: String,
    },
    /// The file is shorter than its own header says.
    #[error("the file is cut off: its header says {expected} bytes, there are {found}; download or copy it again")]
    Truncated {
        /// Bytes by the header.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The HDF5 structure is damaged or not supported.
    #[error("the HDF5 structure cannot be read at {at}; the file is damaged, or its encoding is not supported")]
    Hdf5 {
        /// Object in the file.
        at: String,
        /// What the reader said.
        #[source]
        source: hdf5_reader::error::Error,
    },
    /// The HDF5 reader gave up on the structure without an error of its own.
    #[error("the HDF5 structure at {at} is damaged: {reason}")]
    Damaged {
        /// Object in the file.
        at: String,
        /// What the reader said.
        reason: String,
    },
    /// An HDF5 file, but not one of Keras's.
    #[error(
        "expected Keras weights (attribute `layer_names`, or a group `layers` or `model_weights`), found {found}; \
         write them with `model.save_weights(\"x.weights.h5\")`"
    )]
    NotKeras {
        /// Members of the file's root.
        found: String,
    },
    /// No architecture of that name.
    #[error("unknown architecture `{name}`; graft knows {}", crate::arch::NAMES.join(", "))]
    UnknownArchitecture {
        /// What was asked for.
        name: String,
    },
    /// The weights of another architecture that graft knows.
    #[error("expected the weights of {expected}, found those of {found}; import this file as `{found}`")]
    OtherArchitecture {
        /// What was asked for.
        expected: String,
        /// Whose weights they are.
        found: String,
    },
    /// Another number of layers with weights.
    #[error(
        "expected {expected} layers with weights for {architecture}, found {found}{}",
        difference.as_ref().map(|first| format!("; the first that differs: {first}")).unwrap_or_default()
    )]
    LayerCount {
        /// What was asked for.
        architecture: String,
        /// Numbers of weighted layers it can have.
        expected: String,
        /// Weighted layers in the file.
        found: usize,
        /// The first layer that differs, if one does.
        difference: Option<Box<Error>>,
    },
    /// A layer with another number of tensors.
    #[error("expected {expected} weight tensors ({names}) for {layer}, found {found} in `{group}`")]
    WeightCount {
        /// The architecture's layer.
        layer: LayerName,
        /// How many it has.
        expected: usize,
        /// Their names.
        names: String,
        /// How many the file has.
        found: usize,
        /// The file's group.
        group: String,
    },
    /// A tensor of another shape.
    #[error("expected {weight} {expected:?} for {layer}, found {found:?} in `{dataset}`")]
    Shape {
        /// The layer's class and Keras's name of the tensor, such as `conv2d kernel`.
        weight: String,
        /// The architecture's shape.
        expected: Vec<usize>,
        /// The architecture's layer.
        layer: LayerName,
        /// The file's shape.
        found: Vec<u64>,
        /// The file's dataset.
        dataset: String,
    },
    /// A tensor of another type.
    #[error("expected float32 in `{dataset}`, found {found}; convert the model to float32 and save its weights again")]
    DataType {
        /// The file's dataset.
        dataset: String,
        /// Its type.
        found: String,
    },
    /// A group or dataset that the file's own lists name, or that the architecture needs, is not there.
    #[error("expected `{path}` in the file, found nothing there{}", for_layer.as_ref().map(|layer| format!(" (for {layer})")).unwrap_or_default())]
    Missing {
        /// Path in the file.
        path: String,
        /// The architecture's layer, where known.
        for_layer: Option<LayerName>,
    },
    /// NaN or infinity among the weights.
    #[error("expected finite weights, found {value} in {weight} of {layer}; the model diverged or the file is damaged")]
    NotFinite {
        /// The first such value.
        value: f32,
        /// Keras's name of the tensor.
        weight: &'static str,
        /// The layer.
        layer: LayerName,
    },
    /// A kernel of zeros: its dataset was made, but never written.
    #[error("expected the kernel of {layer}, found only zeros; the file was never finished, save it again")]
    NeverWritten {
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

/// A layer as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    /// Keras's index.
    pub index: usize,
    /// Keras's name.
    pub name: Box<str>,
}

impl LayerName {
    /// The name of `layer`, which is at `index`.
    pub(in crate::weights) fn of(index: usize, layer: &Layer) -> Self {
        Self { index, name: layer.name.as_str().into() }
    }
}

impl std::fmt::Display for LayerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "layer {} `{}`", self.index, self.name)
    }
}
