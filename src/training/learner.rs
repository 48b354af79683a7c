//! What a phase trains: a graph of forward, backward and update, run step after step over tensors that stay in place.
//!
//! Knows batches of tensors; knows nothing of images, epochs or files.

use std::{collections::HashMap, num::NonZeroUsize};

use crate::{
    config::ProviderChoice,
    graph::{
        Graph,
        gradient::{
            Carried, DropoutMask, GradientError, LABELS, LEARNING_RATE, LOSS, SAMPLE_WEIGHTS, STEP, TrainingGraph, TrainingSpec,
            evaluation_graph, training_graph,
        },
    },
    runtime::{self, Feed, LoadedGraph, Runtime, Stop, TrainingSession, TrainingSessionSource},
    tensor::Tensor,
};

/// Why a learner cannot be made or step.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The graph has no gradient.
    #[error(transparent)]
    Gradient(#[from] GradientError),
    /// A stored tensor cannot be read.
    #[error(transparent)]
    Graph(#[from] crate::graph::Error),
    /// ONNX Runtime refused or failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

/// Where a learner runs.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// The runtime.
    pub runtime: &'a Runtime,
    /// Threads of its own.
    pub threads: NonZeroUsize,
    /// Where its sessions run.
    pub provider: ProviderChoice,
}

/// A batch of the size that the learner was made for; short ones are padded with samples of weight 0.
#[derive(Debug)]
pub struct Batch {
    /// One per input of the graph, in its order, batch first.
    pub inputs: Vec<Tensor>,
    /// Class indices.
    pub labels: Vec<i64>,
    /// Weight of every sample in the loss.
    pub weights: Vec<f32>,
}

/// What a run over a batch gives.
#[derive(Debug)]
pub struct Output {
    /// Weighted cross-entropy plus L2 terms, before the update.
    pub loss: f32,
    /// `(batch, classes)`, before the update.
    pub logits: Tensor,
}

/// A part of a model in training.
pub struct Learner {
    train: TrainingSession,
    evaluate: TrainingSession,
    /// Whether the sessions have the same parameters.
    synced: bool,
    inputs: Vec<String>,
    masks: Vec<DropoutMask>,
    counts_steps: bool,
    parameters: Vec<Carried>,
    state: Vec<Carried>,
    logits: String,
    features: String,
}

impl Learner {
    /// A learner that starts from the tensors stored in `graph`, with the optimizer at rest; of the tensor `features`, an input or
    /// one between inputs and logits, evaluations give the values.
    ///
    /// # Errors
    /// An operator without a gradient, a tensor that cannot be read, a graph that ONNX Runtime refuses.
    pub fn new(place: Placement<'_>, graph: &Graph, spec: &TrainingSpec, features: &str) -> Result<Self, LearnerError> {
        let training = training_graph(graph, spec)?;
        let evaluation = evaluation_graph(graph, spec)?.giving(features);
        let mut learner = Self {
            train: stepper(place, &training)?,
            evaluate: stepper(place, &evaluation)?,
            synced: false,
            inputs: training.inputs.into_iter().map(|input| input.name).collect(),
            masks: training.masks,
            counts_steps: training.counts_steps,
            parameters: training.parameters,
            state: training.state,
            logits: training.logits,
            features: features.to_owned(),
        };
        for parameter in &learner.parameters {
            learner.train.set(&parameter.input, graph.stored(&parameter.input)?)?;
        }
        for slot in &learner.state {
            learner.train.set(&slot.input, zeros(&slot.shape))?;
        }
        Ok(learner)
    }

    /// The inputs that decide what Dropout leaves out; [`Self::step`] takes a tensor for each.
    pub fn masks(&self) -> &[DropoutMask] {
        &self.masks
    }

    /// One step; `step` counts from 1 within the optimizer's life.
    ///
    /// # Errors
    /// When ONNX Runtime fails; nothing has changed then.
    pub fn step(&mut self, batch: Batch, masks: Vec<Tensor>, learning_rate: f64, step: u64) -> Result<Output, LearnerError> {
        let mut feeds = feeds(&self.inputs, batch);
        feeds.extend(self.masks.iter().zip(masks).map(|(mask, tensor)| (mask.tensor.name.as_str(), Feed::Floats(tensor))));
        feeds.push((LEARNING_RATE, scalar(learning_rate as f32)));
        if self.counts_steps {
            feeds.push((STEP, scalar(step as f32)));
        }
        self.synced = false;
        let outputs = self.train.step(feeds)?;
        Ok(output(outputs, &self.logits))
    }

    /// The same without an update and without Dropout, and the features.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn evaluate(&mut self, batch: Batch) -> Result<(Output, Tensor), LearnerError> {
        if !self.synced {
            for parameter in &self.parameters {
                self.evaluate.set(&parameter.input, self.train.get(&parameter.input)?)?;
            }
            self.synced = true;
        }
        let fed = self.inputs.iter().position(|input| *input == self.features).map(|at| batch.inputs[at].clone());
        let mut outputs = self.evaluate.step(feeds(&self.inputs, batch))?;
        let features = fed.or_else(|| outputs.remove(&self.features)).expect("they are an input or an output");
        Ok((output(outputs, &self.logits), features))
    }

    /// What ends a step or an evaluation that is running.
    pub fn stops(&self) -> [Stop; 2] {
        [self.train.stop(), self.evaluate.stop()]
    }

    /// Copies of the trainable tensors, by name.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn parameters(&self) -> Result<Vec<(String, Tensor)>, LearnerError> {
        self.copies(&self.parameters)
    }

    /// Copies of the optimizer's state, by name.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>, LearnerError> {
        self.copies(&self.state)
    }

    /// Puts what `values` has under the names of parameters and state in their place; the others stay as they are.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn restore(&mut self, mut values: impl FnMut(&str) -> Option<Tensor>) -> Result<(), LearnerError> {
        self.synced = false;
        for carried in self.parameters.iter().chain(&self.state) {
            if let Some(tensor) = values(&carried.input).filter(|tensor| tensor.shape() == carried.shape) {
                self.train.set(&carried.input, tensor)?;
            }
        }
        Ok(())
    }

    fn copies(&self, carried: &[Carried]) -> Result<Vec<(String, Tensor)>, LearnerError> {
        carried.iter().map(|carried| Ok((carried.input.clone(), self.train.get(&carried.input)?))).collect()
    }
}

