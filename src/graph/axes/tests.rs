//! Layouts of small graphs, operator by operator.

use std::collections::HashMap;

use super::Layout;
use crate::graph::{
    Graph,
    fixture::{graph, node, untyped, value, zeros},
    make::{int, integers, ints},
    proto::{GraphProto, NodeProto},
};

const MAP: Layout = Layout::Map([1, 2, 0]);
const CHANNELS_LAST: Layout = Layout::Map([0, 1, 2]);
const TOKENS: Layout = Layout::Tokens([0, 1]);

/// Nodes from `x` on, with the shape of what each makes.
struct Chain {
    body: GraphProto,
    shapes: HashMap<String, Vec<usize>>,
}

impl Chain {
    fn new(input: &[usize]) -> Self {
        let body = GraphProto { input: vec![value("x", 1, &[0, 0, 0, 0])], ..Default::default() };
        Self { body, shapes: HashMap::from([("x".to_owned(), input.to_vec())]) }
    }

    fn add(mut self, node: NodeProto, shape: &[usize]) -> Self {
        self.shapes.insert(node.output[0].clone(), shape.to_vec());
        self.body.node.push(node);
        self
    }

    fn stored(mut self, name: &str, dims: &[i64]) -> Self {
        self.body.initializer.push(zeros(name, dims));
        self
    }

    #[track_caller]
    fn check(mut self, expected: &[(&str, Layout)]) {
        self.body.output = vec![untyped(&self.body.node.last().expect("a node").output[0])];
        let graph: Graph = graph(self.body).expect("a valid graph");
        let found = graph.layouts(&self.shapes);
        let found: Vec<(&str, Layout)> = expected.iter().map(|(name, _)| (*name, found[*name])).collect();
        assert_eq!(found, expected);
    }
}

fn transpose(from: &str, to: &str, order: &[i64]) -> NodeProto {
    NodeProto { attribute: vec![ints("perm", order.iter().copied())], ..node("Transpose", from, to) }
}

fn concat(from: &str, to: &str, axis: i64) -> NodeProto {
    NodeProto { attribute: vec![int("axis", axis)], ..node("Concat", from, to) }
}

#[test]
fn transposes_are_followed() {
    Chain::new(&[1, 3, 8, 6])
        .stored("w", &[5, 3, 1, 1])
        .stored("m", &[5, 7])
        .add(transpose("x", "last", &[0, 2, 3, 1]), &[1, 8, 6, 3])
        .add(node("Relu", "last", "relu"), &[1, 8, 6, 3])
        .add(transpose("relu", "first", &[0, 3, 1, 2]), &[1, 3, 8, 6])
        .add(node("Conv", "first w", "conv"), &[1, 5, 8, 6])
        .add(transpose("conv", "between", &[0, 2, 1, 3]), &[1, 8, 5, 6])
        .add(transpose("conv", "dense_in", &[0, 2, 3, 1]), &[1, 8, 6, 5])
        .add(node("MatMul", "dense_in m", "dense"), &[1, 8, 6, 7])
        .add(transpose("conv", "turned", &[0, 1, 3, 2]), &[1, 5, 6, 8])
        .add(node("MaxPool", "turned", "pooled"), &[1, 5, 3, 4])
        .check(&[
            ("last", CHANNELS_LAST),
            ("relu", CHANNELS_LAST),
            ("first", MAP),
            ("conv", MAP),
            ("between", Layout::Map([0, 2, 1])),
            ("dense", CHANNELS_LAST),
            ("turned", Layout::Map([2, 1, 0])),
            ("pooled", Layout::Map([2, 1, 0])),
        ]);
}

