//! Single precision: a graph that computes with halves, doubles or quantised values, in float32 from a frontier on.
//!
//! What lies behind the frontier can then be trained: its weights are stored float32 tensors, and every node has a gradient that
//! has one in float32. What lies before it stays as it is. Runs nothing.

mod convert;
mod values;

use std::collections::{HashMap, HashSet};

use super::{
    Error, Graph,
    inspect::elem_type,
    make::{self, int},
    op::Op,
    order,
    proto::{NodeProto, ValueInfoProto},
    tensors::data_type,
};

/// What is put behind the name of a tensor for its name in float32.
const SUFFIX: &str = "float32";

/// What a conversion does with the values of stored tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// Reads and converts them.
    Read,
    /// Leaves them out.
    LeftOut,
}

impl Graph {
    /// The same model, computed in float32 throughout.
    ///
    /// Floats of other sizes and quantised weights become stored float32 tensors, called `NAME/float32`. Activations that are
    /// quantised and read back are cut to the range that they had: a quantiser takes out what a range of its own makes needless,
    /// such as a Relu. All other tensors keep their names. What cannot be said in float32 stays, such as products of integers;
    /// so does a graph with branches or functions.
    ///
    /// # Errors
    /// External data that cannot be read.
    pub fn in_float32(&self) -> Result<Self, Error> {
        self.converted(Stored::Read)
    }

    /// As [`Self::in_float32`], with stored tensors that have a name and a shape and no values: for what reads none, it takes no
    /// memory for them.
    ///
    /// # Errors
    /// As [`Self::in_float32`].
    pub fn outline_in_float32(&self) -> Result<Self, Error> {
        self.converted(Stored::LeftOut)
    }

    fn converted(&self, stored: Stored) -> Result<Self, Error> {
        if self.is_flat() && self.is_mixed() { convert::convert(self, stored) } else { Ok(self.clone()) }
    }

    /// What `output` needs, as it is up to the tensors of `frontier` and in float32 behind them, and the tensor that then has the
    /// values of `output`.
    ///
    /// Where the graph has other floats, the tensors of `frontier` in float32 are called `NAME/float32`.
    ///
    /// # Errors
    /// A tensor that the graph does not compute, a frontier that does not lie before `output`, external data that cannot be read.
    pub fn float32_behind(&self, frontier: &[&str], output: &str) -> Result<(Self, String), Error> {
        if !self.is_flat() || !self.is_mixed() {
            return Ok((self.cut(&[output])?, output.to_owned()));
        }
        let mut whole = self.cut(frontier)?;
        whole.lift_constants(0)?;
        let inputs: Vec<(&str, &[usize])> = frontier.iter().map(|&name| (name, &[][..])).collect();
        let mut lifted = self.clone();
        lifted.lift_constants(0)?;
        // Cut first: the weights of what is frozen are read by nobody here.
        let behind = lifted.behind(&inputs, &[output])?.in_float32()?;
        let mut names = HashMap::new();
        if whole.has_other_floats() {
            for &tensor in frontier {
                let single = whole.free_name(tensor);
                // Does nothing where the tensor is float32 already.
                whole.body.node.push(make::node("Cast", &[tensor], &[&single], vec![int("to", data_type::FLOAT.into())]));
                names.insert(tensor.to_owned(), single);
            }
        }
        let before = std::mem::take(&mut whole.body.output);
        let typed = before.into_iter().filter(|info| info.r#type.is_some() && whole.position(info.name()).is_some());
        let typed: Vec<ValueInfoProto> = typed.collect();
        whole.body.value_info.extend(typed);
        whole.append(behind, &mut names);
        let output = names.get(output).map_or(output, String::as_str).to_owned();
        order::check(&mut whole.body)?;
        // What both parts make of constants, the first may no longer need.
        Ok((whole.cut(&[&output])?, output))
    }

    /// The tensor with the values of `tensor` in float32, of a graph that [`Self::float32_behind`] made.
    pub fn float32_name(&self, tensor: &str) -> String {
        let single = format!("{tensor}/{SUFFIX}");
        if self.position(&single).is_some() { single } else { tensor.to_owned() }
    }

    /// Whether it computes with other numbers than float32 somewhere, as far as weights, inputs and operators show.
    pub fn is_mixed(&self) -> bool {
        let quantises = |node: &NodeProto| matches!(Op { node }.kind(), "QuantizeLinear" | "DequantizeLinear");
        self.has_other_floats() || self.body.node.iter().any(quantises)
    }

    /// Whether some of its tensors are floats of another size than float32.
    fn has_other_floats(&self) -> bool {
        let casts = self.body.node.iter().filter(|node| node.op_type() == "Cast");
        let casts = casts.filter_map(|node| i32::try_from(Op { node }.int("to", 0)).ok());
        let attributes = self.body.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref());
        let stored = self.body.initializer.iter().chain(attributes).map(|tensor| tensor.data_type());
        let inputs = self.body.input.iter().map(elem_type);
        casts.chain(stored).chain(inputs).any(is_other_float)
    }

    /// Adds the nodes and stored tensors of `behind`, with the names that `names` gives to what they read.
    fn append(&mut self, behind: Self, names: &mut HashMap<String, String>) {
        let stored: HashSet<String> = self.body.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
        self.body.initializer.extend(behind.body.initializer.into_iter().filter(|tensor| !stored.contains(tensor.name())));
        let mut made = HashSet::new();
        for mut node in behind.body.node {
            rename(&mut node.input, names);
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if self.has_tensor(output) {
                    names.insert(output.clone(), self.free_name(output));
                }
            }
            rename(&mut node.output, names);
            made.extend(node.output.iter().cloned());
            self.body.node.push(node);
        }
        // What is declared of the frontier itself holds behind it alone.
        let infos = behind.body.value_info.into_iter().chain(behind.body.output);
        let is_new = |info: &ValueInfoProto| made.contains(info.name()) && info.r#type.is_some();
        let infos: Vec<ValueInfoProto> = infos.filter(is_new).collect();
        self.body.value_info.extend(infos);
    }

    /// A name for `tensor` in float32 that nothing has yet.
    fn free_name(&self, tensor: &str) -> String {
        let mut name = format!("{tensor}/{SUFFIX}");
        while self.has_tensor(&name) {
            name = format!("{name}/{SUFFIX}");
        }
        name
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.position(name).is_some()
            || self.body.initializer.iter().any(|tensor| tensor.name() == name)
            || self.body.input.iter().any(|input| input.name() == name)
    }
}

fn rename(tensors: &mut [String], names: &HashMap<String, String>) {
    for tensor in tensors {
        if let Some(name) = names.get(tensor) {
            tensor.clone_from(name);
        }
    }
}

/// float16, bfloat16 and float64.
fn is_other_float(kind: i32) -> bool {
    matches!(kind, data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE)
}

#[cfg(test)]
mod tests;
