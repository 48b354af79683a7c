//! `keras.optimizers.SGD` (`keras/src/optimizers/sgd.py`).

use std::ops::Bound::Included;

use super::{Kind, Parameter, Update};

const MOMENTUM: Parameter = Parameter::number("momentum", 0.0, (Included(0.0), Included(1.0)), "0 for plain gradient descent.");
const NESTEROV: Parameter = Parameter::flag("nesterov", false, "Whether the step looks ahead.");

pub(super) const SGD: Kind = Kind {
    name: "sgd",
    about: "`keras.optimizers.SGD`: `v ← momentum · v − lr · g`; `w ← w + v`, with nesterov `w ← w + momentum · v − lr · g`.",
    learning_rate: 0.01,
    parameters: &[MOMENTUM, NESTEROV],
    is_linear: true,
    rate: None,
    update,
};

/// The gradient comes with the rate in it.
fn update(update: &mut Update<'_>, g: &str) {
    let momentum = update.number(&MOMENTUM);
    if momentum == 0.0 {
        return update.subtract(g);
    }
    let velocity = update.slot("momentum");
    let kept = update.scale(&velocity.input, momentum);
    update.emit_as(&velocity.output, "Sub", &[&kept, g]);
    if !update.flag(&NESTEROV) {
        return update.add(&velocity.output);
    }
    let ahead = update.scale(&velocity.output, momentum);
    let step = update.emit("Sub", &[&ahead, g]);
    update.add(&step);
}
