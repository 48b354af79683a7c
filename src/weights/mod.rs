//! Weight tensors of an architecture: from Keras's files, from a seed, and the download of files.
//!
//! Everything is in Keras's order and layout; turning it into a graph is `graph`'s part.

pub mod download;
pub mod keras;
pub mod seeded;

use std::path::PathBuf;

use crate::{arch::Layer, tensor::Tensor};

/// Something that has the weights of one architecture, layer by layer.
pub trait WeightSource {
    /// The tensors of `layer`, which is `layers[index]` of its architecture: one per entry of
    /// [`Layer::weights`], in that order, in Keras's layout (convolution kernels height, width, in, out;
    /// dense kernels in, out). All values are finite.
    ///
    /// # Errors
    /// When they cannot be read, or are not finite.
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, Error>;
}

/// Why weights cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read as Keras weights.
    #[error("cannot take weights from {}", path.display())]
    Keras {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        #[source]
        source: Box<keras::Error>,
    },
}
