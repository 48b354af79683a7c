//! What rules write on: new nodes and constants, gradients per tensor, and what is known of the forward graph.
//!
//! Knows no rule and no optimizer.

use std::collections::{HashMap, HashSet};

use super::{error::Refusal, op::Op, shapes::Shapes};
use crate::{
    config::Provider,
    graph::{
        make::{self, floats, ints},
        proto::{AttributeProto, NodeProto, TensorProto},
    },
};

/// The backward graph in the making.
pub(super) struct Tape {
    pub(super) nodes: Vec<NodeProto>,
    pub(super) constants: Vec<TensorProto>,
    /// Where the graph will run.
    pub(super) provider: Provider,
    /// Forward nodes, by first output, that must give a second one, and its name.
    pub(super) second_outputs: HashMap<String, String>,
    shapes: Shapes,
    /// Tensors that depend on a trainable parameter.
    wanted: HashSet<String>,
    /// Contributions to the gradient of each tensor.
    gradients: HashMap<String, Vec<String>>,
    /// What the names of new tensors begin with.
    scope: String,
    count: usize,
}

impl Tape {
    pub(super) fn new(shapes: Shapes, wanted: HashSet<String>, provider: Provider) -> Self {
        Self {
            nodes: Vec::new(),
            constants: Vec::new(),
            provider,
            second_outputs: HashMap::new(),
            shapes,
            wanted,
            gradients: HashMap::new(),
            scope: String::new(),
            count: 0,
        }
    }

    /// New tensors are called `SCOPE/gradient/…` from here on.
    pub(super) fn enter(&mut self, scope: &str) {
        scope.clone_into(&mut self.scope);
    }

    /// Adds a node with one output and gives its name back.
    pub(super) fn emit(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.fresh();
        self.nodes.push(make::node(op, inputs, &[&output], attributes));
        output
    }

    /// Adds a node with `count` outputs.
    pub(super) fn emit_several(
        &mut self,
        op: &str,
        inputs: &[&str],
        count: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        let outputs: Vec<String> = (0..count).map(|_| self.fresh()).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.nodes.push(make::node(op, inputs, &names, attributes));
        outputs
    }

    /// Adds a node whose output is called `output`.
    pub(super) fn emit_as(&mut self, output: &str, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) {
        self.nodes.push(make::node(op, inputs, &[output], attributes));
    }

    pub(super) fn fresh(&mut self) -> String {
        self.count += 1;
        format!("{}/gradient/{}", self.scope, self.count)
    }

    /// A constant list of whole numbers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.fresh();
        self.constants.push(make::integers(&name, &[values.len()], values));
        name
    }

    /// A constant list of sizes.
    pub(super) fn sizes(&mut self, values: &[usize]) -> String {
        let values: Vec<i64> = values.iter().map(|&value| make::dim(value)).collect();
        self.integers(&values)
    }

    /// A constant number.
    pub(super) fn scalar(&mut self, value: f32) -> String {
        self.floats(&[], &[value])
    }

    /// A constant tensor.
    pub(super) fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.fresh();
        self.constants.push(floats(&name, shape, values));
        name
    }

    pub(super) fn reshape(&mut self, tensor: &str, shape: &[usize]) -> String {
        let shape = self.sizes(shape);
        self.emit("Reshape", &[tensor, &shape], Vec::new())
    }

    pub(super) fn transpose(&mut self, tensor: &str, perm: &[i64]) -> String {
        self.emit("Transpose", &[tensor], vec![ints("perm", perm.iter().copied())])
    }

    /// The sum over `axes`, which stay with side 1 or go.
    pub(super) fn sum(&mut self, tensor: &str, axes: &[usize], keep: bool) -> String {
        let axes = self.sizes(axes);
        self.emit("ReduceSum", &[tensor, &axes], vec![make::int("keepdims", i64::from(keep))])
    }

    /// `op` of a tensor of `shape` and a scalar.
    ///
    /// ONNX Runtime's CPU kernels take 25 times as long to broadcast a scalar over shapes with sides of 1, as pointwise
    /// kernels have; these are made flat for it.
    pub(super) fn with_scalar(&mut self, op: &str, tensor: &str, scalar: &str, shape: &[usize]) -> String {
        if !shape.contains(&1) {
            return self.emit(op, &[tensor, scalar], Vec::new());
        }
        let flat = self.reshape(tensor, &[shape.iter().product()]);
        let result = self.emit(op, &[&flat, scalar], Vec::new());
        self.reshape(&result, shape)
    }

    /// The gradient of something of shape `to` that was broadcast to shape `from`.
    pub(super) fn unbroadcast(&mut self, gradient: &str, from: &[usize], to: &[usize]) -> String {
        let lead = from.len() - to.len();
        let spread = |axis: &usize| *axis < lead || to[axis - lead] == 1 && from[*axis] != 1;
        let axes: Vec<usize> = (0..from.len()).filter(spread).collect();
        if axes.is_empty() {
            return gradient.to_owned();
        }
        let sum = self.sum(gradient, &axes, true);
        if lead == 0 { sum } else { self.reshape(&sum, to) }
    }

    /// The shape of a forward tensor.
    pub(super) fn shape(&self, tensor: &str) -> Result<Vec<usize>, Refusal> {
        let shape = self.shapes.of(tensor).map(<[usize]>::to_vec);
        shape.ok_or_else(|| Refusal::UnknownShape(tensor.to_owned()))
    }

    pub(super) fn known(&self) -> &Shapes {
        &self.shapes
    }

    /// Whether a gradient with respect to `tensor` is of use.
    pub(super) fn wants(&self, tensor: &str) -> bool {
        self.wanted.contains(tensor)
    }

    /// Adds `gradient` to what is known of the gradient with respect to `tensor`.
    pub(super) fn give(&mut self, tensor: &str, gradient: String) {
        if self.wants(tensor) {
            self.gradients.entry(tensor.to_owned()).or_default().push(gradient);
        }
    }

    /// The whole gradient with respect to `tensor`; `None` when the loss does not depend on it.
    pub(super) fn gradient(&mut self, tensor: &str) -> Option<String> {
        // One by one: the CPU kernel of Sum runs on one thread, that of Add on all.
        let parts = self.gradients.remove(tensor)?;
        parts.into_iter().reduce(|sum, part| self.emit("Add", &[&sum, &part], Vec::new()))
    }

    /// Makes the forward node `op` give its second output, and its name.
    pub(super) fn second_output(&mut self, op: Op<'_>) -> String {
        let name = self.second_outputs.entry(op.output().to_owned());
        name.or_insert_with(|| format!("{}/gradient/second", op.output())).clone()
    }
}