#[test]
fn patches_are_tokens_and_attention_is_no_map() {
    Chain::new(&[1, 3, 28, 28])
        .stored("w", &[12, 3, 14, 14])
        .stored("class", &[1, 1, 12])
        .stored("qkv", &[12, 36])
        .add(node("Conv", "x w", "patches"), &[1, 12, 2, 2])
        .add(node("Reshape", "patches s", "flat"), &[1, 12, 4])
        .add(transpose("flat", "rows", &[0, 2, 1]), &[1, 4, 12])
        .add(concat("class rows", "tokens", 1), &[1, 5, 12])
        .add(node("MatMul", "tokens qkv", "all"), &[1, 5, 36])
        .add(node("Reshape", "all s", "heads"), &[1, 5, 3, 2, 6])
        .add(transpose("heads", "apart", &[2, 0, 3, 1, 4]), &[3, 1, 2, 5, 6])
        .add(node("Gather", "apart one", "q"), &[1, 2, 5, 6])
        .add(node("Split", "apart", "q_part k_part v_part"), &[1, 1, 2, 5, 6])
        .add(node("Squeeze", "v_part zero", "v"), &[1, 2, 5, 6])
        .add(transpose("q", "k", &[0, 1, 3, 2]), &[1, 2, 6, 5])
        .add(node("MatMul", "q k", "scores"), &[1, 2, 5, 5])
        .add(node("Softmax", "scores", "attention"), &[1, 2, 5, 5])
        .add(node("MatMul", "attention v", "values"), &[1, 2, 5, 6])
        .add(transpose("values", "back", &[0, 2, 1, 3]), &[1, 5, 2, 6])
        .add(node("Reshape", "back s", "joined"), &[1, 5, 12])
        .add(node("Add", "joined tokens", "sum"), &[1, 5, 12])
        .add(NodeProto { attribute: vec![int("axis", 1)], ..node("Gather", "sum zero", "vector") }, &[1, 12])
        .stored("s", &[1])
        .stored("one", &[])
        .stored("zero", &[])
        .check(&[
            ("patches", MAP),
            ("flat", Layout::Tokens([1, 0])),
            ("rows", TOKENS),
            ("tokens", TOKENS),
            ("heads", Layout::NoMap),
            ("q", Layout::NoMap),
            ("attention", Layout::NoMap),
            ("joined", TOKENS),
            ("sum", TOKENS),
            ("vector", Layout::Vector),
        ]);
}

#[test]
fn windows_are_no_map_until_they_are_put_together() {
    Chain::new(&[1, 3, 8, 8])
        .stored("s", &[1])
        .stored("m", &[3, 9])
        .add(transpose("x", "last", &[0, 2, 3, 1]), &[1, 8, 8, 3])
        .add(node("Slice", "last", "a"), &[1, 6, 8, 3])
        .add(node("Slice", "last", "b"), &[1, 2, 8, 3])
        .add(concat("a b", "rolled", 1), &[1, 8, 8, 3])
        .add(node("Reshape", "rolled s", "split"), &[1, 2, 4, 2, 4, 3])
        .add(transpose("split", "sorted", &[0, 1, 3, 2, 4, 5]), &[1, 2, 2, 4, 4, 3])
        .add(node("Reshape", "sorted s", "windows"), &[4, 16, 3])
        .add(node("MatMul", "windows m", "dense"), &[4, 16, 9])
        .add(node("Reshape", "dense s", "apart"), &[1, 2, 2, 4, 4, 9])
        .add(transpose("apart", "unsorted", &[0, 1, 3, 2, 4, 5]), &[1, 2, 4, 2, 4, 9])
        .add(node("Reshape", "unsorted s", "map"), &[1, 8, 8, 9])
        .check(&[
            ("rolled", CHANNELS_LAST),
            ("split", Layout::NoMap),
            ("windows", Layout::NoMap),
            ("dense", Layout::NoMap),
            ("map", CHANNELS_LAST),
        ]);
}

#[test]
fn merged_patches_are_a_map() {
    Chain::new(&[1, 3, 8, 8])
        .stored("s", &[1])
        .stored("m", &[12, 6])
        .add(transpose("x", "last", &[0, 2, 3, 1]), &[1, 8, 8, 3])
        .add(node("Reshape", "last s", "split"), &[1, 4, 2, 4, 2, 3])
        .add(transpose("split", "sorted", &[0, 1, 3, 4, 2, 5]), &[1, 4, 4, 2, 2, 3])
        .add(node("Reshape", "sorted s", "merged"), &[1, 4, 4, 12])
        .add(node("MatMul", "merged m", "reduced"), &[1, 4, 4, 6])
        .check(&[("split", Layout::NoMap), ("merged", CHANNELS_LAST), ("reduced", CHANNELS_LAST)]);
}

