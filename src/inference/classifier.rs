//! A version that classifies beside those that serve: a session on threads of its own, at the priority of its caller.
//!
//! Answers with the scores that serving gives; knows neither queues nor top-k.

use std::num::NonZeroUsize;

use super::{
    Error,
    answer::scores,
    cuts::{graph_error, runtime_error},
    worker::row,
};
use crate::{
    config::ProviderChoice,
    graph::Graph,
    preprocess::{self, ImageError, Limits},
    registry::{FoundBy, ModelVersion, Output, OutputKind, trial_images},
    runtime::{Runtime, Session, SessionSource, SharedWeights},
    tensor::Tensor,
};

/// A version that classifies photo after photo.
#[derive(Debug)]
pub struct Classifier {
    version: ModelVersion,
    output: Output,
    session: Session,
    limits: Limits,
}

impl Classifier {
    /// Makes a session of `version` with `threads` of its own.
    ///
    /// # Errors
    /// [`Error::NoClasses`] for a version without a top; a graph that cannot be read or run.
    pub fn open(
        runtime: &Runtime,
        version: ModelVersion,
        choice: ProviderChoice,
        threads: NonZeroUsize,
        limits: Limits,
    ) -> Result<Self, Error> {
        let Some(output) = version.metadata.output.clone() else {
            return Err(Error::NoClasses { model: version.metadata.name.clone() });
        };
        let graph = Graph::read(&version.graph_path()).and_then(|graph| graph.cut(&[&output.tensor]));
        let graph = graph.map_err(|source| graph_error(&version, source))?;
        let source = SessionSource { graph: &graph.to_bytes(), folder: version.dir(), shared: &SharedWeights::default() };
        // What subgraphs and functions make, an import could not measure.
        let session = match graph.is_flat() {
            true => runtime.background_session(source, choice, threads),
            false => runtime.unfolded_session(source, choice),
        };
        let session = session.map_err(|source| runtime_error(&version, source))?;
        let mut classifier = Self { version, output, session, limits };
        if classifier.output.found_by == FoundBy::Guess {
            let images = trial_images(&classifier.version.metadata.preprocessing).into_iter();
            let rows = images.map(|image| classifier.run(image)).collect::<Result<Vec<_>, _>>()?;
            classifier.output.kind = OutputKind::by_values(&rows);
        }
        Ok(classifier)
    }

    /// The version.
    pub fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// One score per class of an encoded photo, or why it cannot be used.
    ///
    /// # Errors
    /// A run that fails, or gives NaN.
    pub fn scores(&mut self, bytes: &[u8]) -> Result<Result<Vec<f32>, ImageError>, Error> {
        let image = match preprocess::decode(bytes, &self.limits) {
            Ok(image) => image,
            Err(error) => return Ok(Err(error)),
        };
        let (input, _) = preprocess::prepare(image, &self.version.metadata.preprocessing);
        let raw = self.run(input)?;
        let not_finite = || Error::NotFinite { layer: self.output.tensor.clone(), image: 0, float16: false };
        Ok(Ok(scores(&raw, self.output.kind).ok_or_else(not_finite)?))
    }

    /// The output for one prepared image; others of a batch of fixed size are 0.
    fn run(&mut self, image: Tensor) -> Result<Vec<f32>, Error> {
        let rows = self.version.metadata.fixed_batch.unwrap_or(1);
        let (shape, mut data) = image.into_parts();
        data.resize(data.len() * rows, 0.0);
        let shape = std::iter::once(rows).chain(shape).collect();
        let input = Tensor::new(shape, data).expect("as many values as the shape has");
        let outputs = self.session.run(&input).map_err(|source| runtime_error(&self.version, source))?;
        Ok(row(&outputs[0], 0).to_vec())
    }
}
