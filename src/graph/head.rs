//! Heads: layers in Keras's vocabulary put behind a tensor of a graph.
//!
//! Names are as in `build`: a layer's output is the tensor of its name, helpers and weights are `LAYER/…`.

use super::{
    Error, Graph,
    build::header,
    inspect::elem_type,
    make::{self, floats, int, ints},
    op::Op,
    order,
    proto::GraphProto,
    tensors::data_type,
};
use crate::{arch::Activation, tensor::Tensor};

/// A layer of a head and its weights.
#[derive(Debug, Clone, Copy)]
pub enum HeadLayer<'a> {
    /// Mean over height and width of a map: a vector of its channels.
    GlobalAveragePooling {
        /// The layer's name.
        name: &'a str,
    },
    /// A map as a vector, in Keras's order: height, width, channel.
    Flatten {
        /// The layer's name.
        name: &'a str,
    },
    /// Fully connected; before its softmax the tensor is called `NAME/logits`, before another activation `NAME/linear`.
    Dense {
        /// The layer's name.
        name: &'a str,
        /// `(in, out)`; stored as `NAME/kernel`.
        kernel: &'a Tensor,
        /// `(out)`; stored as `NAME/bias`.
        bias: &'a Tensor,
        /// Applied to the sum.
        activation: Activation,
    },
    /// Leaves values out while training; does nothing when the graph is run as it is.
    Dropout {
        /// The layer's name.
        name: &'a str,
        /// Share of the values that is left out, 0 … 1.
        rate: f32,
    },
}

impl Graph {
    /// A graph that hands on its input: vectors or maps of `shape`, channels first, without the batch.
    pub fn of_input(name: &str, shape: &[usize]) -> Self {
        let info = make::batched(name, shape);
        let body =
            GraphProto { name: Some(name.to_owned()), input: vec![info.clone()], output: vec![info], ..Default::default() };
        Self { header: header(), body, dir: None }
    }

