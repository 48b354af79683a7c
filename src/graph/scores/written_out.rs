//! Softmax, its logarithm and the sigmoid where they are spelt in plain operators, and the numbers that these read.
//!
//! Knows shapes of expressions; what they say of an output is decided by the caller.

use super::{
    Walk,
    node::{HANDS_ON, attribute, input},
    value::Value,
};
use crate::graph::{
    proto::{NodeProto, TensorProto},
    tensors::{self, EXTERNAL, data_type},
};

impl<'a> Walk<'a> {
    /// What `node` ends, if it is the last operator of such a spelling.
    pub(super) fn written_out(&mut self, node: &'a NodeProto, depth: usize) -> Option<Value> {
        let (a, b) = (input(node, 0), input(node, 1));
        match node.op_type() {
            "Div" => self.quotient(a, b, depth),
            "Mul" => {
                let inverse = |name: &'a str| self.maker(name, "Reciprocal").map(|node| input(node, 0));
                match (inverse(a), inverse(b)) {
                    (_, Some(divisor)) => self.quotient(a, divisor, depth),
                    (Some(divisor), _) => self.quotient(b, divisor, depth),
                    _ => None,
                }
            }
            "Sub" if self.is_log_of_sum(b, a) => Some(Value::LOGARITHMS),
            "LpNormalization" if attribute(node, "p").and_then(|p| p.i) == Some(1) && self.value(a, depth).low >= 0.0 => {
                Some(Value::SHARES)
            }
            _ => None,
        }
    }

    /// `a` over `b`, if `b` is the sum of `a`, or `a` plus 1.
    fn quotient(&mut self, a: &'a str, b: &'a str, depth: usize) -> Option<Value> {
        if self.value(a, depth).low < 0.0 {
            return None;
        }
        let sum = self.without_epsilon(b);
        if self.maker(sum, "ReduceSum").or_else(|| self.maker(sum, "ReduceL1")).is_some_and(|sum| self.sums(sum, a)) {
            return Some(Value::SHARES);
        }
        let sum = self.maker(b, "Add")?;
        let plus_one = |of: usize, one: usize| self.same(input(sum, of), a) && self.number(input(sum, one)) == Some(1.0);
        (plus_one(0, 1) || plus_one(1, 0)).then_some(Value::within(0.0, 1.0))
    }

    /// Whether `logarithm` is that of the sum of the exponentials of `of`.
    fn is_log_of_sum(&self, logarithm: &'a str, of: &'a str) -> bool {
        if let Some(node) = self.maker(logarithm, "ReduceLogSumExp") {
            return self.sums(node, of);
        }
        let log = self.maker(logarithm, "Log");
        let sum = log.and_then(|node| self.maker(self.without_epsilon(input(node, 0)), "ReduceSum"));
        let Some(sum) = sum else { return false };
        let exponentials = input(sum, 0);
        self.sums(sum, exponentials) && self.maker(exponentials, "Exp").is_some_and(|node| self.same(input(node, 0), of))
    }

    /// Whether the reduction `node` sums up all values of `tensor`.
    fn sums(&self, node: &'a NodeProto, tensor: &'a str) -> bool {
        if !self.same(input(node, 0), tensor) {
            return false;
        }
        let Some(shape) = self.shapes.get(input(node, 0)) else { return true };
        let axes = attribute(node, "axes").map(|axes| axes.ints.clone()).or_else(|| self.integers(input(node, 1)));
        let Some(axes) = axes else { return self.is_all(shape) };
        let size = |axis: i64| {
            let axis = if axis < 0 { axis + shape.len() as i64 } else { axis };
            usize::try_from(axis).ok().and_then(|axis| shape.get(axis)).copied()
        };
        axes.into_iter().map(size).collect::<Option<Vec<_>>>().is_some_and(|sizes| self.is_all(&sizes))
    }

