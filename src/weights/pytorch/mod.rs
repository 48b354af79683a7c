//! PyTorch weights in a safetensors file: found by the names of their state dict, turned to Keras's layouts.
//!
//! Nothing in such a file can run. A header is read within a bound, tensors one layer at a time.

mod error;
mod header;
mod names;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

pub use error::Error;

use self::header::{Header, Stored};
use super::{WeightSource, keras::LayerName};
use crate::{
    arch::{Architecture, Layer, LayerKind, WeightSpec, by_name},
    tensor::Tensor,
};

/// Statistics that PyTorch counts and nothing computes with; a state dict may have them.
const COUNTER: &str = ".num_batches_tracked";

/// A file that is known to hold every weight of its architecture, in the right shape, and nothing else.
pub struct StateDict {
    path: PathBuf,
    architecture: Architecture,
    file: File,
    /// Per layer of the architecture, in the order of its weights.
    tensors: Vec<Vec<Stored>>,
}

/// Whether `path` is meant to be a safetensors file: by its name, or by the header that it begins with.
pub fn is_safetensors(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    let mut start = [0; 9];
    named || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start[8] == b'{'
}

impl StateDict {
    /// Opens `path` as the weights of the architecture called `name`, and finds out whether its top is there.
    ///
    /// Checks names, shapes and types of all weights; reads none.
    ///
    /// # Errors
    /// When the file is no safetensors file, is cut off or damaged, or holds something else.
    pub fn open(path: &Path, name: &str) -> Result<Self, super::Error> {
        let candidates = [true, false].map(|include_top| by_name(name, include_top));
        let [Some(whole), Some(bare)] = candidates else {
            return Err(at(path)(Error::UnknownArchitecture { name: name.to_owned() }));
        };
        Self::open_as(path, whole, bare)
    }

    /// Opens `path` as the weights of `whole`, or of `bare`, the same without its top.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(path: &Path, whole: Architecture, bare: Architecture) -> Result<Self, super::Error> {
        Self::try_open(path, whole, bare).map_err(at(path))
    }

    fn try_open(path: &Path, whole: Architecture, bare: Architecture) -> Result<Self, Error> {
        let no_names = || Error::NoNames { architecture: whole.name.clone() };
        let modules = names::modules(&whole).ok_or_else(no_names)?;
        let (file, header) = Header::read(path)?;
        let of_top = modules.iter().skip(bare.layers.len()).flatten();
        let has_top = of_top.clone().any(|module| header.names().any(|name| names::is_of(module, name)));
        let architecture = if has_top { whole } else { bare };
        let mut tensors = Vec::with_capacity(architecture.layers.len());
        for (index, layer) in architecture.layers.iter().enumerate() {
            let module = modules.get(index).and_then(Option::as_deref).unwrap_or_default();
            let found = layer.weights.iter().map(|weight| find(&header, module, weight, (index, layer)));
            tensors.push(found.collect::<Result<Vec<_>, _>>()?);
        }
        refuse_others(&header, &tensors, &architecture)?;
        Ok(Self { path: path.to_owned(), architecture, file, tensors })
    }

    /// The architecture whose weights these are; its `include_top` is what the file has.
    pub fn architecture(&self) -> Architecture {
        self.architecture.clone()
    }

    fn read(&mut self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, Error> {
        let name = LayerName::of(index, layer);
        let stored = match self.architecture.layers.get(index) {
            Some(own) if own == layer => &self.tensors[index],
            _ => return Err(Error::NoSuchLayer { architecture: self.architecture.name.clone(), layer: name }),
        };
        let mut tensors = Vec::with_capacity(stored.len());
        for (weight, stored) in layer.weights.iter().zip(stored) {
            let data = read_floats(&mut self.file, stored, weight.elements())?;
            if let Some(&value) = data.iter().find(|value| !value.is_finite()) {
                return Err(Error::NotFinite { value, tensor: stored.name.clone(), layer: name });
            }
            let data = if weight.name == "kernel" { keras_order(&data, &weight.shape, layer) } else { data };
            tensors.push(Tensor::new(weight.shape.clone(), data).expect("as many values as the shape has"));
        }
        Ok(tensors)
    }
}

impl WeightSource for StateDict {
    fn layer(&mut self, index: usize, layer: &Layer) -> Result<Vec<Tensor>, super::Error> {
        let path = self.path.clone();
        self.read(index, layer).map_err(at(&path))
    }
}

/// The tensor of `weight`, which must have its shape in PyTorch's layout.
fn find(header: &Header, module: &str, weight: &WeightSpec, (index, layer): (usize, &Layer)) -> Result<Stored, Error> {
    let tensor = names::tensor(module, weight.name);
    let stored = header.get(&tensor);
    let stored = stored.ok_or_else(|| Error::Missing { tensor: tensor.clone(), layer: LayerName::of(index, layer) })?;
    let expected = torch_shape(weight, layer);
    if stored.shape != expected {
        return Err(Error::Shape { tensor, expected, found: stored.shape.clone(), layer: LayerName::of(index, layer) });
    }
    if stored.dtype != "F32" {
        return Err(Error::DataType { tensor, found: stored.dtype.clone() });
    }
    Ok(stored.clone())
}

fn refuse_others(header: &Header, tensors: &[Vec<Stored>], architecture: &Architecture) -> Result<(), Error> {
    let is_known = |name: &str| name.ends_with(COUNTER) || tensors.iter().flatten().any(|stored| stored.name == name);
    let mut others: Vec<&str> = header.names().filter(|name| !is_known(name)).collect();
    others.sort_unstable();
    match others.first() {
        Some(first) => {
            Err(Error::Others { architecture: architecture.name.clone(), count: others.len(), first: header::shortened(first) })
        }
        None => Ok(()),
    }
}

/// Convolution kernels are out, in, height, width; depthwise ones channel, 1, height, width; dense kernels out, in.
fn torch_shape(weight: &WeightSpec, layer: &Layer) -> Vec<usize> {
    match (weight.shape.as_slice(), &layer.kind) {
        (&[height, width, channels, one], LayerKind::DepthwiseConv2D { .. }) => vec![channels, one, height, width],
        (&[height, width, inputs, outputs], _) => vec![outputs, inputs, height, width],
        (&[inputs, outputs], _) => vec![outputs, inputs],
        (shape, _) => shape.to_vec(),
    }
}

/// The values of a kernel in PyTorch's order, in that of Keras, whose shape is `shape`.
fn keras_order(data: &[f32], shape: &[usize], layer: &Layer) -> Vec<f32> {
    let (taps, inputs, outputs) = match *shape {
        [height, width, channels, one] if matches!(layer.kind, LayerKind::DepthwiseConv2D { .. }) => {
            (height * width, one, channels)
        }
        [height, width, inputs, outputs] => (height * width, inputs, outputs),
        [inputs, outputs] => (1, inputs, outputs),
        _ => return data.to_vec(),
    };
    let mut turned = Vec::with_capacity(data.len());
    for tap in 0..taps {
        for input in 0..inputs {
            turned.extend((0..outputs).map(|output| data[(output * inputs + input) * taps + tap]));
        }
    }
    turned
}

fn read_floats(file: &mut File, stored: &Stored, elements: usize) -> Result<Vec<f32>, Error> {
    let mut bytes = vec![0; elements * size_of::<f32>()];
    file.seek(SeekFrom::Start(stored.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect())
}

fn at(path: &Path) -> impl FnOnce(Error) -> super::Error {
    let path = path.to_owned();
    move |source| super::Error::PyTorch { path: path.into(), source: Box::new(source) }
}
