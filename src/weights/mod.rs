//! Weight tensors of an architecture: from Keras's and PyTorch's files, from a seed, and the download of files.
//!
//! Everything is in Keras's order and layout; turning it into a graph is `graph`'s part.

pub mod download;
pub mod keras;
pub mod pytorch;
pub mod seeded;

use std::path::Path;

use crate::{
    arch::{Architecture, Layer},
    message::ServerPath,
    tensor::Tensor,
};

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

/// What makes weights as they are asked for.
impl<F: FnMut(usize, &Layer) -> Result<Vec<Tensor>, Error>> WeightSource for F {
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, Error> {
        self(index, layer)
    }
}

/// Opens `path` as the weights of the architecture called `name`, of whichever kind the file is; the architecture in the
/// answer says whether the top is there.
///
/// # Errors
/// When the file is of no kind that is read for that architecture, or does not hold its weights.
pub fn open(path: &Path, name: &str) -> Result<(Architecture, Box<dyn WeightSource>), Error> {
    // A pipe would be waited for without end.
    if path.exists() && !path.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    if pytorch::is_safetensors(path) {
        let file = pytorch::StateDict::open(path, name)?;
        return Ok((file.architecture(), Box::new(file)));
    }
    let file = keras::KerasFile::open(path, name)?;
    Ok((file.architecture(), Box::new(file)))
}

/// Why weights cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder, a pipe or a device.
    #[error("{path} is not a file")]
    NotAFile {
        /// What is there.
        path: ServerPath,
    },
    /// A file cannot be read as Keras weights.
    #[error("cannot read weights from {path}")]
    Keras {
        /// The file.
        path: ServerPath,
        /// What was expected and what was found.
        #[source]
        source: Box<keras::Error>,
    },
    /// A file cannot be read as PyTorch weights.
    #[error("cannot read weights from {path}")]
    PyTorch {
        /// The file.
        path: ServerPath,
        /// What was expected and what was found.
        #[source]
        source: Box<pytorch::Error>,
    },
}
