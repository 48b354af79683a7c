//! Host tensors: a shape and contiguous float32 data, what scores in them come down to, and the `.npy` and `.npz` files that carry them.
//!
//! Knows nothing of images, graphs or sessions.

mod encode;
pub mod npy;
pub mod npz;
mod scores;

pub use encode::{Dtype, NotFinite, little_endian};
pub use scores::{argmax, softmax};

/// A dense float32 tensor in C order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// `data` does not have as many elements as `shape` says.
#[derive(Debug, thiserror::Error)]
#[error("shape {shape:?} needs {} elements, got {len}", shape.iter().product::<usize>())]
pub struct ShapeError {
    shape: Vec<usize>,
    len: usize,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// When the number of elements differs from the product of `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, ShapeError> {
        if shape.iter().product::<usize>() != data.len() {
            return Err(ShapeError { len: data.len(), shape });
        }
        Ok(Self { shape, data })
    }

    /// The dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in C order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements in C order, mutable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// Shape and elements.
    pub fn into_parts(self) -> (Vec<usize>, Vec<f32>) {
        (self.shape, self.data)
    }
}
