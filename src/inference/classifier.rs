//! A version that classifies beside those that serve: a session on threads of its own, at the priority of its caller.
//!
//! Answers with the scores that serving gives; knows neither queues nor top-k.

use std::{num::NonZeroUsize, sync::atomic::AtomicBool};

use super::{
    Error,
    answer::scores,
    queue::row,
    session_cache::{graph_error, runtime_error},
};
use crate::{
    config::ProviderChoice,
    preprocess::{self, Decoder, ImageError},
    registry::{FoundBy, ModelVersion, Output, OutputKind, References, trial_images},
    runtime::{LoadedGraph, Runtime, Session},
    tensor::Tensor,
};

/// A version that classifies photo after photo.
#[derive(Debug)]
pub struct Classifier {
    version: ModelVersion,
    output: Output,
    /// What novelty is measured by, of a version that knows; its features are then the session's second output.
    references: Option<References>,
    session: Session,
    decoder: Decoder,
}

/// What a photo got.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// One score per class.
    pub scores: Vec<f32>,
    /// Whether it is unlike the photos that the version was trained on; `None` of a version that cannot say.
    pub novel: Option<bool>,
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
        decoder: Decoder,
    ) -> Result<Self, Error> {
        let Some(output) = version.metadata.output.clone() else {
            return Err(Error::NoClasses { model: version.metadata.name.clone() });
        };
        let references = version.references()?;
        let metadata = &version.metadata;
        let layer = metadata.novelty.as_ref().and_then(|novelty| metadata.layer(&novelty.layer));
        let tensors: Vec<&str> =
            std::iter::once(&output.tensor).chain(layer.map(|layer| &layer.tensor)).map(String::as_str).collect();
        let graph = version.open()?.cut(&tensors).map_err(|source| graph_error(&version, source))?;
        let loaded = LoadedGraph::read(&graph, choice.provider).map_err(|source| runtime_error(&version, source))?;
        let source = loaded.source();
        // What subgraphs and functions make, an import could not measure.
        let session = match graph.is_flat() {
            true => runtime.background_session(source, choice, threads),
            false => runtime.unfolded_session(source, choice, Some(threads)),
        };
        let session = session.map_err(|source| runtime_error(&version, source))?;
        let mut classifier = Self { version, output, references, session, decoder };
        if classifier.output.found_by == FoundBy::Guess {
            let images = trial_images(&classifier.version.metadata.preprocessing).into_iter();
            let rows = images.map(|image| Ok(classifier.run(image)?.swap_remove(0))).collect::<Result<Vec<_>, Error>>()?;
            classifier.output.kind = OutputKind::by_values(&rows);
        }
        Ok(classifier)
    }

    /// The version.
    pub fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// What an encoded photo gets, or why it cannot be used.
    ///
    /// # Errors
    /// A run that fails, or gives NaN.
    pub fn classify(&mut self, bytes: &[u8]) -> Result<Result<Classified, ImageError>, Error> {
        let prepare = |image| preprocess::prepare(image, &self.version.metadata.preprocessing).0;
        // Once begun, it is seconds at the most.
        let input = match self.decoder.decode(bytes, &AtomicBool::new(false), prepare) {
            Ok(input) => input,
            Err(error) => return Ok(Err(error)),
        };
        let outputs = self.run(input)?;
        let not_finite = || Error::NotFinite { layer: self.output.tensor.clone(), image: 0, float16: false };
        let scores = scores(&outputs[0], self.output.kind).ok_or_else(not_finite)?;
        let threshold = self.version.metadata.novelty.as_ref().map(|novelty| novelty.threshold);
        let distance = self.references.as_ref().zip(outputs.get(1)).map(|(references, features)| references.distance(features));
        let novel = distance.zip(threshold).map(|(distance, threshold)| distance > threshold);
        Ok(Ok(Classified { scores, novel }))
    }

    /// The outputs for one prepared image; others of a batch of fixed size are 0.
    fn run(&mut self, image: Tensor) -> Result<Vec<Vec<f32>>, Error> {
        let rows = self.version.metadata.fixed_batch.unwrap_or(1);
        let (shape, mut data) = image.into_parts();
        data.resize(data.len() * rows, 0.0);
        let shape = std::iter::once(rows).chain(shape).collect();
        let input = Tensor::new(shape, data).expect("as many values as the shape has");
        let outputs = self.session.run(&input).map_err(|source| runtime_error(&self.version, source))?;
        Ok(outputs.iter().map(|output| row(output, 0).to_vec()).collect())
    }
}