fn stepper(place: Placement<'_>, training: &TrainingGraph) -> Result<TrainingSession, runtime::Error> {
    let loaded = LoadedGraph::whole(&training.graph)?;
    let carried = training.parameters.iter().chain(&training.state);
    let carried: Vec<(String, String)> = carried.map(|carried| (carried.input.clone(), carried.output.clone())).collect();
    let session = loaded.source();
    place
        .runtime
        .training_session(TrainingSessionSource { session, carried: &carried, threads: Some(place.threads) }, place.provider)
}

fn feeds(inputs: &[String], batch: Batch) -> Vec<(&str, Feed)> {
    let weights = Tensor::new(vec![batch.weights.len()], batch.weights).expect("one dimension");
    let inputs = inputs.iter().zip(batch.inputs).map(|(name, tensor)| (name.as_str(), Feed::Floats(tensor)));
    inputs.chain([(LABELS, Feed::Integers(batch.labels)), (SAMPLE_WEIGHTS, Feed::Floats(weights))]).collect()
}

fn output(mut outputs: HashMap<String, Tensor>, logits: &str) -> Output {
    let loss = outputs.get(LOSS).and_then(|loss| loss.data().first()).copied().unwrap_or(f32::NAN);
    Output { loss, logits: outputs.remove(logits).expect("every training graph gives its logits") }
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape has")
}

