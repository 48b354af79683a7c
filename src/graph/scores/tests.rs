//! Output kinds of small graphs, each written as `Operator inputs -> output attribute=value`, with `;` between.

use super::{Scores, Shapes};
use crate::graph::{
    Graph, fixture, make,
    proto::{AttributeProto, GraphProto, NodeProto},
};

/// Stored numbers that the graphs read.
const NUMBERS: [(&str, f32); 8] = [
    ("zero", 0.0),
    ("one", 1.0),
    ("half", 0.5),
    ("two", 2.0),
    ("three", 3.0),
    ("six", 6.0),
    ("hundred", 100.0),
    ("epsilon", 1e-7),
];

fn attribute(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').expect("name=value");
    match (value.strip_prefix('['), value.parse::<i64>()) {
        (Some(list), _) => {
            make::ints(name, list.trim_end_matches(']').split(',').map(|number| number.parse().expect("a number")))
        }
        (None, Ok(number)) => make::int(name, number),
        (None, Err(_)) => make::float(name, value.parse().expect("a number")),
    }
}

fn node(text: &str) -> NodeProto {
    let (made, rest) = text.split_once("->").expect("an arrow");
    let (op, inputs) = made.trim().split_once(' ').unwrap_or((made.trim(), ""));
    let mut words = rest.split_whitespace();
    let mut node = fixture::node(op, inputs, words.next().expect("an output"));
    node.attribute = words.map(attribute).collect();
    node
}

/// The graph whose last node makes its output, over four classes: `l` are logits of shape 1×4, `map` of 1×4×2×2.
fn graph(text: &str, opset: i64) -> Graph {
    let mut nodes = vec![fixture::node("Gemm", "x w", "l"), fixture::node("Conv", "x4 w4", "map")];
    nodes.extend(text.split(';').map(|text| node(text.trim())));
    let output = nodes.last().expect("a node").output[0].clone();
    let mut initializer: Vec<_> = NUMBERS.iter().map(|(name, value)| make::floats(name, &[], &[*value])).collect();
    initializer.push(make::floats("row", &[4], &[1.0, 2.0, 3.0, 4.0]));
    initializer.push(make::integers("last", &[1], &[-1]));
    initializer.push(make::integers("first", &[1], &[0]));
    initializer.extend([fixture::zeros("w", &[3, 4]), fixture::zeros("w4", &[4, 3, 1, 1])]);
    let body = GraphProto {
        node: nodes,
        initializer,
        input: vec![fixture::value("x", 1, &[0, 3]), fixture::value("x4", 1, &[0, 3, 2, 2])],
        output: vec![fixture::untyped(&output)],
        ..Default::default()
    };
    let mut graph = fixture::graph(body).unwrap_or_else(|error| panic!("{text}: {error}"));
    graph.header.opset_import[0].version = Some(opset);
    graph
}

fn kind(text: &str, opset: i64) -> Option<Scores> {
    let shape = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec());
    let shapes: Shapes = [shape("l", &[1, 4]), shape("map", &[1, 4, 2, 2]), shape("e", &[1, 4]), shape("flat", &[4])].into();
    let graph = graph(text, opset);
    graph.scores(&graph.outputs()[0].name, 4, &shapes)
}

#[track_caller]
fn check(text: &str, expected: Option<Scores>) {
    assert_eq!(kind(text, 17), expected, "{text}");
}

#[test]
fn a_softmax_is_found_through_what_hands_it_on() {
    let passing = [
        "Cast p -> y to=1",
        "Identity p -> y",
        "Reshape p last -> y",
        "Flatten p -> y",
        "Squeeze p last -> y",
        "Unsqueeze p last -> y",
        "Dropout p -> y",
        "Transpose p -> y",
        "QuantizeLinear p one zero -> q; DequantizeLinear q one zero -> y",
        "Cast p -> c to=10; Reshape c last -> r; Cast r -> y to=1",
        "Mul p one -> y",
        "Clip p epsilon one -> y",
        "Add p epsilon -> y",
    ];
    for passes in passing {
        check(&format!("Softmax l -> p axis=1; {passes}"), Some(Scores::Probabilities));
        check(&format!("LogSoftmax l -> p; {}", passing[5]), Some(Scores::LogProbabilities));
        check(&format!("Sigmoid l -> p; {passes}"), Some(Scores::Independent).filter(|_| !passes.starts_with("Add")));
    }
    check("Softmax map -> p axis=1; GlobalAveragePool p -> y", Some(Scores::Probabilities));
    check("Softmax l -> a; Softmax l -> b; Add a b -> s; Mul s half -> y", Some(Scores::Probabilities));
    check("Softmax l -> a; Softmax l -> b; Mean a b -> y", Some(Scores::Probabilities));
    check("Softmax l -> a; Mul a hundred -> y", Some(Scores::Independent));
    check("Softmax l -> a; Concat a a -> y axis=1", Some(Scores::Independent));
    check("LogSoftmax l -> a; Gather a first -> y", Some(Scores::LogProbabilities));
    check("Softmax l -> a; Log a -> y", Some(Scores::LogProbabilities));
    check("Softmax l -> a; Add a epsilon -> b; Log b -> y", Some(Scores::LogProbabilities));
    check("LogSoftmax l -> a; Exp a -> y", Some(Scores::Probabilities));
}

