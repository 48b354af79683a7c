//! One fixture of `tests/goldens/gradients.py`: a graph, a sample, and what PyTorch finds for it in float64.

use std::{collections::HashMap, path::Path};

use graft::{
    config::{self, Provider, ProviderChoice, ProviderPolicy},
    graph::{
        Graph,
        gradient::{LABELS, Labels, SAMPLE_WEIGHTS, TrainableTensor, TrainingGraph, TrainingSpec},
    },
    runtime::{Feed, LoadedGraph, Runtime, TrainingSession, TrainingSessionSource},
    tensor::Tensor,
};

pub const CPU: ProviderChoice = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };

/// A fixture.
pub struct Case {
    pub name: String,
    pub graph: Graph,
}

/// All fixtures, by name.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gradients");
    let entries = std::fs::read_dir(folder).expect("the fixtures").map(|entry| entry.expect("a fixture").path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("a file").to_string_lossy().into_owned();
    paths.iter().map(|path| Case { name: name(path), graph: Graph::read(path).expect("a model") }).collect()
}

impl Case {
    /// Names of the parameters.
    pub fn parameters(&self) -> Vec<String> {
        let expected = self.graph.initializers().filter_map(|tensor| tensor.name.strip_prefix("expected/"));
        expected.filter(|name| !["loss", "logits", "l2"].contains(name)).map(str::to_owned).collect()
    }

    pub fn stored(&self, name: &str) -> Tensor {
        self.graph.stored(name).expect("the fixture has it")
    }

    pub fn spec(&self, provider: Provider) -> TrainingSpec {
        let l2 = self.stored("expected/l2").data()[0];
        let is_row = self.stored("sample/labels").shape().len() == 1;
        TrainingSpec {
            logits: self.graph.outputs()[0].name.clone(),
            batch: self.stored("sample/x").shape()[0],
            labels: if is_row { Labels::Classes } else { Labels::Probabilities },
            trainable: self.parameters().into_iter().map(|name| TrainableTensor { name, l2 }).collect(),
            optimizer: serde_json::from_value(serde_json::json!({"type": "sgd"})).expect("an optimizer"),
            provider,
        }
    }

    /// The sample, as a step takes it.
    pub fn feeds(&self, training: &TrainingGraph) -> Vec<(String, Feed)> {
        let labels = self.stored("sample/labels");
        let labels = match labels.shape() {
            [_] => Feed::Integers(labels.data().iter().map(|&label| label as i64).collect()),
            _ => Feed::Floats(labels),
        };
        let floats = |name: &str, stored: &str| (name.to_owned(), Feed::Floats(self.stored(stored)));
        let mut feeds = vec![(LABELS.to_owned(), labels), floats(SAMPLE_WEIGHTS, "sample/weights"), floats("x", "sample/x")];
        feeds.extend(training.masks.iter().map(|mask| floats(&mask.tensor.name, &format!("sample/{}", mask.tensor.name))));
        feeds
    }

    /// A session of `training` whose parameters have the stored values.
    pub fn stepper(&self, training: &TrainingGraph) -> TrainingSession {
        let mut stepper = stepper_in(training, Path::new(""));
        for parameter in &training.parameters {
            stepper.set(&parameter.input, self.stored(&parameter.input)).expect("a parameter");
        }
        stepper
    }
}

/// The library that `make library` brings.
pub fn runtime() -> Runtime {
    let config = config::load(&config::Sources::default()).expect("the default configuration");
    Runtime::open(&config.runtime).expect("the library that `make library` brings")
}

/// A session of `training`, whose external data lie in `folder`; its state is 0.
pub fn stepper_in(training: &TrainingGraph, folder: &Path) -> TrainingSession {
    let carried = training.parameters.iter().chain(&training.state);
    let carried: Vec<(String, String)> = carried.map(|tensor| (tensor.input.clone(), tensor.output.clone())).collect();
    let loaded = LoadedGraph::whole(&training.graph.clone().beside(folder)).expect("its weights are there");
    let source = TrainingSessionSource { session: loaded.source(), carried: &carried, threads: None };
    let mut stepper = runtime().training_session(source, CPU).expect("a graph that ONNX Runtime takes");
    for slot in &training.state {
        let zeros = vec![0.0; slot.shape.iter().product()];
        stepper.set(&slot.input, Tensor::new(slot.shape.clone(), zeros).expect("as many zeros")).expect("a slot");
    }
    stepper
}

/// Runs one step.
pub fn step(stepper: &mut TrainingSession, feeds: &[(String, Feed)]) -> HashMap<String, Tensor> {
    stepper.step(feeds.iter().map(|(name, feed)| (name.as_str(), feed.clone()))).expect("a step")
}

/// |found − expected| ÷ |expected| in the Euclidean norm.
pub fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = |(found, expected): (&f32, &f32)| f64::from(*found) - f64::from(*expected);
    norm(&mut found.data().iter().zip(expected.data()).map(difference))
        / norm(&mut expected.data().iter().map(|&value| f64::from(value))).max(1e-12)
}
