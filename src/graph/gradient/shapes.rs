//! Shapes of all tensors that the rules may meet, for a fixed batch size.
//!
//! Inferred operator by operator; what an unknown operator makes is taken from what the model says of it.

use std::collections::HashMap;

use super::{
    op::{Op, position},
    window::Window,
};
use crate::graph::{
    Dim,
    inspect::{elem_type, shape},
    proto::{GraphProto, TensorProto, ValueInfoProto},
    stored::sides,
    tensors::{self, data_type},
};

/// Shapes by tensor, and the values of small stored tensors.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes {
    known: HashMap<String, Vec<usize>>,
    constants: HashMap<String, TensorProto>,
}

impl Shapes {
    /// The shapes in `body`, whose first dimensions of unknown size are `batch`.
    pub(super) fn infer(body: &GraphProto, batch: usize) -> Self {
        let mut shapes = Self::default();
        for tensor in &body.initializer {
            shapes.known.insert(tensor.name().to_owned(), sides(tensor));
            shapes.constants.insert(tensor.name().to_owned(), tensor.clone());
        }
        let declared: HashMap<&str, Vec<usize>> =
            body.value_info.iter().chain(&body.output).filter_map(|info| Some((info.name(), resolve(info, batch)?))).collect();
        for input in &body.input {
            if let Some(sizes) = resolve(input, batch) {
                shapes.known.entry(input.name().to_owned()).or_insert(sizes);
            }
        }
        for node in &body.node {
            let op = Op { node };
            let found = shapes.output(op).or_else(|| declared.get(op.output()).cloned());
            shapes.known.extend(found.map(|sizes| (op.output().to_owned(), sizes)));
        }
        shapes
    }

    pub(super) fn of(&self, tensor: &str) -> Option<&[usize]> {
        self.known.get(tensor).map(Vec::as_slice)
    }

    pub(super) fn set(&mut self, tensor: &str, sizes: Vec<usize>) {
        self.known.insert(tensor.to_owned(), sizes);
    }

    /// The values of a stored int64 tensor.
    pub(super) fn integers(&self, tensor: &str) -> Option<Vec<i64>> {
        let tensor = self.constants.get(tensor).filter(|tensor| tensor.data_type() == data_type::INT64)?;
        let raw = tensors::raw(tensor)?;
        Some(raw.chunks_exact(8).map(|word| i64::from_le_bytes(word.try_into().expect("chunks are of 8 bytes"))).collect())
    }

    /// The value of a stored float32 scalar.
    pub(super) fn scalar(&self, tensor: &str) -> Option<f32> {
        let tensor = self.constants.get(tensor).filter(|tensor| tensor.data_type() == data_type::FLOAT)?;
        let raw = tensors::raw(tensor)?;
        Some(f32::from_le_bytes(raw.get(..4)?.try_into().ok()?))
    }