#[test]
fn a_softmax_over_something_else_than_the_classes_is_none() {
    let check = |text: &str, opset: i64, expected| assert_eq!(kind(text, opset), expected, "{text} {opset}");
    check("Softmax l -> y axis=1", 17, Some(Scores::Probabilities));
    check("Softmax l -> y axis=-1", 17, Some(Scores::Probabilities));
    check("Softmax l -> y", 17, Some(Scores::Probabilities));
    check("Softmax l -> y", 11, Some(Scores::Probabilities));
    check("Softmax l -> y axis=0", 17, Some(Scores::Independent));
    // Before operator set 13 a softmax takes all axes from its own on as one.
    check("Softmax l -> y axis=0", 11, Some(Scores::Probabilities));
    check("Softmax map -> a; GlobalAveragePool a -> y", 17, Some(Scores::Independent));
    check("Softmax map -> a axis=1; GlobalAveragePool a -> y", 11, Some(Scores::Independent));
    check("Squeeze l -> flat; Softmax flat -> y axis=0", 17, Some(Scores::Probabilities));
}

#[test]
fn a_softmax_written_out_is_one() {
    for shifted in ["Identity l -> d", "ReduceMax l -> m; Sub l m -> d"] {
        check(&format!("{shifted}; Exp d -> e; ReduceSum e last -> s; Div e s -> y"), Some(Scores::Probabilities));
        check(&format!("{shifted}; Exp d -> e; ReduceSum e -> s axes=[1]; Div e s -> y"), Some(Scores::Probabilities));
        check(&format!("{shifted}; Exp d -> e; ReduceSum e first -> s; Div e s -> y"), None);
        check(&format!("{shifted}; Exp d -> e; ReduceSum e last -> s; Log s -> n; Sub d n -> y"), Some(Scores::LogProbabilities));
        let inverse = "Exp d -> e; ReduceSum e last -> s; Add s epsilon -> t; Reciprocal t -> r; Mul e r -> y";
        check(&format!("{shifted}; {inverse}"), Some(Scores::Probabilities));
    }
    check("ReduceLogSumExp l -> s axes=[1]; Sub l s -> y", Some(Scores::LogProbabilities));
    check("Relu l -> e; ReduceSum e last -> s; Div e s -> y", Some(Scores::Probabilities));
    check("ReduceSum l last -> s; Div l s -> y", None);
    check("Exp l -> e; ReduceSum l last -> s; Div e s -> y", None);
}

#[test]
fn a_sigmoid_written_out_is_one() {
    check("HardSigmoid l -> y", Some(Scores::Independent));
    check("Neg l -> n; Exp n -> e; Add one e -> s; Div one s -> y", Some(Scores::Independent));
    check("Neg l -> n; Exp n -> e; Add e one -> s; Reciprocal s -> y", Some(Scores::Independent));
    check("Exp l -> e; Add e one -> s; Div e s -> y", Some(Scores::Independent));
    check("Mul l half -> a; Tanh a -> t; Mul t half -> b; Add b half -> y", Some(Scores::Independent));
    check("Tanh l -> t; Add t one -> b; Div b two -> y", Some(Scores::Independent));
    check("Add l three -> a; Clip a zero six -> c; Div c six -> y", Some(Scores::Independent));
    check("Sigmoid l -> p; Sub one p -> q; Concat q p -> y axis=1", Some(Scores::Independent));
    check("Tanh l -> y", None);
}

/// An ensemble's average, classes summed to coarser ones, or logits of what a sigmoid made: only a run tells.
#[test]
fn a_matrix_behind_scores_tells_nothing() {
    for matrix in
        ["Gemm p w -> y", "MatMul p w -> y", "MatMul w p -> y", "Einsum p w -> y", "BatchNormalization p row row row row -> y"]
    {
        check(&format!("Softmax l -> p; {matrix}"), None);
        check(&format!("Sigmoid l -> p; {matrix}"), None);
        check(&format!("Softmax l -> s; Cast s -> c to=1; QuantizeLinear c one zero -> p; {matrix}"), None);
        check(&format!("Tanh l -> p; {matrix}"), Some(Scores::Logits));
    }
    check("Softmax map -> p axis=1; Conv p w4 -> y", None);
}

#[test]
fn what_nothing_bounds_are_logits() {
    check("Identity l -> y", Some(Scores::Logits));
    check("Add l row -> y", Some(Scores::Logits));
    check("Mul l row -> y", Some(Scores::Logits));
    check("Div l two -> y", Some(Scores::Logits));
    check("Relu map -> r; GlobalAveragePool r -> y", Some(Scores::Logits));
    check("ReduceMax l -> m; Sub l m -> y", Some(Scores::Logits));
    check("QuantizeLinear l one zero -> q; DequantizeLinear q one zero -> y", Some(Scores::Logits));
    check("Relu l -> r; Gemm r w -> y", Some(Scores::Logits));
    check("ReduceMax l -> m; Div l m -> y", None);
    check("Erf l -> y", None);
    check("Sigmoid l -> s; Mul l s -> y", None);
}