#[test]
fn normalisations_written_out_keep_axes() {
    let mean = |from: &str, to: &str, axis: i64| NodeProto {
        attribute: vec![ints("axes", [axis]), int("keepdims", 1)],
        ..node("ReduceMean", from, to)
    };
    Chain::new(&[1, 3, 8, 6])
        .stored("two", &[])
        .stored("s", &[1])
        .add(mean("x", "mean", 1), &[1, 1, 8, 6])
        .add(node("Sub", "x mean", "centred"), &[1, 3, 8, 6])
        .add(node("Pow", "centred two", "squared"), &[1, 3, 8, 6])
        .add(mean("squared", "variance", 1), &[1, 1, 8, 6])
        .add(node("Sqrt", "variance", "deviation"), &[1, 1, 8, 6])
        .add(node("Div", "centred deviation", "normal"), &[1, 3, 8, 6])
        .add(node("Reshape", "normal s", "groups"), &[1, 3, 48])
        .add(node("InstanceNormalization", "groups s s", "grouped"), &[1, 3, 48])
        .add(node("Reshape", "grouped s", "map"), &[1, 3, 8, 6])
        .check(&[("mean", MAP), ("normal", MAP), ("map", MAP)]);
}

#[test]
fn pooled_maps_have_sides_of_one() {
    let mean = NodeProto { attribute: vec![int("keepdims", 0)], ..node("ReduceMean", "x positions", "vector") };
    let mut chain = Chain::new(&[1, 3, 8, 6]);
    chain.body.initializer.push(integers("positions", &[2], &[2, 3]));
    chain
        .stored("s", &[1])
        .add(node("GlobalAveragePool", "x", "pool"), &[1, 3, 1, 1])
        .add(node("Flatten", "pool", "flat"), &[1, 3])
        .add(node("Reshape", "flat s", "again"), &[1, 3, 1, 1])
        .add(node("Mul", "x again", "scaled"), &[1, 3, 8, 6])
        .add(mean, &[1, 3])
        .check(&[("pool", MAP), ("flat", Layout::Vector), ("again", MAP), ("scaled", MAP), ("vector", Layout::Vector)]);
}

#[test]
fn what_cannot_be_followed_is_no_map_until_an_operator_demands_one() {
    let custom = NodeProto { domain: Some("someone".to_owned()), ..node("Mystery", "x", "strange") };
    Chain::new(&[1, 3, 8, 6])
        .stored("w", &[5, 3, 1, 1])
        .add(custom, &[1, 3, 8, 6])
        .add(node("Relu", "strange", "relu"), &[1, 3, 8, 6])
        .add(node("Conv", "relu w", "conv"), &[1, 5, 8, 6])
        .check(&[("strange", Layout::NoMap), ("relu", Layout::NoMap), ("conv", MAP)]);
}

#[test]
fn a_map_that_is_flattened_is_no_vector_of_classes() {
    let flattened = |nodes: Vec<(NodeProto, &[usize])>| {
        let chain = nodes
            .into_iter()
            .fold(Chain::new(&[1, 3, 8, 8]).stored("w", &[6, 3, 1, 1]), |chain, (node, shape)| chain.add(node, shape));
        let Chain { mut body, shapes } = chain;
        body.output = vec![untyped(&body.node.last().expect("a node").output[0])];
        graph(body).expect("a valid graph").flattened_maps(&shapes).contains("out")
    };
    assert!(flattened(vec![(node("Conv", "x w", "map"), &[1, 6, 8, 8]), (node("Flatten", "map", "out"), &[1, 384])]));
    assert!(!flattened(vec![
        (node("Conv", "x w", "map"), &[1, 6, 8, 8]),
        (node("GlobalAveragePool", "map", "mean"), &[1, 6, 1, 1]),
        (node("Flatten", "mean", "out"), &[1, 6]),
    ]));
    assert!(!flattened(vec![
        (node("Conv", "x w", "map"), &[1, 6, 8, 8]),
        (node("Flatten", "map", "flat"), &[1, 384]),
        (node("MatMul", "flat w", "out"), &[1, 5]),
    ]));
}
