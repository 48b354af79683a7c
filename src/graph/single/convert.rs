//! From node to node in float32: constants folded, casts between floats left out, quantised activations cut to their range.
//!
//! Knows the operators that change the type of numbers, and no other.

use std::collections::{HashMap, HashSet};

use super::values::is_read;
use super::{SUFFIX, Stored, is_other_float, rename};
use crate::graph::{
    Error, Graph,
    inspect::elem_type,
    make::{self, floats, int},
    op::Op,
    order,
    proto::{NodeProto, TensorProto, TensorType, TypeValue, ValueInfoProto},
    stored::sides,
    tensors::data_type,
};

/// Operators whose first output is never a float.
const WHOLE: [&str; 20] = [
    "And",
    "ArgMax",
    "ArgMin",
    "ConvInteger",
    "DynamicQuantizeLinear",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "MatMulInteger",
    "Multinomial",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "QuantizeLinear",
    "Shape",
    "Size",
];

/// `graph` in float32, as [`Graph::in_float32`] says.
pub(super) fn convert(graph: &Graph, stored: Stored) -> Result<Graph, Error> {
    let mut graph = graph.clone();
    graph.lift_constants(0)?;
    let nodes = std::mem::take(&mut graph.body.node);
    let quantizers = nodes.iter().filter(|node| Op { node }.kind() == "QuantizeLinear");
    let quantizers = quantizers.map(|node| (Op { node }.output().to_owned(), node.clone())).collect();
    let whole = whole_inputs(&graph);
    let taken = nodes.iter().flat_map(order::outputs).map(str::to_owned).collect();
    let mut conversion = Conversion { graph, stored, quantizers, whole, names: HashMap::new(), taken };
    for node in nodes {
        conversion.node(node)?;
    }
    Ok(conversion.finish())
}

/// Inputs, stored tensors and others that are declared as no floats.
fn whole_inputs(graph: &Graph) -> HashSet<String> {
    let is_float = |kind: i32| kind == data_type::FLOAT || is_other_float(kind);
    let declared = graph.body.value_info.iter().filter(|info| elem_type(info) != 0);
    let inputs = graph.body.input.iter().chain(declared).filter(|info| !is_float(elem_type(info)));
    let inputs = inputs.map(|info| info.name().to_owned());
    let stored = graph.body.initializer.iter().filter(|tensor| !is_float(tensor.data_type()));
    inputs.chain(stored.map(|tensor| tensor.name().to_owned())).collect()
}

struct Conversion {
    /// The graph, with the nodes converted so far.
    graph: Graph,
    stored: Stored,
    /// Nodes that quantise, by output.
    quantizers: HashMap<String, NodeProto>,
    /// Tensors that are no floats.
    whole: HashSet<String>,
    /// What tensors are called now.
    names: HashMap<String, String>,
    /// Names of what nodes make.
    taken: HashSet<String>,
}

impl Conversion {
    fn node(&mut self, mut node: NodeProto) -> Result<(), Error> {
        let op = Op { node: &node };
        match op.kind() {
            "DequantizeLinear" => {
                if self.weight(op)? {
                    return Ok(());
                }
                if let Some(clip) = self.activation(op)? {
                    self.graph.body.node.push(clip);
                    return Ok(());
                }
            }
            "Cast" if self.is_cast_to_float(op) => {
                if self.whole.contains(op.input(0)) {
                    node.attribute = vec![int("to", data_type::FLOAT.into())];
                } else {
                    return self.drop_cast(&node);
                }
            }
            _ => {}
        }
        self.push(node)
    }

    fn is_cast_to_float(&self, op: Op<'_>) -> bool {
        i32::try_from(op.int("to", 0)).is_ok_and(|kind| kind == data_type::FLOAT || is_other_float(kind))
    }

