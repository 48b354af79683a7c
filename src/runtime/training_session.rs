//! A session that is run step after step: what one step gives, the next one reads, without leaving the device.
//!
//! Knows names of inputs and outputs alone; training graphs are what it is made for.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use ort::{
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    session::{IoBinding, NoSelectedOutputs, RunOptions},
    value::DynTensor,
};

use super::{
    Error, ProviderInEffect, SessionSource,
    session::{Memory, builder, on_threads, read},
};
use crate::{config::Provider, tensor::Tensor};

/// What a [`TrainingSession`] is made from.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSessionSource<'a> {
    /// The graph and its files.
    pub session: SessionSource<'a>,
    /// Input and output of each tensor that is carried from step to step; without an output the input keeps its value.
    pub carried: &'a [(String, String)],
    /// Threads of its own; `None` to share those of all sessions.
    pub threads: Option<NonZeroUsize>,
}

/// A value that goes into a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    /// float32.
    Floats(Tensor),
    /// A list of int64.
    Integers(Vec<i64>),
}

/// A session and the values that it carries; owned by the one thread that runs it.
pub struct TrainingSession {
    session: ort::session::Session,
    binding: IoBinding,
    carried: Vec<Carried>,
    options: Arc<RunOptions<NoSelectedOutputs>>,
    provider: ProviderInEffect,
}

struct Carried {
    input: String,
    output: String,
    value: Option<DynTensor>,
}

/// Ends a step that another thread runs.
#[derive(Clone)]
pub struct Stop(Arc<RunOptions<NoSelectedOutputs>>);

impl Stop {
    /// The step that runs fails at its next operator, and so does every later one.
    ///
    /// # Errors
    /// When ONNX Runtime refuses.
    pub fn stop(&self) -> Result<(), Error> {
        Ok(self.0.terminate()?)
    }
}

impl TrainingSession {
    pub(super) fn open(
        environment: &Environment,
        source: TrainingSessionSource<'_>,
        provider: Provider,
        note: Option<String>,
    ) -> Result<Self, Error> {
        let mut builder = on_threads(builder(environment, source.session, provider, Memory::Own)?, source.threads)?;
        let session = builder.commit_from_memory(source.session.graph)?;
        let binding = session.create_binding()?;
        let carried =
            source.carried.iter().map(|(input, output)| Carried { input: input.clone(), output: output.clone(), value: None });
        let carried = carried.collect();
        let options = Arc::new(RunOptions::new()?);
        Ok(Self { session, binding, carried, options, provider: ProviderInEffect { provider, note } })
    }

    /// Where it runs.
    pub fn provider(&self) -> &ProviderInEffect {
        &self.provider
    }

    /// What ends its steps.
    pub fn stop(&self) -> Stop {
        Stop(Arc::clone(&self.options))
    }

    /// Sets what the next step reads from the carried input `input`.
    ///
    /// # Errors
    /// An input that is not carried.
    pub fn set(&mut self, input: &str, value: Tensor) -> Result<(), Error> {
        let carried = self.carried.iter_mut().find(|carried| carried.input == input);
        carried.ok_or_else(|| Error::NotCarried(input.to_owned()))?.value = Some(owned(Feed::Floats(value))?);
        Ok(())
    }

    /// What the next step would read from the carried input `input`; a copy.
    ///
    /// # Errors
    /// An input that is not carried, or has no value yet.
    pub fn get(&self, input: &str) -> Result<Tensor, Error> {
        let carried = self.carried.iter().find(|carried| carried.input == input);
        let value = carried.and_then(|carried| carried.value.as_ref()).ok_or_else(|| Error::NotCarried(input.to_owned()))?;
        if value.memory_info().is_cpu_accessible() {
            return read(input, value);
        }
        read(input, &value.to(AllocationDevice::CPU, 0)?)
    }

    /// Runs the graph on `feeds` and what it carries, and gives the outputs that are not carried, by name.
    ///
    /// After an error the carried values are those from before.
    ///
    /// # Errors
    /// A missing input, a shape that the graph refuses, a failure of the provider, [`Stop::stop`].
    pub fn step<'f>(&mut self, feeds: impl IntoIterator<Item = (&'f str, Feed)>) -> Result<HashMap<String, Tensor>, Error> {
        for (name, feed) in feeds {
            self.binding.bind_input(name, &owned(feed)?)?;
        }
        for carried in &self.carried {
            let value = carried.value.as_ref().ok_or_else(|| Error::NotCarried(carried.input.clone()))?;
            self.binding.bind_input(carried.input.as_str(), value)?;
        }
        self.bind_outputs()?;
        let mut outputs = self.session.run_binding_with_options(&self.binding, &self.options)?;
        for carried in self.carried.iter_mut().filter(|carried| !carried.output.is_empty()) {
            let value = outputs.remove(&carried.output);
            let value = value.ok_or_else(|| Error::NotCarried(carried.output.clone()))?;
            carried.value = Some(value.downcast()?);
        }
        outputs.iter().map(|(name, value)| Ok((name.to_owned(), read(name, &value)?))).collect()
    }

    /// Binds every output to memory that is new in this step: on the device what is carried, on the host what is not.
    fn bind_outputs(&mut self) -> Result<(), Error> {
        let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
        let device = match self.provider.provider {
            Provider::Cpu => AllocationDevice::CPU,
            Provider::Cuda => AllocationDevice::CUDA,
        };
        let device = MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)?;
        self.binding.clear_outputs();
        for output in self.session.outputs() {
            let is_carried = self.carried.iter().any(|carried| carried.output == output.name());
            self.binding.bind_output_to_device(output.name(), if is_carried { &device } else { &host })?;
        }
        Ok(())
    }
}

/// A value that owns its data; nothing is copied.
fn owned(feed: Feed) -> Result<DynTensor, Error> {
    Ok(match feed {
        Feed::Floats(tensor) => ort::value::Tensor::from_array(tensor.into_parts())?.upcast(),
        Feed::Integers(values) => ort::value::Tensor::from_array((vec![values.len()], values))?.upcast(),
    })
}