    /// This graph up to tensor `from`, and `layers` behind it, the last of which is the only output.
    ///
    /// # Errors
    /// A tensor that the graph does not compute; a layer name that the graph uses already.
    pub fn with_head(&self, from: &str, layers: &[HeadLayer<'_>]) -> Result<Self, Error> {
        let mut graph = self.cut(&[from])?;
        let single = format!("{from}/float32");
        let mut last = from;
        if !layers.is_empty() && graph.has_other_floats() {
            // Does nothing where the tensor is float32 already.
            graph.body.node.push(make::node("Cast", &[from], &[&single], vec![int("to", data_type::FLOAT.into())]));
            last = &single;
        }
        for layer in layers {
            last = graph.add(layer, last);
        }
        if !layers.is_empty() {
            let before = std::mem::replace(&mut graph.body.output, vec![make::untyped(last)]);
            let made = |name: &str| graph.body.node.iter().any(|node| order::outputs(node).any(|made| made == name));
            let typed = before.into_iter().filter(|info| made(info.name()) && info.r#type.is_some()).collect::<Vec<_>>();
            graph.body.value_info.extend(typed);
        }
        order::check(&mut graph.body)?;
        Ok(graph)
    }

    /// Whether some of its tensors are floats of another size than float32, as far as weights, inputs and casts show.
    fn has_other_floats(&self) -> bool {
        let other = |kind: i32| matches!(kind, data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE);
        let casts = self.body.node.iter().filter(|node| node.op_type() == "Cast");
        let casts = casts.filter_map(|node| i32::try_from(Op { node }.int("to", 0)).ok());
        let weights = self.body.initializer.iter().map(|tensor| tensor.data_type());
        let inputs = self.body.input.iter().map(elem_type);
        casts.chain(weights).chain(inputs).any(other)
    }

    fn add<'a>(&mut self, layer: &HeadLayer<'a>, from: &str) -> &'a str {
        let nodes = &mut self.body.node;
        match *layer {
            HeadLayer::GlobalAveragePooling { name } => {
                let mean = format!("{name}/mean");
                nodes.push(make::node("GlobalAveragePool", &[from], &[&mean], Vec::new()));
                nodes.push(make::node("Flatten", &[&mean], &[name], vec![int("axis", 1)]));
                name
            }
            HeadLayer::Flatten { name } => {
                let turned = format!("{name}/channels_last");
                nodes.push(make::node("Transpose", &[from], &[&turned], vec![ints("perm", [0, 2, 3, 1])]));
                nodes.push(make::node("Flatten", &[&turned], &[name], vec![int("axis", 1)]));
                name
            }
            HeadLayer::Dense { name, kernel, bias, activation } => {
                let [kernel_name, bias_name] = ["kernel", "bias"].map(|role| format!("{name}/{role}"));
                let linear = match activation {
                    Activation::Linear => name.to_owned(),
                    Activation::Relu | Activation::Relu6 => format!("{name}/linear"),
                    Activation::Softmax => format!("{name}/logits"),
                };
                nodes.push(make::node("Gemm", &[from, &kernel_name, &bias_name], &[&linear], Vec::new()));
                match activation {
                    Activation::Linear => {}
                    Activation::Relu => nodes.push(make::node("Relu", &[&linear], &[name], Vec::new())),
                    Activation::Softmax => nodes.push(make::node("Softmax", &[&linear], &[name], vec![int("axis", 1)])),
                    Activation::Relu6 => {
                        let (clip, bounds) = make::relu6(&linear, name);
                        nodes.push(clip);
                        self.body.initializer.extend(bounds);
                    }
                }
                self.body.initializer.push(floats(&kernel_name, kernel.shape(), kernel.data()));
                self.body.initializer.push(floats(&bias_name, bias.shape(), bias.data()));
                name
            }
            HeadLayer::Dropout { name, rate } => {
                let ratio = format!("{name}/rate");
                nodes.push(make::node("Dropout", &[from, &ratio], &[name], Vec::new()));
                self.body.initializer.push(floats(&ratio, &[], &[rate]));
                name
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::fixture::{classifier, graph};

    fn tensor(shape: &[usize]) -> Tensor {
        Tensor::new(shape.to_vec(), vec![0.5; shape.iter().product()]).expect("as many values as the shape says")
    }

    #[test]
    fn a_head_replaces_what_lay_behind_its_tensor() {
        let (kernel, bias) = (tensor(&[2, 3]), tensor(&[3]));
        let dense = |name, activation| HeadLayer::Dense { name, kernel: &kernel, bias: &bias, activation };
        let whole = graph(classifier()).expect("a valid graph");
        let check = |layers: &[HeadLayer<'_>], expected: &str| {
            let new = whole.with_head("relu", layers).expect("a tensor of the graph");
            let nodes: Vec<&str> = new.body.node.iter().map(|node| node.output[0].as_str()).collect();
            assert_eq!(nodes.join(" "), expected);
            Graph::parse(new.to_bytes()).expect("it is whole");
        };
        check(&[], "hidden relu");
        check(&[dense("a", Activation::Softmax)], "hidden relu a/logits a");
        check(&[dense("a", Activation::Relu), HeadLayer::Dropout { name: "d", rate: 0.5 }], "hidden relu a/linear a d");
        check(&[dense("a", Activation::Linear)], "hidden relu a");
        check(&[dense("a", Activation::Relu6)], "hidden relu a/linear a");
        assert!(matches!(whole.with_head("relu", &[dense("hidden", Activation::Linear)]), Err(Error::Duplicate { .. })));
        assert!(matches!(whole.with_head("zz", &[]), Err(Error::UnknownTensor(_))));
    }

    #[test]
    fn a_head_stands_on_an_input_alone() {
        let pooled = Graph::of_input("mixed10", &[8, 3, 3]).with_head(
            "mixed10",
            &[HeadLayer::GlobalAveragePooling { name: "avg_pool" }, HeadLayer::Flatten { name: "flatten" }],
        );
        let pooled = pooled.expect("new names");
        assert_eq!(pooled.input().expect("one input").describe(), "batch×8×3×3");
        assert_eq!(pooled.outputs()[0].name, "flatten");
        Graph::parse(pooled.to_bytes()).expect("it is whole");
    }
}
