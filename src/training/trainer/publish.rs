//! The end of a run: the best epoch as a version, compared with the trainer before anyone can see it.
//!
//! Trains nothing.

use std::sync::atomic::AtomicBool;

use super::{Context, Made, Outcome, Run, best::Best, graph_error, model, phase::interruptible, warnings};
use crate::{
    graph::Graph,
    registry::{Calibration, FoundBy, Label, Layer, Lineage, Metadata, ModelVersion, Output, OutputKind, Staging, write_graph},
    runtime::LoadedGraph,
    tensor::Tensor,
    training::{
        Error, TrainValSplit, cache,
        calibration::Fitted,
        event::{Event, Position},
        report::ClassificationReport,
    },
};

/// How many images are compared.
const COMPARED: usize = 32;

/// Largest difference of a probability.
const BOUND: f32 = 1e-4;

impl Run<'_> {
    /// Measures the best epoch, exports it, compares it with what was trained, and registers it.
    pub(super) fn finish(mut self) -> Result<Outcome, Error> {
        let last = self.recipe.phases.last().expect("a recipe has a phase");
        let best = self.progress.best.expect("a phase has an epoch");
        self.observer.event(Event::Exporting);
        self.observer.flush();
        let mut cache = self.cache(last)?;
        let mut learner = self.learner(last)?;
        let tensors = &self.tensors.best;
        learner.restore(|name| tensors.get(name).cloned()).map_err(|source| self.failed(source))?;
        let (observer, stops) = (self.observer, learner.stops());
        let measured = interruptible(observer, &stops, || Best::measure(&self, &mut learner, &mut cache))?;
        drop(learner);
        if let Some(detail) = warnings::of_report(&measured.report) {
            let at = Position { phase: self.recipe.phases.len() - 1, epoch: last.epochs, step: self.recipe.steps_per_epoch };
            self.observer.event(Event::Warning { at, detail });
        }
        let version = match self.context.publisher.published()? {
            Some(version) => version,
            None => self.publish(&measured)?,
        };
        let history = std::mem::take(&mut self.progress.history);
        let warnings = warnings::of_run(self.recipe, &history, &measured.report);
        Ok(Outcome { version, report: measured.report, test: measured.test, history, best, warnings })
    }

    fn publish(&self, measured: &Best) -> Result<ModelVersion, Error> {
        let Context { publisher, cache: cache::Context { base, .. }, .. } = self.context;
        let (graph, calibration) = self.calibrated(measured.calibration)?;
        let refused = |source: crate::registry::Error| Error::Register { name: self.recipe.name.clone(), source: source.into() };
        self.go_on()?;
        let staging = publisher.stage()?;
        let source = format!("finetuned:{}", model(&self.context));
        let (graph, weights) =
            write_graph(graph, &staging, source).map_err(|source| Error::Register { name: self.recipe.name.clone(), source })?;
        self.compare(&graph, &staging, &measured.trained)?;
        if let Some((_, references)) = &measured.novelty {
            references.write(staging.dir()).map_err(refused)?;
        }
        let mut layers = kept(&base.metadata, &graph, self.recipe.head.on_index);
        let first = layers.last().map_or(0, |layer| layer.index + 1);
        layers.extend(self.trained.layers.iter().zip(first..).map(|(layer, index)| Layer {
            index,
            name: layer.name.clone(),
            kind: layer.kind.keras_name().to_owned(),
            shape: layer.output_shape.clone(),
            tensor: layer.name.clone(),
            layout: None,
        }));
        let metadata = Metadata {
            name: self.recipe.name.clone(),
            version: 0,
            architecture: base.metadata.architecture.clone(),
            input: base.metadata.input.clone(),
            fixed_batch: base.metadata.fixed_batch,
            preprocessing: self.recipe.preprocessing.clone(),
            output: Some(Output {
                tensor: self.trained.output().to_owned(),
                kind: OutputKind::Probabilities,
                found_by: FoundBy::Graph,
            }),
            labels: self.recipe.classes.iter().map(|label| Label { label: label.clone(), wnid: None }).collect(),
            features_layer: self.vector().0.to_owned(),
            layers,
            pretrained: true,
            weights,
            calibration,
            novelty: measured.novelty.as_ref().map(|(novelty, _)| novelty.clone()),
            lineage: Some(self.lineage(&measured.report, measured.test.as_ref())),
            published: true,
            job: None,
            assumptions: Vec::new(),
            correction: None,
            created: String::new(),
        };
        // A worker whose lease is lost must not publish: another has the job.
        self.go_on()?;
        publisher.publish(staging, metadata, &Made { division: &self.division, predicted: &measured.predicted })
    }

    /// The model with the best epoch's tensors and the temperature of `fitted`, and what its metadata say of that.
    fn calibrated(&self, fitted: Option<Fitted>) -> Result<(Graph, Option<Calibration>), Error> {
        let refused = |source| graph_error(&self.context, source);
        let mut graph = self.trained.graph.clone();
        for (name, tensor) in &self.tensors.best {
            graph.store(name, tensor).map_err(refused)?;
        }
        let Some(fitted) = fitted else { return Ok((graph, None)) };
        let Fitted { temperature, images, error_before, error_after, loss_before, loss_after } = fitted;
        let graph = graph.with_temperature(self.trained.output(), temperature).map_err(refused)?;
        let logits = graph.temperature(self.trained.output()).map(|(logits, _)| logits.to_owned());
        let calibration =
            |logits| Calibration { logits, temperature, images, error_before, error_after, loss_before, loss_after };
        let calibration = logits.map(calibration);
        Ok((graph, calibration))
    }

    fn lineage(&self, report: &ClassificationReport, test: Option<&ClassificationReport>) -> Lineage {
        let json = |value: Result<serde_json::Value, _>| value.expect("plain data are JSON");
        Lineage {
            job: self.context.job.to_owned(),
            base: model(&self.context),
            base_sha256: self.recipe.base.weights_sha256.clone(),
            dataset: self.recipe.fingerprint.clone(),
            recipe: json(serde_json::to_value(self.recipe)),
            metrics: json(serde_json::to_value(report)),
            test: test.map(|report| json(serde_json::to_value(report))),
            publication: None,
        }
    }

    /// The images on which the exported model is compared: the first for validation, or of those trained on without any.
    pub(super) fn compared(&self) -> &[u32] {
        let TrainValSplit { train, val, .. } = &self.division;
        let images = if val.is_empty() { train } else { val };
        &images[..images.len().min(COMPARED)]
    }

    /// Runs the compared images, which the trainer gave the probabilities `trained`, through the files as they will be served.
    fn compare(&self, graph: &Graph, staging: &Staging, trained: &[Vec<f32>]) -> Result<(), Error> {
        let cache::Context { runtime, choice, threads, decoder, .. } = self.context.cache;
        let failed = |source| Error::Runtime { model: self.recipe.name.clone(), source };
        self.go_on()?;
        let loaded = LoadedGraph::read(&graph.clone().beside(staging.dir()), choice.provider).map_err(failed)?;
        let mut session = runtime.background_session(loaded.source(), choice, threads).map_err(failed)?;
        let rows = self.context.cache.base.metadata.fixed_batch.unwrap_or(1);
        let mut difference = 0.0f32;
        for (&image, trained) in self.compared().iter().zip(trained) {
            self.go_on()?;
            let file = &self.samples.images[image as usize].file;
            let input = batched(cache::image(file, &self.recipe.preprocessing, decoder, &AtomicBool::new(false))?, rows);
            let served = session.run(&input).map_err(failed)?.swap_remove(0);
            let pairs = served.data().iter().zip(trained);
            difference = pairs.map(|(served, trained)| (served - trained).abs()).fold(difference, |worst, this| {
                // NaN must not pass for a small difference.
                if this.is_nan() { f32::INFINITY } else { worst.max(this) }
            });
        }
        tracing::info!(model = self.recipe.name, difference, "the exported model answers as it was trained");
        if difference <= BOUND { Ok(()) } else { Err(Error::Parity { difference, bound: BOUND }) }
    }
}

/// Layers of the base that are still in `graph`, up to the one with the index `last`.
fn kept(base: &Metadata, graph: &Graph, last: usize) -> Vec<Layer> {
    let there = |layer: &&Layer| layer.tensor == base.input || graph.position(&layer.tensor).is_some();
    base.layers.iter().filter(|layer| layer.index <= last).filter(there).cloned().collect()
}

/// `image` as a batch of `rows`, the others 0.
fn batched(image: Tensor, rows: usize) -> Tensor {
    let (shape, mut data) = image.into_parts();
    data.resize(data.len() * rows, 0.0);
    Tensor::new(std::iter::once(rows).chain(shape).collect(), data).expect("as many values as the shape has")
}