    /// What is added to a divisor, or bounds it from below, so that it is never 0, left out.
    fn without_epsilon(&self, name: &'a str) -> &'a str {
        let small = |name: &str| self.number(name).is_some_and(|number| number.abs() <= 1e-3);
        let Some(node) = self.producers.get(self.handed_on(name)) else { return name };
        match node.op_type() {
            "Add" | "Max" if small(input(node, 1)) => input(node, 0),
            "Add" | "Max" if small(input(node, 0)) => input(node, 1),
            "Clip" if small(input(node, 1)) && input(node, 2).is_empty() => input(node, 0),
            _ => name,
        }
    }

    /// The node of operator `kind` that makes `name`, through operators that hand it on.
    fn maker(&self, name: &'a str, kind: &str) -> Option<&'a NodeProto> {
        self.producers.get(self.handed_on(name)).copied().filter(|node| node.op_type() == kind)
    }

    fn same(&self, a: &'a str, b: &'a str) -> bool {
        self.handed_on(a) == self.handed_on(b)
    }

    /// The tensor whose values `name` has, through operators that hand them on.
    fn handed_on(&self, mut name: &'a str) -> &'a str {
        for _ in 0..super::MAX_DEPTH {
            match self.producers.get(name) {
                Some(node) if HANDS_ON.contains(&node.op_type()) => name = input(node, 0),
                _ => break,
            }
        }
        name
    }

    /// Whether `name` is stored in the graph.
    pub(super) fn is_stored(&self, name: &str) -> bool {
        match self.dequantized(name) {
            Some(node) => self.is_stored(input(node, 0)),
            None => self.stored(name).is_some(),
        }
    }

    /// The number that all values of the stored tensor `name` are.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        if let Some(node) = self.dequantized(name) {
            let zero = if input(node, 2).is_empty() { 0.0 } else { self.number(input(node, 2))? };
            return Some((self.number(input(node, 0))? - zero) * self.number(input(node, 1))?);
        }
        let constant = self.producers.get(name).filter(|node| node.op_type() == "Constant");
        let plain = constant.and_then(|node| {
            let float = attribute(node, "value_float").and_then(|value| value.f).map(f64::from);
            float.or_else(|| attribute(node, "value_int").and_then(|value| value.i).map(|value| value as f64))
        });
        if plain.is_some() {
            return plain;
        }
        let values = numbers(self.stored(name)?)?;
        let first = *values.first()?;
        values.iter().all(|value| *value == first).then_some(first)
    }

    fn dequantized(&self, name: &str) -> Option<&'a NodeProto> {
        self.producers.get(name).copied().filter(|node| node.op_type() == "DequantizeLinear")
    }

    /// Whole numbers that are stored as `name`.
    fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let constant = self.producers.get(name).filter(|node| node.op_type() == "Constant");
        let plain = constant.and_then(|node| attribute(node, "value_ints")).map(|value| value.ints.clone());
        plain.or_else(|| Some(numbers(self.stored(name)?)?.into_iter().map(|value| value as i64).collect()))
    }

    fn stored(&self, name: &str) -> Option<&'a TensorProto> {
        if let Some(node) = self.producers.get(name).copied() {
            return match node.op_type() {
                "Constant" => attribute(node, "value")?.t.as_ref(),
                // A constant may be stored in another type.
                "Cast" | "Identity" => self.stored(input(node, 0)),
                _ => None,
            };
        }
        self.graph.body.initializer.iter().find(|tensor| tensor.name() == name)
    }
}

/// The values of a tensor that lies in the graph.
fn numbers(tensor: &TensorProto) -> Option<Vec<f64>> {
    if tensor.data_location() == EXTERNAL {
        return None;
    }
    let small = matches!(tensor.data_type(), data_type::UINT8 | data_type::INT8);
    if small && tensor.raw_data.is_none() {
        return Some(tensor.int32_data.iter().map(|&value| value.into()).collect());
    }
    let raw = tensors::raw(tensor)?;
    let words = |length: usize, number: fn(&[u8]) -> Option<f64>| raw.chunks_exact(length).map(number).collect();
    match tensor.data_type() {
        data_type::FLOAT => words(4, |word| Some(f32::from_le_bytes(word.try_into().ok()?).into())),
        data_type::FLOAT16 => words(2, |word| Some(half::f16::from_le_bytes(word.try_into().ok()?).to_f64())),
        data_type::DOUBLE => words(8, |word| Some(f64::from_le_bytes(word.try_into().ok()?))),
        data_type::INT64 => words(8, |word| Some(i64::from_le_bytes(word.try_into().ok()?) as f64)),
        data_type::INT32 => words(4, |word| Some(i32::from_le_bytes(word.try_into().ok()?).into())),
        data_type::UINT8 => words(1, |word| Some(word[0].into())),
        data_type::INT8 => words(1, |word| Some(word[0].cast_signed().into())),
        _ => None,
    }
}
