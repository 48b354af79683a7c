//! Optimizers as Keras 3 defines them (`keras.optimizers.SGD`, `RMSprop`, `Adam`), in plain operators.
//!
//! Schedules and decay are the caller's: the learning rate is an input of every step.

use super::{Carried, TrainingSpec, tape::Tape};

/// Input: float32 scalar, the learning rate of this step.
pub const LEARNING_RATE: &str = "training/learning_rate";
/// Input of Adam: float32 scalar, the number of this step, from 1.
pub const STEP: &str = "training/step";

/// An optimizer and its hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// Gradient descent: `v ← momentum · v − rate · g`, `w ← w + v`; without momentum `w ← w − rate · g`.
    Sgd {
        /// 0 for none.
        momentum: f32,
        /// Whether `w ← w + momentum · v − rate · g` instead.
        nesterov: bool,
    },
    /// `s ← rho · s + (1 − rho) · g²`, `w ← w − rate · g ÷ √(s + epsilon)`.
    RmsProp {
        /// Keras's default is 0.9.
        rho: f32,
        /// Under the root; Keras's default is 1e-7.
        epsilon: f32,
        /// 0 for none; else `m ← momentum · m + rate · g ÷ √(s + epsilon)`, `w ← w − m`.
        momentum: f32,
    },
    /// `m ← m + (g − m)(1 − beta_1)`, `v ← v + (g² − v)(1 − beta_2)`, `w ← w − α · m ÷ (√v + epsilon)`
    /// with `α = rate · √(1 − beta_2ᵗ) ÷ (1 − beta_1ᵗ)`.
    Adam {
        /// Keras's default is 0.9.
        beta_1: f32,
        /// Keras's default is 0.999.
        beta_2: f32,
        /// Keras's default is 1e-7.
        epsilon: f32,
    },
}

impl Optimizer {
    pub(super) fn counts_steps(&self) -> bool {
        matches!(self, Self::Adam { .. })
    }

    /// Whether gradients enter only as their product with the learning rate, which can then be taken at the loss already.
    pub(super) fn is_linear(&self) -> bool {
        matches!(self, Self::Sgd { .. })
    }
}

/// Adds the updates; the answer is the names of the updated parameters, and the state.
///
/// The gradients of a linear optimizer come with the learning rate in them.
pub(super) fn add(tape: &mut Tape, spec: &TrainingSpec, gradients: &[String]) -> (Vec<String>, Vec<Carried>) {
    tape.enter("training");
    let mut updates = Updates { alpha: LEARNING_RATE.to_owned(), shape: Vec::new(), state: Vec::new(), tape };
    if let Optimizer::Adam { beta_1, beta_2, .. } = spec.optimizer {
        updates.alpha = updates.corrected_rate(beta_1, beta_2);
    }
    let mut outputs = Vec::with_capacity(gradients.len());
    for (trainable, gradient) in spec.trainable.iter().zip(gradients) {
        updates.tape.enter(&trainable.name);
        updates.shape = updates.tape.known().of(&trainable.name).unwrap_or_default().to_vec();
        outputs.push(updates.update(spec.optimizer, &trainable.name, gradient));
    }
    (outputs, updates.state)
}

struct Updates<'a> {
    tape: &'a mut Tape,
    /// The learning rate, for Adam corrected for the state's start at 0.
    alpha: String,
    /// Shape of the parameter at hand.
    shape: Vec<usize>,
    state: Vec<Carried>,
}

