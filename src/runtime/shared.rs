//! Weights that the cuts of one model hold in common: read once, lent to every session.
//!
//! ONNX Runtime copies what a graph carries into each session; only initializers given as values are shared.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use ort::value::{DynValue, Tensor};

use super::Error;
use crate::graph::{ElementType, Graph};

/// Initializers of Gemm and MatMul from this size on are shared; convolutions are reordered per session by ONNX Runtime.
const SHARED_FROM_BYTES: u64 = 4 << 20;

/// Large initializers by name.
#[derive(Debug, Clone, Default)]
pub struct SharedWeights {
    tensors: Vec<(String, Arc<DynValue>)>,
}

impl SharedWeights {
    /// The large matrices of `graph`, whose external data lie in the file at `weights`.
    ///
    /// # Errors
    /// The file cannot be read or is too short.
    pub fn of(graph: &Graph, weights: &Path) -> Result<Self, Error> {
        let mut shared = Self::default();
        for initializer in graph.initializers() {
            let Some(place) = initializer.external else { continue };
            let large = initializer.bytes >= SHARED_FROM_BYTES && initializer.elem == Some(ElementType::F32);
            let multiplies = || graph.consumers(initializer.name).iter().all(|by| matches!(by.op_type, "Gemm" | "MatMul"));
            if large && multiplies() {
                shared.read(initializer.name, &initializer.shape, weights, place.offset)?;
            }
        }
        Ok(shared)
    }

    fn read(&mut self, name: &str, shape: &[usize], path: &Path, offset: u64) -> Result<(), Error> {
        let data = read_floats(path, offset, shape.iter().product()).map_err(|source| Error::Weights {
            tensor: name.to_owned(),
            path: path.into(),
            source,
        })?;
        let value = Tensor::from_array((shape.to_vec(), data))?;
        self.tensors.push((name.to_owned(), Arc::new(value.into_dyn())));
        Ok(())
    }

    /// Whether no weight is shared.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Whether the tensor `name` is shared.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.iter().any(|(shared, _)| shared == name)
    }

    /// Those that `graph`, a cut of the graph they are of, has; nothing is copied.
    ///
    /// ONNX Runtime refuses values for initializers that a graph does not have.
    pub fn within(&self, graph: &Graph) -> Self {
        let present = |name: &str| graph.initializers().any(|initializer| initializer.name == name);
        Self { tensors: self.tensors.iter().filter(|(name, _)| present(name)).cloned().collect() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Arc<DynValue>)> {
        self.tensors.iter().map(|(name, value)| (name.as_str(), Arc::clone(value)))
    }
}

fn read_floats(path: &Path, offset: u64, elements: usize) -> std::io::Result<Vec<f32>> {
    const CHUNK: usize = 1 << 20;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::with_capacity(elements);
    let mut buffer = vec![0u8; CHUNK.min(elements * 4)];
    while data.len() < elements {
        let bytes = buffer.len().min((elements - data.len()) * 4);
        file.read_exact(&mut buffer[..bytes])?;
        data.extend(buffer[..bytes].chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_at_an_offset_and_refuses_a_short_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("weights.bin");
        let bytes: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(read_floats(&path, 4, 2).expect("read"), [2.0, 3.0]);
        assert!(read_floats(&path, 8, 2).is_err());
    }
}