fn scalar(value: f32) -> Feed {
    Feed::Floats(Tensor::new(Vec::new(), vec![value]).expect("a scalar has one element"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        arch::{Activation, Builder, Layer, LayerKind},
        config::{self, Provider, ProviderPolicy, Sources},
        graph::gradient::{Labels, Optimizer, TrainableTensor},
        training::recipe::{LearningRate, Schedule},
    };

    /// The bound on a batch's loss beside Keras's is 1e-3 of it; float32 does better.
    const CLOSE: f64 = 2e-5;
    const KERNELS: [&str; 2] = ["dense/kernel", "predictions/kernel"];
    const TENSORS: [&str; 4] = ["dense/kernel", "dense/bias", "predictions/kernel", "predictions/bias"];

    struct Case {
        optimizer: Optimizer,
        rate: LearningRate,
        l2: f32,
        class_weights: [f32; 3],
    }

    fn case(name: &str) -> Case {
        let (optimizer, initial) = match name {
            "sgd" => (json!({"type": "sgd"}), 0.1),
            "sgd_momentum" => (json!({"type": "sgd", "momentum": 0.9}), 0.05),
            "sgd_nesterov" => (json!({"type": "sgd", "momentum": 0.9, "nesterov": true}), 0.05),
            "rmsprop" => (json!({"type": "rmsprop"}), 0.01),
            "rmsprop_momentum" => (json!({"type": "rmsprop", "rho": 0.8, "momentum": 0.5}), 0.01),
            "adam" => (json!({"type": "adam"}), 0.01),
            _ => (json!({"type": "sgd", "momentum": 0.9}), 0.1),
        };
        let optimizer = serde_json::from_value(optimizer).expect("an optimizer");
        let decay = if name == "sgd_decay" { 0.5 } else { 0.0 };
        let schedule = if name == "sgd_cosine" { Schedule::Cosine } else { Schedule::Constant };
        let class_weights = if name == "class_weights" { [0.5, 1.0, 2.5] } else { [1.0; 3] };
        let l2 = if name == "l2" { 0.01 } else { 0.0 };
        Case { optimizer, rate: LearningRate { initial, decay, schedule }, l2, class_weights }
    }

    fn golden() -> Json {
        serde_json::from_str(include_str!("../../tests/fixtures/trajectory.json")).expect("it is JSON")
    }

    fn floats(json: &Json) -> Vec<f32> {
        json.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number") as f32).collect()
    }

    fn runtime() -> Runtime {
        let config = config::load(&Sources::from_process()).expect("the defaults are valid");
        Runtime::open(&config.runtime).expect("the library is there: `make library`")
    }

    fn learner(golden: &Json, case: &Case) -> Learner {
        let shapes: [&[usize]; 4] = [&[6, 8], &[8], &[8, 3], &[3]];
        let weights: Vec<Tensor> = golden["weights"]
            .as_array()
            .expect("a list")
            .iter()
            .zip(shapes)
            .map(|(values, shape)| Tensor::new(shape.to_vec(), floats(values)).expect("the shape fits"))
            .collect();
        let mut head = Builder::on("features", &[6]);
        head.named("dense", LayerKind::dense(8, Activation::Relu), &[0]);
        head.named("predictions", LayerKind::dense(3, Activation::Softmax), &[1]);
        let mut stored = |index: usize, _: &Layer| Ok(weights[2 * (index - 1)..2 * index].to_vec());
        let graph = Graph::of_input("features", &[6]).with_head(head.layers(), &mut stored).expect("the names are free");
        let l2 = |name: &str| if KERNELS.contains(&name) { case.l2 } else { 0.0 };
        let spec = TrainingSpec {
            logits: "predictions".to_owned(),
            batch: 4,
            labels: Labels::Classes,
            trainable: TENSORS.iter().map(|name| TrainableTensor { name: (*name).to_owned(), l2: l2(name) }).collect(),
            optimizer: case.optimizer.clone(),
            provider: Provider::Cpu,
        };
        let runtime = runtime();
        let provider = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
        let place = Placement { runtime: &runtime, threads: NonZeroUsize::MIN, provider };
        Learner::new(place, &graph, &spec, "dense").expect("every operator has a gradient")
    }

    fn batch(golden: &Json, step: usize, case: &Case) -> Batch {
        let labels: Vec<i64> = golden["labels"][step].as_array().expect("a list").iter().filter_map(Json::as_i64).collect();
        Batch {
            inputs: vec![Tensor::new(vec![4, 6], floats(&golden["inputs"][step])).expect("the shape fits")],
            weights: labels.iter().map(|&label| case.class_weights[label as usize] / 4.0).collect(),
            labels,
        }
    }

    #[test]
    fn losses_are_those_of_keras() {
        let golden = golden();
        for (name, expected) in golden["losses"].as_object().expect("an object") {
            let case = case(name);
            let mut learner = learner(&golden, &case);
            for (step, expected) in floats(expected).into_iter().enumerate() {
                let rate = case.rate.at(step as u64, 20);
                let found = learner.step(batch(&golden, step, &case), Vec::new(), rate, step as u64 + 1).expect("it runs");
                let difference = f64::from((found.loss - expected).abs());
                assert!(difference <= CLOSE * f64::from(expected), "{name}, step {step}: {} is not {expected}", found.loss);
            }
        }
    }

    #[test]
    fn what_was_carried_goes_on_bit_for_bit() {
        let (golden, case) = (golden(), case("adam"));
        let losses = |learner: &mut Learner, steps: std::ops::Range<usize>| -> Vec<u32> {
            let step = |step| learner.step(batch(&golden, step, &case), Vec::new(), 0.01, step as u64 + 1).expect("it runs");
            steps.map(step).map(|output| output.loss.to_bits()).collect()
        };
        let mut first = learner(&golden, &case);
        losses(&mut first, 0..7);
        let kept: Vec<(String, Tensor)> = first.parameters().into_iter().chain(first.state()).flatten().collect();
        let mut second = learner(&golden, &case);
        second.restore(|name| kept.iter().find(|(kept, _)| kept == name).map(|(_, tensor)| tensor.clone())).expect("restored");
        assert_eq!(losses(&mut first, 7..20), losses(&mut second, 7..20));
    }

    #[test]
    fn evaluation_changes_nothing() {
        let (golden, case) = (golden(), case("sgd"));
        let mut learner = learner(&golden, &case);
        let before = learner.parameters().expect("read");
        let (evaluated, features) = learner.evaluate(batch(&golden, 0, &case)).expect("it runs");
        assert_eq!(features.shape(), [4, 8]);
        assert_eq!(learner.parameters().expect("read"), before);
        let stepped = learner.step(batch(&golden, 0, &case), Vec::new(), 0.1, 1).expect("it runs");
        assert_eq!(evaluated.logits.data(), stepped.logits.data());
        assert_ne!(learner.parameters().expect("read"), before);
    }
}
