//! The forward part: what the logits need, parameters as inputs, Dropout made explicit, shapes for the batch size.
//!
//! Knows nothing of gradients.

use std::collections::HashSet;

use super::{DropoutMask, GradientError, TensorSpec, TrainingSpec, op::Op, shapes::Shapes, window::Window};
use crate::graph::{
    Graph, inspect, make,
    order::{self, describe, uses},
    proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
    tensors::data_type,
    weights::Folder,
};

/// Versions of ONNX's operators in which what the rules read and write means the same.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=21;
/// The version whose operators the rules write.
const OPSET: i64 = 17;
/// From this IR version on initializers need not be inputs.
const IR_VERSION: i64 = 8;

/// A forward graph, ready for a backward pass.
pub(super) struct Forward {
    pub(super) header: ModelProto,
    /// Nodes and stored tensors; inputs and outputs are left to the caller.
    pub(super) body: GraphProto,
    pub(super) dir: Option<Folder>,
    pub(super) shapes: Shapes,
    /// Tensors that depend on a trainable parameter, these included.
    pub(super) wanted: HashSet<String>,
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) masks: Vec<DropoutMask>,
    pub(super) logits: String,
}

impl Forward {
    /// What `spec` needs of `graph`; `drops` says whether Dropout leaves values out.
    pub(super) fn prepare(graph: &Graph, spec: &TrainingSpec, drops: bool) -> Result<Self, GradientError> {
        if spec.trainable.is_empty() {
            return Err(GradientError::NothingToTrain);
        }
        let logits = before_softmax(graph, &spec.logits);
        let mut graph = graph.cut(&[&logits])?;
        graph.lift_constants(0)?;
        let header = upgraded(graph.header)?;
        let mut body = graph.body;
        check_types(&body, spec, &logits)?;
        let mut shapes = Shapes::infer(&body, spec.batch);
        let inputs = inputs(&body, &shapes)?;
        if shapes.of(&logits).is_none() {
            return Err(GradientError::NoShape { node: unknown(&body, &shapes), tensor: logits });
        }
        explicit_ceil(&mut body, &shapes);
        let masks = if drops { explicit_dropout(&mut body, &mut shapes) } else { without_dropout(&mut body) };
        let wanted = dependents(&body, spec);
        body.initializer.retain(|tensor| !wanted.contains(tensor.name()));
        body.value_info.clear();
        Ok(Self { header, body, dir: graph.dir, shapes, wanted, inputs, masks, logits })
    }
}

/// `tensor`, or the input of the Softmax that makes it.
fn before_softmax(graph: &Graph, tensor: &str) -> String {
    let producer = graph.body.node.iter().map(|node| Op { node }).find(|op| op.output() == tensor);
    let softmax = producer.filter(|op| op.kind() == "Softmax");
    softmax.map_or(tensor, |op| op.input(0)).to_owned()
}

fn upgraded(mut header: ModelProto) -> Result<ModelProto, GradientError> {
    let is_onnx = |opset: &&mut OperatorSetIdProto| matches!(opset.domain(), "" | "ai.onnx");
    let Some(opset) = header.opset_import.iter_mut().find(is_onnx) else { return Err(GradientError::Opset { found: 0 }) };
    if !OPSETS.contains(&opset.version()) {
        return Err(GradientError::Opset { found: opset.version() });
    }
    opset.version = Some(opset.version().max(OPSET));
    header.ir_version = Some(header.ir_version().max(IR_VERSION));
    Ok(header)
}

/// Parameters are stored float32 tensors.
fn check_types(body: &GraphProto, spec: &TrainingSpec, logits: &str) -> Result<(), GradientError> {
    for trainable in &spec.trainable {
        let stored = body.initializer.iter().find(|tensor| tensor.name() == trainable.name);
        let unknown = || GradientError::UnknownParameter { name: trainable.name.clone(), logits: logits.to_owned() };
        let found = stored.ok_or_else(unknown)?.data_type();
        if found != data_type::FLOAT {
            return Err(GradientError::NotFloat { tensor: trainable.name.clone(), found });
        }
    }
    Ok(())
}

