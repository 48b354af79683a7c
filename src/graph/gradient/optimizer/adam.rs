//! `keras.optimizers.Adam` (`keras/src/optimizers/adam.py`).

use super::{Carried, Kind, LEARNING_RATE, Optimizer, Parameter, STEP, Tape, Update, kind};

const BETA_1: Parameter = Parameter::number("beta_1", 0.9, kind::SHARE, "Decay of the mean.");
const BETA_2: Parameter = Parameter::number("beta_2", 0.999, kind::SHARE, "Decay of the mean square.");
const EPSILON: Parameter = Parameter::number("epsilon", 1e-7, kind::POSITIVE, "Added to the root.");

pub(super) const ADAM: Kind = Kind {
    name: "adam",
    about: "`keras.optimizers.Adam`: `m ← m + (g − m)(1 − beta_1)`; `v ← v + (g² − v)(1 − beta_2)`; \
            `w ← w − lr · √(1 − beta_2ᵗ) / (1 − beta_1ᵗ) · m / (√v + epsilon)`, t from 1.",
    learning_rate: 1e-3,
    parameters: &[BETA_1, BETA_2, EPSILON],
    is_linear: false,
    rate: Some(corrected_rate),
    update,
};

/// `lr · √(1 − beta_2ᵗ) ÷ (1 − beta_1ᵗ)`: makes up for a state that starts at 0.
fn corrected_rate(tape: &mut Tape, optimizer: &Optimizer) -> String {
    let one = tape.scalar(1.0);
    let [first, second] = [BETA_1, BETA_2].map(|beta| {
        let beta = tape.scalar(optimizer.number(&beta));
        let power = tape.emit("Pow", &[&beta, STEP], Vec::new());
        tape.emit("Sub", &[&one, &power], Vec::new())
    });
    let root = tape.emit("Sqrt", &[&second], Vec::new());
    let scaled = tape.emit("Mul", &[LEARNING_RATE, &root], Vec::new());
    tape.emit("Div", &[&scaled, &first], Vec::new())
}

fn update(update: &mut Update<'_>, g: &str) {
    let (beta_1, beta_2, epsilon) = (update.number(&BETA_1), update.number(&BETA_2), update.number(&EPSILON));
    let square = update.emit("Mul", &[g, g]);
    let (mean, variance) = (update.slot("momentum"), update.slot("velocity"));
    approach(update, &mean, g, 1.0 - beta_1);
    approach(update, &variance, &square, 1.0 - beta_2);
    let root = update.emit("Sqrt", &[&variance.output]);
    let divisor = update.shift(&root, epsilon);
    let scaled = update.at_rate(&mean.output);
    let step = update.emit("Div", &[&scaled, &divisor]);
    update.subtract(&step);
}

/// `slot ← slot + (value − slot) · share`.
fn approach(update: &mut Update<'_>, slot: &Carried, value: &str, share: f32) {
    let way = update.emit("Sub", &[value, &slot.input]);
    let part = update.scale(&way, share);
    update.emit_as(&slot.output, "Add", &[&slot.input, &part]);
}
