//! What training graphs are made of: their operators have kernels, their parts have names, bad requests are explained.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    optimizer::{KINDS, Values},
    *,
};
use crate::arch::{Activation, Builder, LayerKind};
use crate::graph::fixture::{branch, classifier, graph, halves, model, node, untyped, value};

/// Operators and the versions of their kernels per provider.
const KERNELS: &str = include_str!("kernels.tsv");

/// Whether `provider` runs opset 17's `operator` in float32, as ONNX Runtime's documentation says.
fn has_kernel(operator: &str, provider: Provider) -> bool {
    let rows = KERNELS.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[0] == operator);
    let versions = row.map_or("-", |row| if provider == Provider::Cpu { row[1] } else { row[2] });
    let number = |text: &str| text.trim().parse::<i64>().expect("a version");
    let range = versions.trim_matches(['[', ']']);
    match range.split_once(',') {
        _ if versions == "-" => false,
        Some((first, last)) => (number(first)..=number(last)).contains(&17),
        None => number(range.trim_end_matches('+')) <= 17,
    }
}

fn spec(trainable: &[&str], provider: Provider) -> TrainingSpec {
    TrainingSpec {
        logits: "y".to_owned(),
        batch: 4,
        labels: Labels::Classes,
        trainable: trainable.iter().map(|&name| TrainableTensor { name: name.to_owned(), l2: 0.0 }).collect(),
        optimizer: optimizer(json!({"type": "sgd", "momentum": 0.9, "nesterov": true})),
        provider,
    }
}

fn optimizer(json: serde_json::Value) -> Optimizer {
    serde_json::from_value(json).expect("an optimizer")
}

/// Every optimizer with everything that it can do: flags set, numbers between their default and 1.
fn optimizers() -> impl Iterator<Item = Optimizer> {
    KINDS.into_iter().map(|kind| {
        let mut optimizer = Optimizer::from(kind);
        for parameter in kind.parameters {
            let value = match parameter.values {
                Values::Number { default, .. } => json!(default.midpoint(1.0)),
                Values::Flag { .. } => json!(true),
            };
            optimizer.set(parameter.name, &value).expect("a value of its type");
        }
        optimizer
    })
}

fn operators(graph: &Graph) -> BTreeSet<String> {
    graph.body.node.iter().map(|node| node.op_type().to_owned()).collect()
}

/// The fixtures of `tests/training`, which use every rule.
fn fixtures() -> Vec<Graph> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gradients");
    let entries = std::fs::read_dir(folder).expect("the fixtures");
    entries.map(|entry| Graph::read(&entry.expect("a fixture").path()).expect("a model")).collect()
}

#[test]
fn providers_have_kernels_for_every_rule() {
    let mut runs: BTreeMap<&str, [bool; 2]> = differentiable().map(|rule| (rule, [true; 2])).collect();
    for (column, provider) in [Provider::Cpu, Provider::Cuda].into_iter().enumerate() {
        for fixture in fixtures() {
            let used = operators(&fixture);
            let parameters = fixture.initializers().filter_map(|tensor| tensor.name.strip_prefix("expected/"));
            let parameters: Vec<&str> = parameters.filter(|name| !["loss", "logits", "l2"].contains(name)).collect();
            let batch = fixture.stored("sample/x").expect("a sample").shape()[0];
            let logits = fixture.outputs()[0].name.clone();
            for optimizer in optimizers() {
                let spec = TrainingSpec { batch, optimizer, logits: logits.clone(), ..spec(&parameters, provider) };
                let training = training_graph(&fixture, &spec).expect("a training graph");
                let lacking: Vec<_> = operators(&training.graph).into_iter().filter(|it| !has_kernel(it, provider)).collect();
                if !lacking.is_empty() {
                    println!("{}: {provider:?} has no {lacking:?}", fixture.body.name());
                    runs.iter_mut().filter(|(rule, _)| used.contains(**rule)).for_each(|(_, runs)| runs[column] = false);
                }
            }
        }
    }
    let listed = runs.iter().map(|(rule, [cpu, cuda])| format!("{rule}: cpu {cpu}, cuda {cuda}")).collect::<Vec<_>>().join("\n");
    println!("{listed}");
    assert!(runs.values().all(|runs| *runs == [true; 2]), "{listed}");
    assert!(!has_kernel("MaxUnpool", Provider::Cuda) && !has_kernel("If", Provider::Cpu), "the table can say no");
}

#[test]
fn inputs_and_outputs_are_described() {
    let whole = graph(classifier()).expect("a valid graph");
    let check = |json: serde_json::Value, slots: &[&str], counts: bool| {
        let spec = TrainingSpec { optimizer: optimizer(json.clone()), ..spec(&["w2"], Provider::Cpu) };
        let training = training_graph(&whole, &spec).expect("a training graph");
        let state: Vec<&str> = training.state.iter().map(|slot| slot.input.as_str()).collect();
        assert_eq!((state.as_slice(), training.counts_steps), (slots, counts), "{json}");
        assert_eq!(training.logits, "logits", "a softmax is left out");
        assert_eq!(training.inputs, [TensorSpec { name: "x".to_owned(), shape: vec![4, 3] }]);
        assert_eq!(training.parameters[0].shape, [2, 4]);
        let inputs: BTreeSet<&str> = training.graph.body.input.iter().map(ValueInfoProto::name).collect();
        let carried = training.parameters.iter().chain(&training.state).map(|tensor| tensor.input.as_str());
        let mut expected: BTreeSet<&str> = [LABELS, SAMPLE_WEIGHTS, LEARNING_RATE, "x"].into_iter().chain(carried).collect();
        expected.extend(counts.then_some(STEP));
        assert_eq!(inputs, expected);
        Graph::parse(training.graph.to_bytes()).expect("it is whole");
    };
    check(json!({"type": "sgd"}), &[], false);
    check(json!({"type": "sgd", "momentum": 0.9}), &["w2/momentum"], false);
    check(json!({"type": "rmsprop"}), &["w2/velocity"], false);
    check(json!({"type": "rmsprop", "momentum": 0.5}), &["w2/velocity", "w2/momentum"], false);
    check(json!({"type": "adam"}), &["w2/momentum", "w2/velocity"], true);
}