    /// Adds `node` with the names that its inputs have now, its stored floats in float32.
    fn push(&mut self, mut node: NodeProto) -> Result<(), Error> {
        let op = Op { node: &node };
        let is_whole = |(at, output): &(usize, &String)| {
            let by_operator = match (op.kind(), *at) {
                ("Cast", _) => !self.is_cast_to_float(op),
                ("DequantizeLinear", _) | ("DynamicQuantizeLinear", 1) => false,
                ("Where" | "CastLike", _) => self.whole.contains(op.input(1)),
                ("OneHot", _) => self.whole.contains(op.input(2)),
                ("TopK" | "MaxPool" | "Unique" | "Dropout", 1..) => true,
                (kind, _) => WHOLE.contains(&kind) || self.whole.contains(op.input(0)),
            };
            by_operator || self.whole.contains(*output)
        };
        let whole: Vec<String> = node.output.iter().enumerate().filter(is_whole).map(|(_, output)| output.clone()).collect();
        self.whole.extend(whole);
        for input in &node.input {
            self.store(input)?;
        }
        rename(&mut node.input, &self.names);
        for tensor in node.attribute.iter_mut().filter_map(|attribute| attribute.t.as_mut()) {
            if is_other_float(tensor.data_type()) {
                let name = tensor.name().to_owned();
                if let Some(values) = self.graph.values(tensor)? {
                    *tensor = floats(&name, &sides(tensor), &values);
                }
            }
        }
        self.graph.body.node.push(node);
        Ok(())
    }

    /// Makes sure that a stored float is there in float32.
    fn store(&mut self, name: &str) -> Result<(), Error> {
        if self.names.contains_key(name) {
            return Ok(());
        }
        let stored = self.graph.body.initializer.iter().find(|tensor| tensor.name() == name);
        let Some(tensor) = stored.filter(|tensor| is_other_float(tensor.data_type())).cloned() else { return Ok(()) };
        if let Some(values) = self.values(&tensor)? {
            self.keep(name, &sides(&tensor), &values);
        }
        Ok(())
    }

    /// The values of a stored tensor that becomes another; none where they are left out.
    fn values(&self, tensor: &TensorProto) -> Result<Option<Vec<f32>>, Error> {
        match self.stored {
            Stored::Read => self.graph.values(tensor),
            Stored::LeftOut => Ok(is_read(tensor.data_type()).then(Vec::new)),
        }
    }

    /// Stores `values` for what was called `name`.
    fn keep(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let mut single = self.graph.free_name(name);
        while self.taken.contains(&single) {
            single = format!("{single}/{}", SUFFIX);
        }
        self.graph.body.initializer.push(floats(&single, shape, values));
        self.names.insert(name.to_owned(), single);
    }

    /// A cast between floats is the tensor itself: a stored one under its own name, any other under both.
    fn drop_cast(&mut self, node: &NodeProto) -> Result<(), Error> {
        let op = Op { node };
        self.store(op.input(0))?;
        let input = self.names.get(op.input(0)).map_or(op.input(0), String::as_str).to_owned();
        if self.graph.body.initializer.iter().any(|tensor| tensor.name() == input) {
            self.names.insert(op.output().to_owned(), input);
        } else {
            self.graph.body.node.push(make::node("Identity", &[&input], &[op.output()], Vec::new()));
        }
        Ok(())
    }

    /// Stores what `op` reads back from a stored tensor; whether it does.
    fn weight(&mut self, op: Op<'_>) -> Result<bool, Error> {
        let Some(tensor) = self.stored(op.input(0)) else { return Ok(false) };
        let Some(values) = self.dequantized(op, &tensor)? else { return Ok(false) };
        self.keep(op.output(), &sides(&tensor), &values);
        Ok(true)
    }

    /// The values of the stored tensor that `op` reads; `None` when it is not quantised with constants by tensor or by channel.
    fn dequantized(&self, op: Op<'_>, tensor: &TensorProto) -> Result<Option<Vec<f32>>, Error> {
        let Some(scale) = self.stored(op.input(1)).filter(|_| op.int("block_size", 0) == 0) else { return Ok(None) };
        let zero = match op.optional(2).map(|name| self.stored(name)) {
            None => None,
            Some(None) => return Ok(None),
            Some(Some(zero)) => match self.graph.values(&zero)? {
                None => return Ok(None),
                zero => zero,
            },
        };
        let (Some(values), Some(scale)) = (self.values(tensor)?, self.graph.values(&scale)?) else { return Ok(None) };
        let sides = sides(tensor);
        let axis = op.axis("axis", 1, sides.len()).unwrap_or(0);
        let inner = sides.iter().skip(axis + 1).product::<usize>().max(1);
        let channel = |index: usize| if scale.len() == 1 { 0 } else { index / inner % scale.len() };
        let fits = scale.len() == 1 || sides.get(axis) == Some(&scale.len());
        if !fits || zero.as_ref().is_some_and(|zero| zero.len() != scale.len()) {
            return Ok(None);
        }
        let zero = |channel: usize| zero.as_ref().map_or(0.0, |zero| zero[channel]);
        let value = |(index, value): (usize, f32)| (value - zero(channel(index))) * scale[channel(index)];
        Ok(Some(values.into_iter().enumerate().map(value).collect()))
    }

