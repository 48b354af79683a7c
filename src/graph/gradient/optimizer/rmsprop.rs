//! `keras.optimizers.RMSprop` (`keras/src/optimizers/rmsprop.py`).

use std::ops::Bound::Included;

use super::{Kind, Parameter, Update, kind};

const RHO: Parameter = Parameter::number("rho", 0.9, kind::SHARE, "Decay of the mean square.");
const MOMENTUM: Parameter = Parameter::number("momentum", 0.0, (Included(0.0), Included(1.0)), "0 for none.");
const EPSILON: Parameter = Parameter::number("epsilon", 1e-7, kind::POSITIVE, "Added under the root, as in Keras 3.");

pub(super) const RMSPROP: Kind = Kind {
    name: "rmsprop",
    about: "`keras.optimizers.RMSprop`: `s ← rho · s + (1 − rho) · g²`; `u = lr · g / √(s + epsilon)`; `w ← w − u`, with \
            momentum `v ← momentum · v + u`; `w ← w − v`.",
    learning_rate: 1e-3,
    parameters: &[RHO, MOMENTUM, EPSILON],
    is_linear: false,
    rate: None,
    update,
};

fn update(update: &mut Update<'_>, g: &str) {
    let (rho, momentum, epsilon) = (update.number(&RHO), update.number(&MOMENTUM), update.number(&EPSILON));
    let square = update.emit("Mul", &[g, g]);
    let mean = update.slot("velocity");
    let old = update.scale(&mean.input, rho);
    let new = update.scale(&square, 1.0 - rho);
    update.emit_as(&mean.output, "Add", &[&old, &new]);
    let shifted = update.shift(&mean.output, epsilon);
    let root = update.emit("Sqrt", &[&shifted]);
    let scaled = update.at_rate(g);
    let step = update.emit("Div", &[&scaled, &root]);
    if momentum == 0.0 {
        return update.subtract(&step);
    }
    let velocity = update.slot("momentum");
    let kept = update.scale(&velocity.input, momentum);
    update.emit_as(&velocity.output, "Add", &[&kept, &step]);
    update.subtract(&velocity.output);
}
