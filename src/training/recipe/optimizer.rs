//! From the optimizer of a request to one with all its parameters; what it does not have is a problem.
//!
//! Knows names and ranges; the formulas are [`super::rule`]'s.

use super::{
    draft::POSITIVE,
    problem::{Choice, Problems, quoted},
    request::{OptimizerRequest, PhaseRequest},
    rule::{LearningRate, Optimizer, OptimizerKind, Schedule},
};

/// How the weights of a phase change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    pub(super) optimizer: Optimizer,
    pub(super) learning_rate: LearningRate,
    pub(super) l2: f64,
}

impl Rule {
    /// RMSprop at 0.001.
    pub(super) fn of_head() -> Self {
        Self::plain(Optimizer::Rmsprop { rho: 0.9, momentum: 0.0, epsilon: EPSILON }, 1e-3)
    }

    /// SGD at 0.0001 with momentum 0.9.
    pub(super) fn of_base() -> Self {
        Self::plain(Optimizer::Sgd { momentum: 0.9, nesterov: false }, 1e-4)
    }

    fn plain(optimizer: Optimizer, initial: f64) -> Self {
        let learning_rate = LearningRate { initial, decay: 0.0, schedule: Schedule::Constant };
        Self { optimizer, learning_rate, l2: 0.0 }
    }
}

/// Keras's ε of RMSprop and Adam.
const EPSILON: f64 = 1e-7;

/// The rule of the phase at `field`, without its L2; `default` where it names no optimizer.
pub(super) fn rule(field: &str, phase: &PhaseRequest, default: Rule, problems: &mut Problems) -> Rule {
    let inner = format!("{field}.optimizer");
    let (optimizer, initial, schedule) = match &phase.optimizer {
        None => (default.optimizer, default.learning_rate.initial, default.learning_rate.schedule),
        Some(request) => {
            let (optimizer, initial) = optimizer(&inner, request, problems);
            (optimizer, initial, Schedule::Constant)
        }
    };
    let none = OptimizerRequest::default();
    let request = phase.optimizer.as_ref().unwrap_or(&none);
    let mut either = Either { phase: field, optimizer: &inner, problems };
    let learning_rate = either.number("learning_rate", phase.learning_rate, request.learning_rate, initial, POSITIVE);
    let decay = (phase.learning_rate_decay, request.learning_rate_decay);
    let decay = either.number("learning_rate_decay", decay.0, decay.1, 0.0, (std::ops::Bound::Included(0.0), POSITIVE.1));
    let schedule = either.schedule(phase.schedule.as_ref(), request.schedule.as_ref(), schedule);
    Rule { optimizer, learning_rate: LearningRate { initial: learning_rate, decay, schedule }, l2: 0.0 }
}

/// A field that may stand in the phase or in its optimizer, not in both.
struct Either<'a> {
    phase: &'a str,
    optimizer: &'a str,
    problems: &'a mut Problems,
}

type Range = (std::ops::Bound<f64>, std::ops::Bound<f64>);

impl Either<'_> {
    fn number(&mut self, name: &str, outer: Option<f64>, inner: Option<f64>, default: f64, range: Range) -> f64 {
        let place = self.place(name, outer.is_some(), inner.is_some());
        self.problems.single(&place, outer.or(inner), default, range)
    }

    fn schedule(&mut self, outer: Option<&Choice<Schedule>>, inner: Option<&Choice<Schedule>>, default: Schedule) -> Schedule {
        let place = self.place("schedule", outer.is_some(), inner.is_some());
        self.problems.choice(&place, outer.or(inner), default)
    }

    fn place(&mut self, name: &str, outer: bool, inner: bool) -> String {
        let place = format!("{}.{name}", if outer { self.phase } else { self.optimizer });
        if outer && inner {
            self.problems.add(&place, format!("is given here and in `optimizer`; leave one `{name}` out"));
        }
        place
    }
}

/// The optimizer with Keras's defaults, and Keras's default rate for it.
fn optimizer(field: &str, request: &OptimizerRequest, problems: &mut Problems) -> (Optimizer, f64) {
    if request.kind.is_none() {
        problems.add(format!("{field}.type"), "is missing; use `sgd`, `rmsprop` or `adam`");
    }
    let kind = problems.choice(&format!("{field}.type"), request.kind.as_ref(), OptimizerKind::Sgd);
    if let Some(Choice::Known(kind)) = &request.kind {
        foreign(field, *kind, request, problems);
    }
    let mut number = |name: &str, value: Option<f64>, default: f64, range: Range| {
        problems.single(&format!("{field}.{name}"), value, default, range)
    };
    let share = (std::ops::Bound::Included(0.0), std::ops::Bound::Excluded(1.0));
    let momentum = number("momentum", request.momentum, 0.0, (std::ops::Bound::Included(0.0), std::ops::Bound::Included(1.0)));
    let epsilon = number("epsilon", request.epsilon, EPSILON, POSITIVE);
    match kind {
        OptimizerKind::Sgd => (Optimizer::Sgd { momentum, nesterov: request.nesterov.unwrap_or(false) }, 0.01),
        OptimizerKind::Rmsprop => {
            let rho = number("rho", request.rho, 0.9, share);
            (Optimizer::Rmsprop { rho, momentum, epsilon }, 1e-3)
        }
        OptimizerKind::Adam => {
            let (beta_1, beta_2) = (number("beta_1", request.beta_1, 0.9, share), number("beta_2", request.beta_2, 0.999, share));
            (Optimizer::Adam { beta_1, beta_2, epsilon }, 1e-3)
        }
    }
}

/// Parameters of other optimizers.
fn foreign(field: &str, kind: OptimizerKind, request: &OptimizerRequest, problems: &mut Problems) {
    let (name, own): (&str, &[&str]) = match kind {
        OptimizerKind::Sgd => ("sgd", &["momentum", "nesterov"]),
        OptimizerKind::Rmsprop => ("rmsprop", &["rho", "momentum", "epsilon"]),
        OptimizerKind::Adam => ("adam", &["beta_1", "beta_2", "epsilon"]),
    };
    let given = [
        ("momentum", request.momentum.is_some()),
        ("nesterov", request.nesterov.is_some()),
        ("rho", request.rho.is_some()),
        ("beta_1", request.beta_1.is_some()),
        ("beta_2", request.beta_2.is_some()),
        ("epsilon", request.epsilon.is_some()),
    ];
    for (parameter, _) in given.into_iter().filter(|(parameter, given)| *given && !own.contains(parameter)) {
        let detail = format!("is not a parameter of `{name}`, which has {} besides its rate; leave it out", quoted(own));
        problems.add(format!("{field}.{parameter}"), detail);
    }
}
