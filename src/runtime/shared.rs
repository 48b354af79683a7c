//! Weights that the cuts of one model hold in common: read once, lent to every session.
//!
//! ONNX Runtime copies what a graph carries into each session; only initializers given as values are shared.

use std::{
    io::{self, Read},
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
    /// The large matrices of `graph` that are external data.
    ///
    /// # Errors
    /// Data that cannot be read, or are not those that were checked.
    pub fn of(graph: &Graph) -> Result<Self, Error> {
        let mut shared = Self::default();
        for initializer in graph.initializers().filter(|initializer| initializer.external.is_some()) {
            let large = initializer.bytes >= SHARED_FROM_BYTES && initializer.elem == Some(ElementType::F32);
            let multiplies = || graph.consumers(initializer.name).iter().all(|by| matches!(by.op_type, "Gemm" | "MatMul"));
            if large && multiplies() {
                shared.read(graph, initializer.name, &initializer.shape)?;
            }
        }
        Ok(shared)
    }

    fn read(&mut self, graph: &Graph, name: &str, shape: &[usize]) -> Result<(), Error> {
        let mut data = Vec::with_capacity(shape.iter().product());
        graph.read_initializer(name, |bytes| read_floats(bytes, &mut data))?;
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

/// Fills the room that `floats` has.
fn read_floats(bytes: &mut dyn Read, floats: &mut Vec<f32>) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let elements = floats.capacity();
    let mut buffer = vec![0u8; CHUNK.min(elements * 4)];
    while floats.len() < elements {
        let length = buffer.len().min((elements - floats.len()) * 4);
        bytes.read_exact(&mut buffer[..length])?;
        floats.extend(buffer[..length].as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_floats_and_refuses_too_few() {
        let bytes: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut floats = Vec::with_capacity(2);
        read_floats(&mut &bytes[..], &mut floats).expect("as many as there is room for");
        assert_eq!(floats, [1.0, 2.0]);
        assert!(read_floats(&mut &bytes[1..], &mut Vec::with_capacity(2)).is_err());
    }
}
