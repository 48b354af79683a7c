//! One operator at a time: what it makes of what is known of its inputs.
//!
//! Knows no values, and not what an output means.

use super::{
    Walk,
    value::{Form, Value},
};
use crate::graph::proto::{AttributeProto, NodeProto};

/// Operators that hand on their first input's values, rounded or in another shape.
pub(super) const HANDS_ON: [&str; 13] = [
    "Cast",
    "CastLike",
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
    "Expand",
    "Tile",
];

/// Matrices and convolutions, quantised ones and ONNX Runtime's own among them, and normalisations behind them.
const UNBOUNDED: [&str; 18] = [
    "Gemm",
    "MatMul",
    "Conv",
    "ConvTranspose",
    "Einsum",
    "BatchNormalization",
    "MatMulInteger",
    "ConvInteger",
    "QLinearMatMul",
    "QLinearConv",
    "QGemm",
    "FusedGemm",
    "FusedMatMul",
    "FusedConv",
    "MatMulNBits",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "MatMulBnb4",
];

impl<'a> Walk<'a> {
    /// What is known of `name`.
    pub(super) fn value(&mut self, name: &'a str, depth: usize) -> Value {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let value = match self.producers.get(name).copied() {
            Some(node) if depth > 0 => self.made(node, depth - 1),
            _ => self.number(name).map_or(Value::ANY, |number| Value::within(number, number)),
        };
        self.known.insert(name, value);
        value
    }

    /// What is known of the first output of `node`.
    fn made(&mut self, node: &'a NodeProto, depth: usize) -> Value {
        if !matches!(node.domain(), "" | "ai.onnx" | "com.microsoft") {
            return Value::ANY;
        }
        if let Some(written_out) = self.written_out(node, depth) {
            return written_out;
        }
        let first = input(node, 0);
        match node.op_type() {
            kind if HANDS_ON.contains(&kind) => self.value(first, depth),
            kind if UNBOUNDED.contains(&kind) && attribute(node, "activation").is_none() => self.product(node, depth),
            "Constant" => self.number(&node.output[0]).map_or(Value::ANY, |number| Value::within(number, number)),
            "Softmax" | "QLinearSoftmax" => self.if_over_classes(node, Value::SHARES, Value::within(0.0, 1.0)),
            "LogSoftmax" => self.if_over_classes(node, Value::LOGARITHMS, Value::within(f64::NEG_INFINITY, 0.0)),
            "Sigmoid" | "HardSigmoid" | "QLinearSigmoid" => Value::within(0.0, 1.0),
            "Tanh" | "Softsign" => Value::within(-1.0, 1.0),
            "Softplus" | "Abs" => Value::within(0.0, f64::INFINITY),
            "Relu" => self.value(first, depth).clamped(0.0, f64::INFINITY),
            "Clip" => self.clip(node, depth),
            "Exp" => match self.value(first, depth) {
                Value { form: Form::Logarithms, .. } => Value::SHARES,
                other => other.rising(f64::exp),
            },
            "Log" => match self.value(first, depth) {
                Value { form: Form::Shares { total }, .. } if (total - 1.0).abs() < 1e-6 => Value::LOGARITHMS,
                _ => Value::ANY,
            },
            "Neg" => self.value(first, depth).negated(),
            "Reciprocal" => self.value(first, depth).under(1.0),
            "GlobalAveragePool"
            | "AveragePool"
            | "ReduceMean"
            | "QLinearGlobalAveragePool"
            | "QLinearAveragePool"
            | "QLinearReduceMean" => self.value(first, depth),
            // Some of the logarithms are logarithms still.
            "Slice" | "Gather" | "Split" if self.value(first, depth).form == Form::Logarithms => Value::LOGARITHMS,
            "GlobalMaxPool" | "MaxPool" | "ReduceMax" | "ReduceMin" | "Slice" | "Gather" | "Split" => {
                self.value(first, depth).apart()
            }
            "ReduceSum" if self.value(first, depth).low >= 0.0 => Value::within(0.0, f64::INFINITY),
            _ => self.combined(node, depth),
        }
    }

    /// What is known of a sum of products: any number, unless it weighs what lies within 0 … 1 already, as an ensemble's
    /// probabilities are averaged, or fine classes summed to coarse ones.
    fn product(&mut self, node: &'a NodeProto, depth: usize) -> Value {
        let made = node.input.iter().filter(|name| !self.is_stored(name)).collect::<Vec<_>>();
        let weighs = made.into_iter().map(|name| self.value(name, depth)).any(|value| value.low >= 0.0 && value.high <= 1.0);
        if weighs { Value::ANY } else { Value::UNBOUNDED }
    }

    /// What is known of a combination of several tensors.
    fn combined(&mut self, node: &'a NodeProto, depth: usize) -> Value {
        let values = node.input.iter().map(|name| self.value(name, depth)).collect::<Vec<_>>().into_iter();
        let both = (values.as_slice().first().copied().unwrap_or(Value::ANY), values.as_slice().get(1).copied());
        match (node.op_type(), both) {
            ("Add", (a, Some(b))) => a.plus(b),
            ("QLinearAdd", (a, _)) if a.form == Form::Unbounded => Value::UNBOUNDED,
            ("Sub", (a, Some(b))) if b.form == Form::Unbounded || a.form == Form::Unbounded => {
                Value { form: Form::Unbounded, ..Value::ANY }
            }
            ("Sub", (a, Some(b))) => a.plus(b.negated()),
            ("Mul", (a, Some(b))) if self.is_scaled(node, a, b) => Value::UNBOUNDED,
            ("Mul", (a, Some(b))) => a.multiplied(b),
            ("Div", (a, Some(b))) if self.is_scaled(node, a, b) => Value::UNBOUNDED,
            ("Div", (a, Some(b))) => match (a.constant(), b.constant()) {
                (_, Some(divisor)) if divisor != 0.0 => a.times(1.0 / divisor),
                (Some(numerator), _) => b.under(numerator),
                _ => Value::ANY,
            },
            ("Sum", _) => values.reduce(Value::plus).unwrap_or(Value::ANY),
            ("Mean", _) => {
                let count = values.len().max(1) as f64;
                values.reduce(Value::plus).unwrap_or(Value::ANY).times(1.0 / count)
            }
            ("Concat", (only, None)) => only,
            ("Concat" | "Max" | "Min", _) => values.map(Value::apart).reduce(Value::or).unwrap_or(Value::ANY),
            _ => Value::ANY,
        }
    }

    /// Whether a product or quotient only scales what is unbounded: by stored numbers, or by one, as dynamic quantisation does.
    fn is_scaled(&self, node: &NodeProto, a: Value, b: Value) -> bool {
        let is_product = node.op_type() == "Mul";
        let one = |name: &str| is_product && self.shapes.get(name).is_some_and(|shape| shape.iter().product::<usize>() == 1);
        let scales = |position| self.is_stored(input(node, position)) || one(input(node, position));
        a.form == Form::Unbounded && scales(1) || b.form == Form::Unbounded && scales(0) && is_product
    }

    fn clip(&mut self, node: &'a NodeProto, depth: usize) -> Value {
        let value = self.value(input(node, 0), depth);
        let bound = |name: &str, position: usize| {
            let attribute = attribute(node, name).and_then(|attribute| attribute.f).map(f64::from);
            attribute.or_else(|| self.number(input(node, position)))
        };
        let (low, high) = (bound("min", 1).unwrap_or(f64::NEG_INFINITY), bound("max", 2).unwrap_or(f64::INFINITY));
        if low > high {
            return Value::ANY;
        }
        let clamped = value.clamped(low, high);
        // Bounds that let shares through, or as good as, leave them what they are; bounds on both sides end what is unbounded.
        match value.form {
            Form::Shares { .. } if low <= 1e-3 && high >= 1.0 - 1e-3 => clamped,
            Form::Unbounded if low.is_infinite() || high.is_infinite() => clamped,
            _ => Value { form: Form::Other, ..clamped },
        }
    }

    /// `normal` if the softmax of `node` runs over the classes, `other` if over something else.
    fn if_over_classes(&self, node: &'a NodeProto, normal: Value, other: Value) -> Value {
        let flattens = match attribute(node, "opset").and_then(|attribute| attribute.i) {
            Some(opset) => opset < 13,
            None => self.graph.opset() < 13,
        };
        let axis = attribute(node, "axis").and_then(|attribute| attribute.i).unwrap_or(if flattens { 1 } else { -1 });
        let shape = self.shapes.get(input(node, 0)).or_else(|| self.shapes.get(node.output[0].as_str()));
        let Some(shape) = shape else { return normal };
        let from = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).unwrap_or(usize::MAX);
        let axes = if flattens { shape.get(from..) } else { shape.get(from..from.saturating_add(1)) };
        // Of a vector too, some of which the output may leave out.
        let sizes = shape.get(1..).unwrap_or_default();
        let is_vector = |axes: &[usize]| sizes.iter().filter(|&&size| size > 1).eq(axes.iter().filter(|&&size| size > 1));
        let is_whole = |axes: &[usize]| is_vector(axes) && sizes.iter().filter(|&&size| size > 1).count() == 1;
        if axes.is_some_and(|axes| self.is_all(axes) || is_whole(axes)) { normal } else { other }
    }

    /// Whether dimensions of these sizes hold all values of an image.
    pub(super) fn is_all(&self, sizes: &[usize]) -> bool {
        sizes.iter().product::<usize>() == self.values
    }
}

/// The tensor at `position`; empty, as no tensor is called, where there is none.
pub(super) fn input(node: &NodeProto, position: usize) -> &str {
    node.input.get(position).map_or("", String::as_str)
}

pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}
