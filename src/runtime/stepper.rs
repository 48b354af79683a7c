//! A session for training: many inputs by name, and outputs that stay with the runtime to feed the next run.
//!
//! It has threads of its own, so that serving never waits in a queue behind a training step.

use std::borrow::Cow;

use ort::{
    ep,
    session::{
        SessionInputValue,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
    value::{DynValue, TensorElementType},
};

use super::{
    Error, SessionSource,
    session::{element, plain},
};
use crate::{config::Provider, tensor::Tensor};

/// A tensor that the runtime holds.
#[derive(Debug)]
pub struct Value(DynValue);

impl Value {
    /// Takes over `tensor`; float32.
    ///
    /// # Errors
    /// When ONNX Runtime refuses it.
    pub fn floats(tensor: Tensor) -> Result<Self, Error> {
        Ok(Self(ort::value::Tensor::from_array(tensor.into_parts())?.into_dyn()))
    }

    /// int64 numbers as a vector.
    ///
    /// # Errors
    /// When ONNX Runtime refuses them.
    pub fn indices(indices: Vec<i64>) -> Result<Self, Error> {
        Ok(Self(ort::value::Tensor::from_array((vec![indices.len()], indices))?.into_dyn()))
    }

    /// A copy of its float32 data.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn to_tensor(&self) -> Result<Tensor, Error> {
        if element(self.0.dtype()) != Some(TensorElementType::Float32) {
            return Err(Error::OutputType { tensor: "value".to_owned(), found: self.0.dtype().to_string() });
        }
        let (shape, data) = self.0.try_extract_tensor::<f32>()?;
        let shape = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect();
        Ok(Tensor::new(shape, data.to_vec())?)
    }
}

/// A session with any number of inputs and outputs, owned by the one thread that runs it.
///
/// Its threads are made by the calling thread and inherit that thread's priority.
#[derive(Debug)]
pub struct Stepper {
    session: ort::session::Session,
}

impl Stepper {
    pub(super) fn open(
        environment: &ort::environment::Environment,
        source: SessionSource<'_>,
        provider: Provider,
        threads: usize,
    ) -> Result<Self, Error> {
        let mut builder = SessionBuilder::new(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(plain)?
            .with_independent_thread_pool()
            .map_err(plain)?
            .with_intra_threads(threads)
            .map_err(plain)?
            .with_intra_op_spinning(false)
            .map_err(plain)?
            .with_deterministic_compute(true)
            .map_err(plain)?
            .with_config_entry("session.model_external_initializers_file_folder_path", source.folder.to_string_lossy())
            .map_err(plain)?;
        if provider == Provider::Cuda {
            let cuda = ep::CUDA::default().with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic);
            builder = builder.with_execution_providers([cuda.build().error_on_failure()]).map_err(plain)?;
        }
        Ok(Self { session: builder.commit_from_memory(source.graph)? })
    }

    /// Runs on `inputs`, by name, and gives every output in graph order.
    ///
    /// # Errors
    /// A missing input, a shape that the graph refuses, a failure of the provider.
    pub fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, Error> {
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            inputs.iter().map(|(name, value)| (Cow::Borrowed(*name), SessionInputValue::from(&value.0))).collect();
        let outputs = self.session.run(inputs)?;
        Ok(outputs.into_iter().map(|(_, value)| Value(value)).collect())
    }
}
