//! Stored tensors by name: reading their values, wherever they lie, and putting others in their place.
//!
//! Knows nothing of what the tensors mean.

use super::{
    Error, Graph, external, make,
    proto::TensorProto,
    tensors::{self, EXTERNAL, data_type},
};
use crate::tensor::Tensor;

impl Graph {
    /// The values of the stored float32 tensor `name`; external data are read from the model's folder.
    ///
    /// # Errors
    /// No such tensor, one of another type, external data that cannot be read.
    pub fn stored(&self, name: &str) -> Result<Tensor, Error> {
        let tensor = self.initializer(name)?;
        if tensor.data_type() != data_type::FLOAT {
            return Err(Error::NotFloat { tensor: name.to_owned(), found: tensor.data_type() });
        }
        let mut tensor = tensor.clone();
        if tensor.data_location() == EXTERNAL {
            external::bring_in(self.dir.as_ref(), &mut tensor)?;
        }
        let raw = tensors::raw(&tensor).unwrap_or_default();
        let values = raw.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        let shape = sides(&tensor);
        Ok(Tensor::new(shape, values).expect("stored tensors are as long as they say"))
    }

    /// Puts `values` in the place of those of the stored float32 tensor `name`.
    ///
    /// # Errors
    /// No such tensor, one of another type or shape.
    pub fn store(&mut self, name: &str, values: &Tensor) -> Result<(), Error> {
        let tensor = self.initializer(name)?;
        if tensor.data_type() != data_type::FLOAT {
            return Err(Error::NotFloat { tensor: name.to_owned(), found: tensor.data_type() });
        }
        let expected = sides(tensor);
        if expected != values.shape() {
            return Err(Error::StoredShape { tensor: name.to_owned(), expected, found: values.shape().to_vec() });
        }
        let stored = self.body.initializer.iter_mut().find(|tensor| tensor.name() == name);
        *stored.expect("it was found above") = make::floats(name, values.shape(), values.data());
        Ok(())
    }

    pub(super) fn initializer(&self, name: &str) -> Result<&TensorProto, Error> {
        let found = self.body.initializer.iter().find(|tensor| tensor.name() == name);
        found.ok_or_else(|| Error::UnknownInitializer(name.to_owned()))
    }
}

/// The dimensions of a tensor that has been checked.
pub(super) fn sides(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        ExternalData,
        fixture::{classifier, graph},
    };

    fn counted(shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product::<usize>()).map(|value| value as f32).collect();
        Tensor::new(shape.to_vec(), values).expect("as many values as the shape says")
    }

    #[test]
    fn values_come_back_from_inside_and_outside() {
        let mut whole = graph(classifier()).expect("a valid graph");
        assert_eq!(whole.stored("w1").expect("stored").data(), [0.0; 6]);
        whole.store("w1", &counted(&[3, 2])).expect("the right shape");
        assert_eq!(whole.stored("w1").expect("stored"), counted(&[3, 2]));

        let mut data = ExternalData::new(Vec::new(), "weights.bin");
        let mut outside = whole.externalize(&mut data, 1).expect("a vector takes everything");
        assert!(matches!(outside.stored("w1"), Err(Error::External { .. })), "it has no folder yet");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("weights.bin"), data.finish().expect("no flush").0).expect("a file");
        outside = outside.beside(folder.path());
        assert_eq!(outside.stored("w1").expect("stored"), counted(&[3, 2]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut whole = graph(classifier()).expect("a valid graph");
        assert!(matches!(whole.store("w1", &counted(&[2, 3])), Err(Error::StoredShape { .. })));
        assert!(matches!(whole.store("zz", &counted(&[2, 3])), Err(Error::UnknownInitializer(_))));
        assert!(matches!(whole.stored("x"), Err(Error::UnknownInitializer(_))));
        whole.body.initializer[0].data_type = Some(data_type::INT32);
        assert!(matches!(whole.stored("w1"), Err(Error::NotFloat { found: 6, .. })));
    }
}