/// The inputs that samples go into.
fn inputs(body: &GraphProto, shapes: &Shapes) -> Result<Vec<TensorSpec>, GradientError> {
    let fed: HashSet<&str> = order::inputs(body).collect();
    let infos = body.input.iter().filter(|info| fed.contains(info.name()));
    let spec = |info: &ValueInfoProto| {
        let (name, found) = (info.name().to_owned(), inspect::elem_type(info));
        if found != data_type::FLOAT {
            return Err(GradientError::NotFloat { tensor: name, found });
        }
        match shapes.of(&name) {
            Some(shape) => Ok(TensorSpec { shape: shape.to_vec(), name }),
            None => Err(GradientError::NoShape { tensor: name, node: None }),
        }
    };
    infos.map(spec).collect()
}

/// The first node whose output's shape is not known.
fn unknown(body: &GraphProto, shapes: &Shapes) -> Option<String> {
    body.node.iter().find(|node| shapes.of(Op { node }.output()).is_none()).map(describe)
}

/// Says the same by padding where ceil mode leaves out a window that would start in the padding: ONNX Runtime runs such pools,
/// but counts that window when it infers shapes.
fn explicit_ceil(body: &mut GraphProto, shapes: &Shapes) {
    for node in &mut body.node {
        let op = Op { node };
        if !matches!(op.kind(), "MaxPool" | "AveragePool") || op.int("ceil_mode", 0) == 0 {
            continue;
        }
        let sides = shapes.of(op.input(0)).and_then(|shape| shape.get(2..));
        let window = sides.and_then(|sides| Window::of(op, op.sizes("kernel_shape").unwrap_or_default(), sides));
        let (Some(sides), Some(window)) = (sides, window) else { continue };
        let Some(end) = window.exact_end(sides) else { continue };
        let counts_padding = op.kind() == "AveragePool" && op.int("count_include_pad", 0) != 0;
        if counts_padding && end.iter().zip(&window.end).any(|(exact, declared)| exact > declared) {
            continue;
        }
        let pads = [window.begin, end].concat();
        node.attribute.retain(|attribute| !matches!(attribute.name(), "ceil_mode" | "auto_pad" | "pads"));
        node.attribute.push(make::sizes("pads", &pads));
    }
}

/// Makes each Dropout that leaves something out a product with an input.
fn explicit_dropout(body: &mut GraphProto, shapes: &mut Shapes) -> Vec<DropoutMask> {
    let mut masks = Vec::new();
    for node in &mut body.node {
        let op = Op { node };
        let Some(rate) = dropout_rate(op, shapes) else { continue };
        let (input, output) = (op.input(0).to_owned(), op.output().to_owned());
        let Some(shape) = shapes.of(&input).filter(|_| rate > 0.0).map(<[usize]>::to_vec) else {
            *node = make::node("Identity", &[&input], &[&output], Vec::new());
            continue;
        };
        let mask = format!("{output}/mask");
        *node = make::node("Mul", &[&input, &mask], &[&output], Vec::new());
        shapes.set(&mask, shape.clone());
        masks.push(DropoutMask { tensor: TensorSpec { name: mask, shape }, rate });
    }
    masks
}

fn without_dropout(body: &mut GraphProto) -> Vec<DropoutMask> {
    for node in &mut body.node {
        let op = Op { node };
        if op.kind() == "Dropout" {
            *node = make::node("Identity", &[op.input(0)], &[op.output()], Vec::new());
        }
    }
    Vec::new()
}

/// The share that a Dropout leaves out; `None` for other operators.
fn dropout_rate(op: Op<'_>, shapes: &Shapes) -> Option<f32> {
    const DEFAULT: f32 = 0.5;
    let rate = || op.optional(1).map_or(Some(DEFAULT), |ratio| shapes.scalar(ratio)).unwrap_or(0.0);
    (op.kind() == "Dropout").then(rate)
}

/// The trainable parameters, and all that depends on them.
fn dependents(body: &GraphProto, spec: &TrainingSpec) -> HashSet<String> {
    let mut dependents: HashSet<String> = spec.trainable.iter().map(|trainable| trainable.name.clone()).collect();
    let depends = |node: &NodeProto, on: &HashSet<String>| uses(node).iter().any(|name| on.contains(*name));
    for node in &body.node {
        if depends(node, &dependents) {
            dependents.extend(order::outputs(node).map(str::to_owned));
        }
    }
    dependents
}