    /// What stands for an activation that is quantised and read back by `op`: itself, within the range that the integers had.
    fn activation(&mut self, op: Op<'_>) -> Result<Option<NodeProto>, Error> {
        let Some(quantizer) = self.quantizers.get(op.input(0)).cloned() else { return Ok(None) };
        let quantizer = Op { node: &quantizer };
        let Some(scale) = self.scalar(op.input(1))? else { return Ok(None) };
        let kind = self.quantized_type(quantizer);
        let zero = match op.optional(2) {
            Some(name) => match self.scalar(name)? {
                Some(zero) => zero,
                None => return Ok(None),
            },
            None => 0.0,
        };
        let (least, most) = match kind {
            data_type::UINT8 => (0.0, 255.0),
            data_type::INT8 => (-128.0, 127.0),
            data_type::UINT16 => (0.0, 65_535.0),
            data_type::INT16 => (-32_768.0, 32_767.0),
            _ => return Ok(None),
        };
        self.store(quantizer.input(0))?;
        let input = self.names.get(quantizer.input(0)).map_or(quantizer.input(0), String::as_str);
        let [min, max] = ["min", "max"].map(|bound| format!("{}/{bound}", op.output()));
        let clip = make::node("Clip", &[input, &min, &max], &[op.output()], Vec::new());
        let bound = |name: &str, whole: f32| floats(name, &[], &[(whole - zero) * scale]);
        self.graph.body.initializer.extend([bound(&min, least), bound(&max, most)]);
        Ok(Some(clip))
    }

    /// The type that `quantizer` makes: that of its zero point, else what it says, else uint8.
    fn quantized_type(&self, quantizer: Op<'_>) -> i32 {
        match quantizer.optional(2) {
            Some(zero) => self.stored(zero).map_or(0, |zero| zero.data_type()),
            None => i32::try_from(quantizer.int("output_dtype", 0)).ok().filter(|kind| *kind != 0).unwrap_or(data_type::UINT8),
        }
    }

    /// The one value of a stored tensor.
    fn scalar(&self, name: &str) -> Result<Option<f32>, Error> {
        let Some(tensor) = self.stored(name) else { return Ok(None) };
        Ok(match self.graph.values(&tensor)?.as_deref() {
            Some(&[value]) => Some(value),
            _ => None,
        })
    }

    fn stored(&self, name: &str) -> Option<TensorProto> {
        self.graph.body.initializer.iter().find(|tensor| tensor.name() == name).cloned()
    }

    /// The graph without what nobody reads any more, its floats declared as they are now.
    fn finish(mut self) -> Graph {
        let body = &mut self.graph.body;
        loop {
            let outputs = body.output.iter().map(|output| output.name());
            let read: HashSet<String> = body.node.iter().flat_map(order::uses).chain(outputs).map(str::to_owned).collect();
            let before = body.node.len();
            body.node
                .retain(|node| Op { node }.kind() != "QuantizeLinear" || order::outputs(node).any(|name| read.contains(name)));
            if body.node.len() == before {
                body.initializer.retain(|tensor| read.contains(tensor.name()));
                break;
            }
        }
        let made: HashSet<String> = body.node.iter().flat_map(order::outputs).map(str::to_owned).collect();
        body.value_info.retain(|info| made.contains(info.name()));
        body.value_info.iter_mut().chain(&mut body.input).chain(&mut body.output).for_each(declare);
        self.graph
    }
}

/// Declares a float as float32.
fn declare(info: &mut ValueInfoProto) {
    let tensor = info.r#type.as_mut().and_then(|kind| match &mut kind.value {
        Some(TypeValue::Tensor(tensor)) => Some(tensor),
        _ => None,
    });
    if let Some(TensorType { elem_type, .. }) = tensor
        && elem_type.is_some_and(is_other_float)
    {
        *elem_type = Some(data_type::FLOAT);
    }
}
