//! Each rule against PyTorch's gradients and against central differences of the loss.

use graft::{
    config::Provider,
    graph::gradient::{LOSS, differentiable, evaluation_graph, gradient_graph},
    runtime::Feed,
    tensor::Tensor,
};

use crate::case::{self, Case, relative_error};

/// Float32 against PyTorch in float64.
const CLOSE: f64 = 1e-5;
/// Central differences of a loss in float32.
const ROUGH: f64 = 1e-2;

fn check_against_pytorch(case: &Case, provider: Provider) -> f64 {
    let mut spec = case.spec(provider);
    let training = gradient_graph(&case.graph, &spec).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    // The outputs are read instead of carried.
    let mut reader = training.clone();
    reader.parameters.iter_mut().for_each(|parameter| parameter.output.clear());
    let outputs = case::step(&mut case.stepper(&reader), &case.feeds(&training));
    let mut worst: f64 = 0.0;
    let mut check = |found: &str, expected: &str| {
        let error = relative_error(&outputs[found], &case.stored(expected));
        assert!(error <= CLOSE, "{} on {provider:?}: {found} is off by {error:.1e}", case.name);
        worst = worst.max(error);
    };
    check(LOSS, "expected/loss");
    check(&training.logits, "expected/logits");
    for parameter in &training.parameters {
        check(&parameter.output, &format!("expected/{}", parameter.input));
    }
    spec.trainable.truncate(1);
    let alone = gradient_graph(&case.graph, &spec).expect("one parameter is enough");
    assert_eq!(alone.parameters.len(), 1);
    worst
}

#[test]
fn gradients_are_pytorchs() {
    // The forms for CUDA are plain operators too, which the CPU can run.
    let cases = case::all();
    for provider in [Provider::Cpu, Provider::Cuda] {
        let worst = cases.iter().map(|case| (check_against_pytorch(case, provider), &*case.name));
        let worst = worst.max_by(|a, b| a.0.total_cmp(&b.0));
        println!("{provider:?}: worst {worst:?}");
    }
}

#[test]
fn every_rule_has_a_case() {
    let cases = case::all();
    let used: Vec<String> =
        cases.iter().flat_map(|case| case.graph.image_layers().into_iter().map(|layer| layer.op_type)).collect();
    let missing: Vec<&str> = differentiable().filter(|operator| !used.iter().any(|used| used == operator)).collect();
    assert!(missing.is_empty(), "no fixture for {missing:?}");
}

/// A direction of length 1, the same in every run.
fn direction(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut values: Vec<f32> = (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 - 0.5
        })
        .collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter_mut().for_each(|value| *value /= norm);
    values
}

/// Moves each parameter along one direction and compares the slope of the loss with what the gradient says.
fn check_against_differences(case: &Case) {
    const STEP: f32 = 4e-3;
    // With Dropout the loss to differentiate is that with the masks: the gradient graph gives it, too.
    let training = if case.name == "dropout" {
        let mut training = gradient_graph(&case.graph, &case.spec(Provider::Cpu)).expect("a training graph");
        training.parameters.iter_mut().for_each(|parameter| parameter.output.clear());
        training
    } else {
        evaluation_graph(&case.graph, &case.spec(Provider::Cpu)).expect("an evaluation graph")
    };
    let mut stepper = case.stepper(&training);
    let feeds: Vec<(String, Feed)> = case.feeds(&training);
    for (index, parameter) in training.parameters.iter().enumerate() {
        let start = case.stored(&parameter.input);
        let gradient = case.stored(&format!("expected/{}", parameter.input));
        let gradient = gradient.data();
        // Along the gradient itself, mixed with a random direction, so that the slope is far from 0.
        let norm = gradient.iter().map(|value| value * value).sum::<f32>().sqrt();
        let random = direction(gradient.len(), index as u32 + 1);
        let way: Vec<f32> = gradient.iter().zip(random).map(|(slope, random)| slope / norm + 0.5 * random).collect();
        let mut loss = |distance: f32| {
            let moved = start.data().iter().zip(&way).map(|(value, way)| value + distance * way).collect();
            stepper.set(&parameter.input, Tensor::new(start.shape().to_vec(), moved).expect("the same shape")).expect("set");
            f64::from(case::step(&mut stepper, &feeds)[LOSS].data()[0])
        };
        let found = (loss(STEP) - loss(-STEP)) / (2.0 * f64::from(STEP));
        let expected: f64 = way.iter().zip(gradient).map(|(way, slope)| f64::from(*way) * f64::from(*slope)).sum();
        let error = (found - expected).abs() / expected.abs();
        assert!(error <= ROUGH, "{}: the slope along {} is {found}, not {expected}", case.name, parameter.input);
        stepper.set(&parameter.input, start).expect("set");
    }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    case::all().iter().for_each(check_against_differences);
}
