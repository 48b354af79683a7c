//! Training as one ONNX graph in plain operators: forward, loss, backward and optimizer update.
//!
//! [`training_graph`] takes any graph of which some stored tensors shall be trained; these become inputs, and their
//! updated values outputs. The batch size is fixed when the graph is made, so that all shapes are known: fill a last
//! short batch with anything and give those samples the weight 0.
//! Knows neither how the graph is run nor where data and initial values come from.

mod backward;
mod error;
mod forward;
mod loss;
pub mod optimizer;
mod rules;
mod shapes;
mod tape;
mod window;

pub use self::{
    error::GradientError,
    loss::{LABELS, LOSS, SAMPLE_WEIGHTS},
    optimizer::{LEARNING_RATE, Optimizer, STEP},
};
use std::collections::HashSet;

use self::{forward::Forward, tape::Tape};
use super::{
    Graph, make, op, order,
    proto::{GraphProto, ValueInfoProto},
    tensors::data_type,
};
use crate::config::Provider;

/// What is to be trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingSpec {
    /// The tensor of unnormalised scores, `(batch, classes)`; the output of a Softmax stands for that Softmax's input.
    pub logits: String,
    /// Samples per step.
    pub batch: usize,
    /// What the labels are.
    pub labels: Labels,
    /// Stored tensors that change; all others stay as they are.
    pub trainable: Vec<TrainableTensor>,
    /// How they change.
    pub optimizer: Optimizer,
    /// Where the graph will run; decides between forms of a gradient.
    pub provider: Provider,
}

/// A stored tensor that training changes.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainableTensor {
    /// Its name.
    pub name: String,
    /// Factor of Keras's `regularizers.L2`: `l2 · Σ w²` is added to the loss; 0 for none.
    pub l2: f32,
}

/// What the input [`LABELS`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// int64 class indices, `(batch)`.
    Classes,
    /// float32 probabilities, `(batch, classes)`, each row with the sum 1: one-hot, smoothed or mixed.
    Probabilities,
}

/// A graph to be run step after step; its inputs and outputs by name.
///
/// Besides [`Self::inputs`], [`Self::masks`] and what is carried it reads [`LABELS`] and [`SAMPLE_WEIGHTS`] (float32, `(batch)`);
/// a training graph also [`LEARNING_RATE`] (float32 scalar) and, where [`Self::counts_steps`], [`STEP`] (float32 scalar, 1 at the
/// first step).
/// It gives [`LOSS`] (float32 scalar: Σ weight · cross-entropy, plus the L2 terms) and [`Self::logits`].
/// Weights of 1 ÷ n give the mean over n samples; Keras's class weights are `class_weight ÷ n`.
#[derive(Debug, Clone)]
pub struct TrainingGraph {
    /// The graph; stored tensors that do not change lie where they lay in the graph that it was made from.
    pub graph: Graph,
    /// Inputs that the samples go into: those of the graph that it was made from.
    pub inputs: Vec<TensorSpec>,
    /// Inputs that decide which values Dropout leaves out; none in an evaluation graph.
    pub masks: Vec<DropoutMask>,
    /// Trainable tensors, in the order of [`TrainingSpec::trainable`]; their first values are those stored.
    pub parameters: Vec<Carried>,
    /// The optimizer's state; all values are 0 before the first step.
    pub state: Vec<Carried>,
    /// Name of the output with the logits, `(batch, classes)`.
    pub logits: String,
    /// Whether the graph reads [`STEP`].
    pub counts_steps: bool,
}

/// A tensor's name and shape, batch included; float32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// A tensor that a step reads and gives anew, for the next step to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Name of the input.
    pub input: String,
    /// Name of the output: the updated tensor, or in a gradient graph its gradient; empty in an evaluation graph.
    pub output: String,
    /// Shape of both.
    pub shape: Vec<usize>,
}

/// An input that Dropout multiplies its values with: 0 with probability `rate`, else 1 ÷ (1 − rate).
#[derive(Debug, Clone, PartialEq)]
pub struct DropoutMask {
    /// Name and shape of the input.
    pub tensor: TensorSpec,
    /// Share of zeros.
    pub rate: f32,
}

impl TrainingGraph {
    /// The same, with the values of `tensor` as one more output; an input is none, whoever feeds it has its values.
    #[must_use]
    pub fn giving(mut self, tensor: &str) -> Self {
        let is_input = self.inputs.iter().any(|input| input.name == tensor);
        if !is_input {
            let untyped = ValueInfoProto { name: Some(tensor.to_owned()), ..Default::default() };
            self.graph.body.output.push(untyped);
        }
        self
    }
}

/// One step of training: [`TrainingGraph::parameters`] and [`TrainingGraph::state`] come out updated.
///
/// # Errors
/// A name that is no stored float32 tensor behind the logits, an operator without a gradient between a trainable tensor and the
/// logits, shapes that cannot be found out.
pub fn training_graph(graph: &Graph, spec: &TrainingSpec) -> Result<TrainingGraph, GradientError> {
    make_graph(graph, spec, Purpose::Update)
}