impl Updates<'_> {
    fn update(&mut self, optimizer: Optimizer, w: &str, g: &str) -> String {
        let output = format!("{w}/next");
        let descent = match optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                if momentum > 0.0 {
                    let ascent = self.momentum(w, g, (momentum, nesterov));
                    self.tape.emit_as(&output, "Add", &[w, &ascent], Vec::new());
                    return output;
                }
                g.to_owned()
            }
            Optimizer::RmsProp { rho, epsilon, momentum } => {
                let square = self.mul(g, g);
                let mean = self.slot(w, "velocity");
                let mean = self.blend(&mean, rho, &square);
                let shifted = self.shift(&mean, epsilon);
                let root = self.tape.emit("Sqrt", &[&shifted], Vec::new());
                let scaled = self.at_rate(g);
                let step = self.tape.emit("Div", &[&scaled, &root], Vec::new());
                if momentum > 0.0 { self.accumulate(w, &step, momentum) } else { step }
            }
            Optimizer::Adam { beta_1, beta_2, epsilon } => {
                let square = self.mul(g, g);
                let (mean, variance) = (self.slot(w, "momentum"), self.slot(w, "velocity"));
                let mean = self.approach(&mean, g, 1.0 - beta_1);
                let variance = self.approach(&variance, &square, 1.0 - beta_2);
                let root = self.tape.emit("Sqrt", &[&variance], Vec::new());
                let divisor = self.shift(&root, epsilon);
                let scaled = self.at_rate(&mean);
                self.tape.emit("Div", &[&scaled, &divisor], Vec::new())
            }
        };
        self.tape.emit_as(&output, "Sub", &[w, &descent], Vec::new());
        output
    }

    /// SGD's momentum, as what is to be added.
    fn momentum(&mut self, w: &str, step: &str, (momentum, nesterov): (f32, bool)) -> String {
        let slot = self.slot(w, "momentum");
        let kept = self.scale(&slot.input, momentum);
        self.tape.emit_as(&slot.output, "Sub", &[&kept, step], Vec::new());
        if nesterov {
            let ahead = self.scale(&slot.output, momentum);
            return self.tape.emit("Sub", &[&ahead, step], Vec::new());
        }
        slot.output
    }

    /// RMSprop's momentum.
    fn accumulate(&mut self, w: &str, step: &str, momentum: f32) -> String {
        let slot = self.slot(w, "momentum");
        let kept = self.scale(&slot.input, momentum);
        self.tape.emit_as(&slot.output, "Add", &[&kept, step], Vec::new());
        slot.output
    }

    /// `share · slot + (1 − share) · value`.
    fn blend(&mut self, slot: &Carried, share: f32, value: &str) -> String {
        let old = self.scale(&slot.input, share);
        let new = self.scale(value, 1.0 - share);
        self.tape.emit_as(&slot.output, "Add", &[&old, &new], Vec::new());
        slot.output.clone()
    }

    /// `slot + (value − slot) · share`.
    fn approach(&mut self, slot: &Carried, value: &str, share: f32) -> String {
        let way = self.tape.emit("Sub", &[value, &slot.input], Vec::new());
        let part = self.scale(&way, share);
        self.tape.emit_as(&slot.output, "Add", &[&slot.input, &part], Vec::new());
        slot.output.clone()
    }

    /// `rate · √(1 − beta_2ᵗ) ÷ (1 − beta_1ᵗ)`.
    fn corrected_rate(&mut self, beta_1: f32, beta_2: f32) -> String {
        let one = self.tape.scalar(1.0);
        let [first, second] = [beta_1, beta_2].map(|beta| {
            let beta = self.tape.scalar(beta);
            let power = self.tape.emit("Pow", &[&beta, STEP], Vec::new());
            self.tape.emit("Sub", &[&one, &power], Vec::new())
        });
        let root = self.tape.emit("Sqrt", &[&second], Vec::new());
        let scaled = self.mul(LEARNING_RATE, &root);
        self.tape.emit("Div", &[&scaled, &first], Vec::new())
    }

    /// A state tensor of parameter `w`.
    fn slot(&mut self, w: &str, role: &str) -> Carried {
        let input = format!("{w}/{role}");
        let slot = Carried { output: format!("{input}/next"), input, shape: self.shape.clone() };
        self.state.push(slot.clone());
        slot
    }

    fn mul(&mut self, left: &str, right: &str) -> String {
        self.tape.emit("Mul", &[left, right], Vec::new())
    }

    fn scale(&mut self, tensor: &str, factor: f32) -> String {
        let factor = self.tape.scalar(factor);
        self.tape.with_scalar("Mul", tensor, &factor, &self.shape)
    }

    fn shift(&mut self, tensor: &str, by: f32) -> String {
        let by = self.tape.scalar(by);
        self.tape.with_scalar("Add", tensor, &by, &self.shape)
    }

    fn at_rate(&mut self, tensor: &str) -> String {
        self.tape.with_scalar("Mul", tensor, &self.alpha, &self.shape)
    }
}