    /// The axes of `op`: attribute or input `position`, from the front; `None` when they are not known.
    pub(super) fn axes(&self, op: Op<'_>, input: usize, rank: usize) -> Option<Vec<usize>> {
        let axes = match (op.ints("axes"), op.optional(input)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(tensor)) => self.integers(tensor)?,
            (None, None) => return None,
        };
        axes.into_iter().map(|axis| position(axis, rank)).collect()
    }

    fn output(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let first = || self.of(op.input(0)).map(<[usize]>::to_vec);
        match op.kind() {
            "Relu" | "Clip" | "Sigmoid" | "Tanh" | "BatchNormalization" | "Dropout" | "Identity" | "Softmax" | "LogSoftmax"
            | "LRN" | "LeakyRelu" | "Elu" | "Cast" | "HardSigmoid" | "HardSwish" | "Neg" | "Exp" | "Sqrt" | "Erf" => first(),
            "Conv" => self.conv(op),
            "MaxPool" | "AveragePool" => self.pool(op),
            "GlobalAveragePool" | "GlobalMaxPool" => first().filter(|sizes| sizes.len() > 2).map(|sizes| pooled(&sizes)),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "PRelu" => broadcast(self.of(op.input(0))?, self.of(op.input(1))?),
            "Concat" => self.concat(op),
            "Gemm" => self.gemm(op),
            "MatMul" => self.matmul(op),
            "Flatten" => {
                let sizes = first()?;
                let axis = op.int("axis", 1);
                let axis = if usize::try_from(axis) == Ok(sizes.len()) { sizes.len() } else { position(axis, sizes.len())? };
                Some(vec![sizes[..axis].iter().product(), sizes[axis..].iter().product()])
            }
            "Reshape" => self.reshape(op),
            "Transpose" => {
                let sizes = first()?;
                let turned = (0..sizes.len()).rev().collect();
                let perm = if op.ints("perm").is_some() { op.sizes("perm")? } else { turned };
                perm.into_iter().map(|axis| sizes.get(axis).copied()).collect()
            }
            "Squeeze" | "Unsqueeze" | "ReduceMean" | "ReduceSum" => self.reduced(op),
            "Pad" => self.pad(op),
            _ => None,
        }
    }

    fn conv(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let (input, weight) = (self.of(op.input(0))?, self.of(op.input(1))?);
        let (spatial, kernel) = (input.get(2..)?, weight.get(2..)?.to_vec());
        let output = Window::of(op, kernel, spatial)?.output(spatial)?;
        Some([input[0], weight[0]].into_iter().chain(output).collect())
    }

    fn pool(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let input = self.of(op.input(0))?;
        let output = Window::of(op, op.sizes("kernel_shape")?, input.get(2..)?)?.output(&input[2..])?;
        Some(input[..2].iter().copied().chain(output).collect())
    }

    fn concat(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let mut sizes = self.of(op.input(0))?.to_vec();
        let axis = op.axis("axis", 1, sizes.len())?;
        let sides: Option<Vec<usize>> = op.inputs().map(|name| self.of(name)?.get(axis).copied()).collect();
        sizes[axis] = sides?.iter().sum();
        Some(sizes)
    }

    fn gemm(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let side = |input: usize, turned: &str, straight: usize| {
            let axis = if op.int(turned, 0) == 0 { straight } else { 1 - straight };
            self.of(op.input(input))?.get(axis).copied()
        };
        Some(vec![side(0, "transA", 0)?, side(1, "transB", 1)?])
    }

    fn matmul(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let (left, right) = (self.of(op.input(0))?, self.of(op.input(1))?);
        if left.len() < 2 || right.len() < 2 {
            return None;
        }
        let mut sizes = broadcast(&left[..left.len() - 2], &right[..right.len() - 2])?;
        sizes.extend([left[left.len() - 2], right[right.len() - 1]]);
        Some(sizes)
    }

    fn reshape(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let input = self.of(op.input(0))?;
        let elements: usize = input.iter().product();
        let target = self.integers(op.input(1))?;
        let keeps_zero = op.int("allowzero", 0) != 0;
        let mut sizes = Vec::with_capacity(target.len());
        let mut open = None;
        for (axis, &side) in target.iter().enumerate() {
            sizes.push(match side {
                -1 => {
                    open = Some(axis);
                    1
                }
                0 if !keeps_zero => *input.get(axis)?,
                side => usize::try_from(side).ok()?,
            });
        }
        if let Some(axis) = open {
            sizes[axis] = elements.checked_div(sizes.iter().product())?;
        }
        (sizes.iter().product::<usize>() == elements).then_some(sizes)
    }

    fn reduced(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let mut sizes = self.of(op.input(0))?.to_vec();
        if op.kind() == "Unsqueeze" {
            let count = op.ints("axes").map(<[i64]>::len).or_else(|| self.integers(op.input(1)).map(|axes| axes.len()))?;
            let mut axes = self.axes(op, 1, sizes.len() + count)?;
            axes.sort_unstable();
            axes.into_iter().for_each(|axis| sizes.insert(axis, 1));
            return Some(sizes);
        }
        let axes = self.axes(op, 1, sizes.len())?;
        if op.kind() != "Squeeze" && op.int("keepdims", 1) != 0 {
            axes.into_iter().for_each(|axis| sizes[axis] = 1);
            return Some(sizes);
        }
        let kept = |axis: &usize| !axes.contains(axis);
        Some((0..sizes.len()).filter(kept).map(|axis| sizes[axis]).collect())
    }

    fn pad(&self, op: Op<'_>) -> Option<Vec<usize>> {
        let sizes = self.of(op.input(0))?;
        let pads = self.integers(op.input(1)).filter(|pads| pads.len() == 2 * sizes.len() && op.optional(3).is_none())?;
        let side = |(axis, &size): (usize, &usize)| size.checked_add_signed((pads[axis] + pads[axis + sizes.len()]) as isize);
        sizes.iter().enumerate().map(side).collect()
    }
}

/// The shape that `left` and `right` are broadcast to.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let side = |sizes: &[usize], axis: usize| (axis + sizes.len()).checked_sub(rank).map_or(1, |axis| sizes[axis]);
    let merged = |axis| match (side(left, axis), side(right, axis)) {
        (1, side) | (side, 1) => Some(side),
        (left, right) => (left == right).then_some(left),
    };
    (0..rank).map(merged).collect()
}

fn pooled(sizes: &[usize]) -> Vec<usize> {
    sizes.iter().enumerate().map(|(axis, &side)| if axis < 2 { side } else { 1 }).collect()
}

/// What the model says of a float32 tensor, when all but the batch is known.
fn resolve(info: &ValueInfoProto, batch: usize) -> Option<Vec<usize>> {
    if elem_type(info) != data_type::FLOAT {
        return None;
    }
    let side = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(side) => usize::try_from(*side).ok(),
        Dim::Symbolic(_) | Dim::Unknown => (axis == 0).then_some(batch),
    };
    shape(info)?.iter().enumerate().map(side).collect()
}