#[test]
fn only_what_lies_behind_the_first_parameter_has_a_gradient() {
    let whole = graph(classifier()).expect("a valid graph");
    let gradients = |trainable: &[&str]| {
        let training = gradient_graph(&whole, &spec(trainable, Provider::Cpu)).expect("a gradient graph");
        training.graph.body.node.iter().filter(|node| node.output[0].contains("/gradient/")).count()
    };
    assert!(gradients(&["w2"]) < gradients(&["w1", "w2"]));
    let evaluation = evaluation_graph(&whole, &spec(&["w1"], Provider::Cpu)).expect("an evaluation graph");
    assert!(evaluation.parameters[0].output.is_empty() && evaluation.state.is_empty());
}

#[test]
fn constants_stay_for_whoever_reads_them_a_subgraph_too() {
    let mut body = classifier();
    let stored = |body: GraphProto| {
        let whole = graph(body).expect("a valid graph");
        let training = training_graph(&whole, &spec(&["w2"], Provider::Cpu)).expect("a training graph");
        training.graph.initializers().any(|tensor| tensor.name == "unused")
    };
    assert!(!stored(body.clone()), "nobody reads it");
    let inside =
        GraphProto { node: vec![node("Identity", "unused", "inner")], output: vec![untyped("inner")], ..Default::default() };
    body.node[1].attribute.push(branch("body", inside));
    assert!(stored(body));
}

#[test]
fn dropout_is_an_input_while_training_alone() {
    let mut head = Builder::on("map", &[5, 5, 8]);
    head.named("pool", LayerKind::GlobalAveragePooling2D, &[0]);
    head.named("drop", LayerKind::Dropout { rate: 0.25 }, &[1]);
    head.named("y", LayerKind::dense(3, Activation::Softmax), &[2]);
    let whole = Graph::of_input("map", &[8, 5, 5]).with_head(head.layers(), &mut halves).expect("new names");
    let spec = spec(&["y/kernel", "y/bias"], Provider::Cpu);
    let mask = TensorSpec { name: "drop/mask".to_owned(), shape: vec![4, 8] };
    let training = training_graph(&whole, &spec).expect("a training graph");
    assert_eq!(training.masks, [DropoutMask { tensor: mask, rate: 0.25 }]);
    let evaluation = evaluation_graph(&whole, &spec).expect("an evaluation graph");
    assert!(evaluation.masks.is_empty() && !operators(&evaluation.graph).contains("Dropout"));
}

#[test]
fn bad_requests_are_explained() {
    let check = |change: &dyn Fn(&mut GraphProto, &mut TrainingSpec), expected: &str| {
        let (mut body, mut spec) = (classifier(), spec(&["w1"], Provider::Cpu));
        change(&mut body, &mut spec);
        let whole = graph(body).expect("a valid graph");
        let error = training_graph(&whole, &spec).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(&|_, spec| spec.trainable.clear(), "no parameter is trainable; name at least one stored tensor");
    check(&|_, spec| spec.trainable[0].name = "zz".to_owned(), "`zz` is not a stored tensor that `logits` depends on");
    check(&|_, spec| spec.trainable[0].name = "unused".to_owned(), "`unused` is not a stored tensor that `logits` depends on");
    check(&|_, spec| spec.logits = "zz".to_owned(), "the graph computes no tensor `zz`");
    check(
        &|body, _| body.node[1] = node("Celu", "hidden", "relu"),
        "Celu node `relu` has no gradient in graft; train only parameters after `relu`",
    );
    check(
        &|body, spec| {
            body.input[0] = value("x", 1, &[0, 2, 3]);
            body.node[0] = node("MatMul", "x w1", "hidden");
            spec.logits = "relu".to_owned();
        },
        "logits `relu` have shape [4, 2, 2]; training needs (4, classes)",
    );
    check(&|body, _| body.input[0] = value("x", 1, &[0, -1]), "the shape of tensor `x` is not known; training needs it");
    check(&|body, _| body.initializer[0].data_type = Some(6), "`w1` is of ONNX type 6; training needs float32 (1)");
}

#[test]
fn old_operators_are_refused() {
    let mut old = model(classifier());
    old.opset_import[0].version = Some(12);
    let whole = Graph::parse(prost::Message::encode_to_vec(&old).into()).expect("a valid graph");
    let error = training_graph(&whole, &spec(&["w1"], Provider::Cpu)).expect_err("opset 12");
    assert!(matches!(error, GradientError::Opset { found: 12 }), "{error}");
}