/// Like [`training_graph`], but the outputs are the gradients of the loss with respect to the parameters, as they are.
///
/// # Errors
/// As [`training_graph`].
pub fn gradient_graph(graph: &Graph, spec: &TrainingSpec) -> Result<TrainingGraph, GradientError> {
    make_graph(graph, spec, Purpose::Gradients)
}

/// Forward and loss alone, without Dropout; parameters are inputs as in [`training_graph`].
///
/// # Errors
/// As [`training_graph`], except that every operator will do.
pub fn evaluation_graph(graph: &Graph, spec: &TrainingSpec) -> Result<TrainingGraph, GradientError> {
    make_graph(graph, spec, Purpose::Evaluation)
}

/// Operators that have a gradient.
pub fn differentiable() -> impl Iterator<Item = &'static str> {
    rules::operators()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Update,
    Gradients,
    Evaluation,
}

fn make_graph(graph: &Graph, spec: &TrainingSpec, purpose: Purpose) -> Result<TrainingGraph, GradientError> {
    let Forward { header, mut body, dir, shapes, wanted, inputs, masks, logits } =
        Forward::prepare(graph, spec, purpose != Purpose::Evaluation)?;
    let mut tape = Tape::new(shapes, wanted, spec.provider);
    let factor = (purpose == Purpose::Update && spec.optimizer.is_linear()).then_some(LEARNING_RATE);
    let labels = loss::add(&mut tape, spec, &logits, factor)?;
    let gradients = match purpose {
        Purpose::Evaluation => Vec::new(),
        Purpose::Update | Purpose::Gradients => backward::sweep(&mut tape, &body, spec, &logits, factor)?,
    };
    let (outputs, state) = match purpose {
        Purpose::Evaluation => (vec![String::new(); spec.trainable.len()], Vec::new()),
        Purpose::Gradients => (gradients, Vec::new()),
        Purpose::Update => optimizer::add(&mut tape, spec, &gradients),
    };
    let parameter = |(trainable, output): (&TrainableTensor, String)| Carried {
        shape: tape.known().of(&trainable.name).unwrap_or_default().to_vec(),
        input: trainable.name.clone(),
        output,
    };
    let parameters: Vec<Carried> = spec.trainable.iter().zip(outputs).map(parameter).collect();
    let counts_steps = tape.nodes.iter().flat_map(order::uses).any(|name| name == STEP);
    let float = |tensor: &TensorSpec| make::value(&tensor.name, data_type::FLOAT, &tensor.shape);
    body.input = inputs.iter().chain(masks.iter().map(|mask| &mask.tensor)).map(float).collect();
    body.input.extend([labels, make::value(SAMPLE_WEIGHTS, data_type::FLOAT, &[spec.batch])]);
    let rate = (purpose == Purpose::Update).then_some(LEARNING_RATE);
    let scalars = rate.into_iter().chain(counts_steps.then_some(STEP));
    body.input.extend(scalars.map(|name| make::value(name, data_type::FLOAT, &[])));
    let classes = tape.known().of(&logits).unwrap_or_default().to_vec();
    body.output = vec![make::value(LOSS, data_type::FLOAT, &[]), make::value(&logits, data_type::FLOAT, &classes)];
    connect(&mut body, parameters.iter().chain(&state));
    append(&mut body, tape);
    order::check(&mut body)?;
    let graph = Graph { header, body, dir };
    Ok(TrainingGraph { graph, inputs, masks, parameters, state, logits, counts_steps })
}

/// Makes what is carried inputs and outputs of `body`.
fn connect<'a>(body: &mut GraphProto, carried: impl Iterator<Item = &'a Carried>) {
    let info = |name: &str, shape: &[usize]| -> ValueInfoProto { make::value(name, data_type::FLOAT, shape) };
    for Carried { input, output, shape } in carried {
        body.input.push(info(input, shape));
        if !output.is_empty() {
            body.output.push(info(output, shape));
        }
    }
}

/// Adds what is on `tape` to the forward graph.
fn append(body: &mut GraphProto, tape: Tape) {
    for node in &mut body.node {
        let second = node.output.first().and_then(|output| tape.second_outputs.get(output));
        if let Some(second) = second {
            node.output.truncate(1);
            node.output.push(second.clone());
        }
    }
    body.node.extend(tape.nodes);
    body.initializer.extend(tape.constants);
    // What no node reads, ONNX Runtime would warn of: shapes of gradients that nobody wanted, the rate of a dropout left out.
    let read: HashSet<&str> = body.node.iter().flat_map(order::uses).collect();
    body.initializer.retain(|tensor| read.contains(tensor.name()));
}

#[cfg(test)]
mod tests;
