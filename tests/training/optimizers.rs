//! Optimizers against Keras's definitions, computed here in float64 from the gradients that the graph itself gives.

use graft::{
    config::Provider,
    graph::gradient::{LEARNING_RATE, Optimizer, STEP, TrainingSpec, gradient_graph, training_graph},
    runtime::Feed,
    tensor::Tensor,
};

use crate::case::{self, Case, relative_error};

const STEPS: usize = 6;
/// Six steps in float32.
const CLOSE: f64 = 1e-5;

/// One parameter as Keras 3 would update it (`keras/src/optimizers/{sgd,rmsprop,adam}.py`, `update_step`).
struct Keras {
    w: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Keras {
    fn update(&mut self, optimizer: Optimizer, g: &[f32], rate: f64, step: i32) {
        for (index, &g) in g.iter().enumerate() {
            let g = f64::from(g);
            let (w, a, b) = (&mut self.w[index], &mut self.first[index], &mut self.second[index]);
            match optimizer {
                Optimizer::Sgd { momentum, nesterov } => {
                    let momentum = f64::from(momentum);
                    *a = *a * momentum - g * rate;
                    *w += if nesterov { *a * momentum - g * rate } else { *a };
                }
                Optimizer::RmsProp { rho, epsilon, momentum } => {
                    *a = f64::from(rho) * *a + (1.0 - f64::from(rho)) * g * g;
                    let increment = rate * g / (*a + f64::from(epsilon)).sqrt();
                    *b = f64::from(momentum) * *b + increment;
                    *w -= if momentum > 0.0 { *b } else { increment };
                }
                Optimizer::Adam { beta_1, beta_2, epsilon } => {
                    let (beta_1, beta_2) = (f64::from(beta_1), f64::from(beta_2));
                    let alpha = rate * (1.0 - beta_2.powi(step)).sqrt() / (1.0 - beta_1.powi(step));
                    *a += (g - *a) * (1.0 - beta_1);
                    *b += (g * g - *b) * (1.0 - beta_2);
                    *w -= *a * alpha / (b.sqrt() + f64::from(epsilon));
                }
            }
        }
    }
}

fn check(case: &Case, optimizer: Optimizer) {
    let spec = TrainingSpec { optimizer, ..case.spec(Provider::Cpu) };
    let training = training_graph(&case.graph, &spec).expect("a training graph");
    let mut gradients = gradient_graph(&case.graph, &spec).expect("a gradient graph");
    let outputs: Vec<String> = gradients.parameters.iter_mut().map(|parameter| std::mem::take(&mut parameter.output)).collect();
    let (mut trained, mut probe) = (case.stepper(&training), case.stepper(&gradients));
    let mut keras: Vec<Keras> = Vec::new();
    for parameter in &training.parameters {
        let w: Vec<f64> = case.stored(&parameter.input).data().iter().map(|&value| f64::from(value)).collect();
        keras.push(Keras { first: vec![0.0; w.len()], second: vec![0.0; w.len()], w });
    }
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
            keras.update(optimizer, found[output].data(), f64::from(rate), step as i32);
            let w = trained.get(&parameter.input).expect("a parameter");
            let expected: Vec<f32> = keras.w.iter().map(|&value| value as f32).collect();
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
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            check(case, Optimizer::Sgd { momentum, nesterov });
        }
        for momentum in [0.0, 0.8] {
            check(case, Optimizer::RmsProp { rho: 0.9, epsilon: 1e-7, momentum });
        }
        check(case, Optimizer::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 });
    }
}
