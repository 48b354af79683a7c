//! Weight files that Keras wrote, of any of its four HDF5 layouts, read layer by layer.
//!
//! Weights are taken by order and shape as Keras does, never by layer name: files of 2016 have other names.

mod error;
mod fit;
mod hdf5;
mod layout;

use std::path::{Path, PathBuf};

pub use error::{Error, LayerName};
pub use layout::Layout;

use self::hdf5::{Hdf5, Stored};
use super::WeightSource;
use crate::{
    arch::{Architecture, Layer, by_name},
    tensor::Tensor,
};

/// A weight file that is known to hold every weight of its architecture, in the right shape.
pub struct KerasFile {
    path: PathBuf,
    architecture: Architecture,
    layout: Layout,
    /// Per layer of the architecture.
    tensors: Vec<Vec<Stored>>,
}

impl KerasFile {
    /// Opens `path` as the weights of the architecture called `name`, and finds out whether its top is there.
    ///
    /// Checks number, shape and type of all weights; reads none.
    ///
    /// # Errors
    /// When the file is no HDF5 file, is cut off or damaged, or holds something else.
    pub fn open(path: &Path, name: &str) -> Result<Self, super::Error> {
        let candidates: Vec<Architecture> = [true, false].into_iter().filter_map(|top| by_name(name, top)).collect();
        if candidates.is_empty() {
            return Err(at(path)(Error::UnknownArchitecture { name: name.to_owned() }));
        }
        Self::open_as(path, candidates)
    }

    /// Opens `path` as the weights of the first of `candidates` that they fit.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(path: &Path, candidates: Vec<Architecture>) -> Result<Self, super::Error> {
        Self::try_open(path, candidates).map_err(at(path))
    }

    fn try_open(path: &Path, mut candidates: Vec<Architecture>) -> Result<Self, Error> {
        let file = Hdf5::open(path)?;
        let (layout, stored) = layout::read(&file)?;
        let (position, fitted) = fit::fit(&candidates, &stored)?;
        let architecture = candidates.swap_remove(position);
        let mut layers: Vec<Vec<Stored>> = stored.layers.into_iter().map(|layer| layer.tensors).collect();
        let take = |position: Option<usize>| position.map(|position| std::mem::take(&mut layers[position])).unwrap_or_default();
        let tensors = fitted.into_iter().map(take).collect();
        Ok(Self { path: path.to_owned(), architecture, layout, tensors })
    }

    /// The architecture whose weights these are; its `include_top` is what the file has.
    pub fn architecture(&self) -> Architecture {
        self.architecture.clone()
    }

    /// How the file is laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    fn read(&self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, Error> {
        let name = LayerName::of(index, layer);
        let stored = match self.architecture.layers.get(index) {
            Some(own) if own == layer => &self.tensors[index],
            _ => return Err(Error::NoSuchLayer { architecture: self.architecture.name.clone(), layer: name }),
        };
        let mut tensors = Vec::with_capacity(stored.len());
        for (weight, stored) in layer.weights.iter().zip(stored) {
            let data = stored.read(weight.elements())?;
            if let Some(&value) = data.iter().find(|value| !value.is_finite()) {
                return Err(Error::NotFinite { value, weight: weight.name, layer: name });
            }
            // HDF5 gives zeros for what has room but no data; no initialiser or training does.
            if weight.name == "kernel" && data.iter().all(|&value| value == 0.0) {
                return Err(Error::NeverWritten { layer: name });
            }
            tensors.push(Tensor::new(weight.shape.clone(), data).expect("the file's shape was checked when it was opened"));
        }
        Ok(tensors)
    }
}

impl WeightSource for KerasFile {
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, super::Error> {
        self.read(index, layer).map_err(at(&self.path))
    }
}

fn at(path: &Path) -> impl FnOnce(Error) -> super::Error {
    let path = path.to_owned();
    move |source| super::Error::Keras { path: path.into(), source: Box::new(source) }
}

#[cfg(test)]
mod tests;
