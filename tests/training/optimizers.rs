//! Optimizers against Keras's definitions, computed here in float64 from the gradients that the graph itself gives.

use std::collections::HashMap;

use graft::{
    config::Provider,
    graph::gradient::{LEARNING_RATE, Optimizer, STEP, TrainingSpec, gradient_graph, optimizer::KINDS, training_graph},
    runtime::Feed,
    tensor::Tensor,
};
use serde_json::{Value, json};

use crate::case::{self, Case, relative_error};

const STEPS: usize = 6;
/// Six steps in float32.
const CLOSE: f64 = 1e-5;

/// One value of a parameter: itself, and what the optimizer keeps of it.
#[derive(Clone, Copy)]
struct Keras {
    w: f64,
    first: f64,
    second: f64,
}

/// One value's update as Keras 3 makes it (`keras/src/optimizers/{sgd,rmsprop,adam}.py`, `update_step`).
impl Keras {
    fn update(&mut self, optimizer: &Optimizer, g: f64, rate: f64, step: i32) {
        let parameters: HashMap<&str, Value> = optimizer.parameters().map(|(parameter, value)| (parameter.name, value)).collect();
        // As the graph has them.
        let number = |name: &str| f64::from(parameters[name].as_f64().expect("a number") as f32);
        let Self { w, first, second } = self;
        match optimizer.kind().name {
            "sgd" => {
                let momentum = number("momentum");
                *first = *first * momentum - g * rate;
                *w += if parameters["nesterov"] == true { *first * momentum - g * rate } else { *first };
            }
            "rmsprop" => {
                let (rho, momentum) = (number("rho"), number("momentum"));
                *first = rho * *first + (1.0 - rho) * g * g;
                let increment = rate * g / (*first + number("epsilon")).sqrt();
                *second = momentum * *second + increment;
                *w -= if momentum > 0.0 { *second } else { increment };
            }
            "adam" => {
                let (beta_1, beta_2) = (number("beta_1"), number("beta_2"));
                let alpha = rate * (1.0 - beta_2.powi(step)).sqrt() / (1.0 - beta_1.powi(step));
                *first += (g - *first) * (1.0 - beta_1);
                *second += (g * g - *second) * (1.0 - beta_2);
                *w -= *first * alpha / (second.sqrt() + number("epsilon"));
            }
            other => panic!("say here what Keras does for `{other}`"),
        }
    }
}

fn check(case: &Case, optimizer: &Optimizer) {
    let spec = TrainingSpec { optimizer: optimizer.clone(), ..case.spec(Provider::Cpu) };
    let training = training_graph(&case.graph, &spec).expect("a training graph");
    let mut gradients = gradient_graph(&case.graph, &spec).expect("a gradient graph");
    let outputs: Vec<String> = gradients.parameters.iter_mut().map(|parameter| std::mem::take(&mut parameter.output)).collect();
    let (mut trained, mut probe) = (case.stepper(&training), case.stepper(&gradients));
    let values = |name: &str| case.stored(name).into_parts().1;
    let at_rest = |value: f32| Keras { w: value.into(), first: 0.0, second: 0.0 };
    let mut keras: Vec<Vec<Keras>> =
        training.parameters.iter().map(|parameter| values(&parameter.input).into_iter().map(at_rest).collect()).collect();
    for step in 1..=STEPS {
        let rate = 0.1 / step as f32;
        let scalar = |value: f32| Feed::Floats(Tensor::new(Vec::new(), vec![value]).expect("a scalar"));
        let mut feeds = case.feeds(&training);
        let found = case::step(&mut probe, &feeds);
        feeds.push((LEARNING_RATE.to_owned(), scalar(rate)));
        if training.counts_steps {
            feeds.push((STEP.to_owned(), scalar(step as f32)));
        }
        case::step(&mut trained, &feeds);
        for ((parameter, keras), output) in training.parameters.iter().zip(&mut keras).zip(&outputs) {
            for (value, &g) in keras.iter_mut().zip(found[output].data()) {
                value.update(optimizer, g.into(), rate.into(), step as i32);
            }
            let w = trained.get(&parameter.input).expect("a parameter");
            let expected: Vec<f32> = keras.iter().map(|value| value.w as f32).collect();
            let expected = Tensor::new(w.shape().to_vec(), expected).expect("the same shape");
            let error = relative_error(&w, &expected);
            assert!(error <= CLOSE, "{optimizer:?}, step {step}: {} is off by {error:.1e}", parameter.input);
            probe.set(&parameter.input, w).expect("a parameter");
        }
    }
}

#[test]
fn updates_are_kerass() {
    let cases = case::all();
    for name in ["block", "loss_l2"] {
        let case = cases.iter().find(|case| case.name == name).expect("a fixture");
        for kind in KINDS {
            check(case, &Optimizer::from(kind));
        }
        for optimizer in [
            json!({"type": "sgd", "momentum": 0.9}),
            json!({"type": "sgd", "momentum": 0.9, "nesterov": true}),
            json!({"type": "rmsprop", "momentum": 0.8}),
        ] {
            check(case, &serde_json::from_value(optimizer).expect("an optimizer"));
        }
    }
}
