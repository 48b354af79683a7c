//! Heads: layers in Keras's vocabulary put behind a tensor of a graph.
//!
//! Layers become nodes as those of an architecture do: see `build`.

use super::{
    BuildError, Error, Graph,
    build::{build_on, header},
    make, order,
    proto::GraphProto,
};
use crate::{arch::Layer, weights::WeightSource};

impl Graph {
    /// A graph that hands on its input: vectors or maps of `shape`, channels first, without the batch.
    pub fn of_input(name: &str, shape: &[usize]) -> Self {
        let info = make::batched(name, shape);
        let body =
            GraphProto { name: Some(name.to_owned()), input: vec![info.clone()], output: vec![info], ..Default::default() };
        Self { header: header(), body, dir: None }
    }

    /// This graph up to the tensor that the first of `layers`, an input, is called after, and the others on it.
    ///
    /// The last layer is the only output. Weights lie in the graph itself.
    ///
    /// # Errors
    /// A tensor that the graph does not compute; a layer name that the graph uses already; weights that do not fit.
    pub fn with_head(&self, layers: &[Layer], weights: &mut dyn WeightSource) -> Result<Self, BuildError> {
        let [input, new @ ..] = layers else { return Err(Error::NoOutputs.into()) };
        let mut graph = self.cut(&[&input.name])?;
        if new.is_empty() {
            return Ok(graph);
        }
        let before = std::mem::take(&mut graph.body.output);
        let made = |name: &str| graph.body.node.iter().any(|node| order::outputs(node).any(|made| made == name));
        let typed = before.into_iter().filter(|info| made(info.name()) && info.r#type.is_some()).collect::<Vec<_>>();
        graph.body.value_info.extend(typed);
        graph.body = build_on(graph.body, layers, weights)?;
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arch::{Activation, Builder, LayerKind},
        graph::fixture::{classifier, graph, halves},
    };

    #[test]
    fn a_head_replaces_what_lay_behind_its_tensor() {
        let whole = graph(classifier()).expect("a valid graph");
        let on = |tensor: &str, layers: &[(&str, LayerKind)]| {
            let mut head = Builder::on(tensor, &[2]);
            for (at, (name, kind)) in layers.iter().enumerate() {
                head.named(name, kind.clone(), &[at]);
            }
            whole.with_head(head.layers(), &mut halves)
        };
        let check = |layers: &[(&str, LayerKind)], expected: &str| {
            let new = on("relu", layers).expect("a tensor of the graph");
            let nodes: Vec<&str> = new.body.node.iter().map(|node| node.output[0].as_str()).collect();
            assert_eq!(nodes.join(" "), expected);
            let stored = new.initializers().find(|tensor| tensor.name == "a/kernel");
            assert!(stored.is_none_or(|kernel| kernel.external.is_none()), "nothing is written to disk");
            Graph::parse(new.to_bytes()).expect("it is whole");
        };
        let dense = |name, activation| (name, LayerKind::dense(500, activation));
        check(&[], "hidden relu");
        check(&[dense("a", Activation::Softmax)], "hidden relu a/logits a");
        check(&[dense("a", Activation::Relu), ("d", LayerKind::Dropout { rate: 0.5 })], "hidden relu a/linear a d");
        check(&[dense("a", Activation::Linear)], "hidden relu a");
        check(&[dense("a", Activation::Relu6)], "hidden relu a/linear a");
        let taken = on("relu", &[dense("hidden", Activation::Linear)]);
        assert!(matches!(taken, Err(BuildError::Graph(Error::Duplicate { .. }))));
        assert!(matches!(on("zz", &[]), Err(BuildError::Graph(Error::UnknownTensor(_)))));
    }

    #[test]
    fn a_head_stands_on_an_input_alone() {
        let mut head = Builder::on("mixed10", &[3, 3, 8]);
        let vector = head.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[0]);
        head.named("flatten", LayerKind::Flatten, &[vector]);
        let pooled = Graph::of_input("mixed10", &[8, 3, 3]).with_head(head.layers(), &mut halves).expect("new names");
        assert_eq!(pooled.input().expect("one input").describe(), "batch×8×3×3");
        assert_eq!(pooled.outputs()[0].name, "flatten");
        Graph::parse(pooled.to_bytes()).expect("it is whole");
    }
}
