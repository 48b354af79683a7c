//! Stored numbers of any type as float32.

use half::{bf16, f16};

use crate::graph::{
    Error, Graph, external,
    proto::TensorProto,
    stored::sides,
    tensors::{self, EXTERNAL, data_type},
};

impl Graph {
    /// The values of `tensor` in float32, wherever they are stored; `None` where they are fewer than its shape has, or of a type
    /// that is not read: those of less than a byte, and what is no number.
    ///
    /// # Errors
    /// External data that cannot be read.
    pub(super) fn values(&self, tensor: &TensorProto) -> Result<Option<Vec<f32>>, Error> {
        if !is_read(tensor.data_type()) {
            return Ok(None);
        }
        let mut tensor = tensor.clone();
        if tensor.data_location() == EXTERNAL {
            external::bring_in(self.dir.as_ref(), &mut tensor)?;
        }
        let raw = tensors::raw(&tensor).unwrap_or_default();
        let values = match tensor.data_type() {
            data_type::FLOAT => words(&raw, f32::from_le_bytes),
            data_type::DOUBLE => words(&raw, |word| f64::from_le_bytes(word) as f32),
            data_type::FLOAT16 => words(&raw, |word| f16::from_le_bytes(word).to_f32()),
            data_type::BFLOAT16 => words(&raw, |word| bf16::from_le_bytes(word).to_f32()),
            data_type::INT8 => words(&raw, |word| i8::from_le_bytes(word).into()),
            data_type::UINT8 => words(&raw, |word| u8::from_le_bytes(word).into()),
            data_type::INT16 => words(&raw, |word| i16::from_le_bytes(word).into()),
            data_type::UINT16 => words(&raw, |word| u16::from_le_bytes(word).into()),
            data_type::INT32 => words(&raw, |word| i32::from_le_bytes(word) as f32),
            _ => Vec::new(),
        };
        Ok(Some(values).filter(|values| values.len() == sides(&tensor).iter().product::<usize>()))
    }
}

/// Whether stored numbers of this type are read.
pub(super) fn is_read(kind: i32) -> bool {
    matches!(
        kind,
        data_type::FLOAT
            | data_type::DOUBLE
            | data_type::FLOAT16
            | data_type::BFLOAT16
            | data_type::INT8
            | data_type::UINT8
            | data_type::INT16
            | data_type::UINT16
            | data_type::INT32
    )
}

fn words<const N: usize>(raw: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks().0.iter().map(|word| value(*word)).collect()
}
