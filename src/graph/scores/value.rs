//! What is known of a tensor's values: bounds, and what they sum up to.
//!
//! Knows no operators and no graph.

/// What is known of every value of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Value {
    pub(super) form: Form,
    /// None is smaller.
    pub(super) low: f64,
    /// None is larger.
    pub(super) high: f64,
}

/// What the values of an image are together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Not negative, and their sum is `total`.
    Shares {
        /// 1 after a softmax.
        total: f64,
    },
    /// Logarithms of shares of 1.
    Logarithms,
    /// Results of a matrix or a convolution, which may be any number.
    Unbounded,
    /// Nothing more than the bounds.
    Other,
}

impl Value {
    pub(super) const ANY: Self = Self::within(f64::NEG_INFINITY, f64::INFINITY);
    pub(super) const UNBOUNDED: Self = Self { form: Form::Unbounded, ..Self::ANY };
    pub(super) const SHARES: Self = Self { form: Form::Shares { total: 1.0 }, ..Self::within(0.0, 1.0) };
    pub(super) const LOGARITHMS: Self = Self { form: Form::Logarithms, ..Self::within(f64::NEG_INFINITY, 0.0) };

    pub(super) const fn within(low: f64, high: f64) -> Self {
        Self { form: Form::Other, low, high }
    }

    /// The one number that all values are.
    pub(super) fn constant(self) -> Option<f64> {
        (self.form == Form::Other && self.low == self.high).then_some(self.low)
    }

    /// Without what the values are together.
    pub(super) fn apart(self) -> Self {
        let form = if self.form == Form::Unbounded { Form::Unbounded } else { Form::Other };
        Self { form, ..self }
    }

    /// `function` of every value, which must not fall.
    pub(super) fn rising(self, function: impl Fn(f64) -> f64) -> Self {
        Self::within(function(self.low), function(self.high))
    }

    pub(super) fn clamped(self, low: f64, high: f64) -> Self {
        Self { low: self.low.clamp(low, high), high: self.high.clamp(low, high), ..self }
    }

    pub(super) fn negated(self) -> Self {
        Self { low: -self.high, high: -self.low, ..self.apart() }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        /// An epsilon against division by zero or the logarithm of 0 leaves shares what they are.
        const EPSILON: f64 = 1e-3;
        let small = |value: Self| value.constant().is_some_and(|constant| constant.abs() <= EPSILON);
        let form = match (self.form, other.form) {
            (Form::Shares { total: a }, Form::Shares { total: b }) => Form::Shares { total: a + b },
            (shares @ Form::Shares { .. }, _) if small(other) => shares,
            (_, shares @ Form::Shares { .. }) if small(self) => shares,
            (Form::Unbounded, _) | (_, Form::Unbounded) => Form::Unbounded,
            _ => Form::Other,
        };
        Self { form, low: self.low + other.low, high: self.high + other.high }
    }

    pub(super) fn times(self, factor: f64) -> Self {
        let form = match self.form {
            Form::Shares { total } if factor > 0.0 => Form::Shares { total: total * factor },
            Form::Logarithms if factor == 1.0 => Form::Logarithms,
            Form::Unbounded if factor != 0.0 => Form::Unbounded,
            _ => Form::Other,
        };
        let bound = |bound: f64| if bound == 0.0 { 0.0 } else { bound * factor };
        let (a, b) = (bound(self.low), bound(self.high));
        Self { form, low: a.min(b), high: a.max(b) }
    }

    pub(super) fn multiplied(self, other: Self) -> Self {
        match (self.constant(), other.constant()) {
            (_, Some(factor)) => self.times(factor),
            (Some(factor), _) => other.times(factor),
            _ if self.low >= 0.0 && other.low >= 0.0 => Self::within(self.low * other.low, self.high * other.high),
            _ => Self::ANY,
        }
    }

    /// `numerator` over every value.
    pub(super) fn under(self, numerator: f64) -> Self {
        if self.low > 0.0 || self.low == 0.0 && numerator >= 0.0 {
            let (a, b) = (numerator / self.high, numerator / self.low);
            return Self::within(a.min(b), a.max(b));
        }
        Self::ANY
    }

    /// What both are.
    pub(super) fn or(self, other: Self) -> Self {
        let form = if self.form == other.form { self.form } else { Form::Other };
        Self { form, low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}
