//! What is wrong with a request: every problem, each with its field and a way out.
//!
//! Knows words and ranges; knows nothing of models.

use std::{
    fmt::Display,
    ops::{Bound, RangeBounds},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{excerpt, words};

pub use crate::message::FieldProblem as Problem;

/// A word of the request: one of `T`'s, or something else, which is reported together with everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice<T> {
    /// One of the words there are.
    Known(T),
    /// Something else.
    Unknown(serde_json::Value),
}

/// Collects problems.
#[derive(Debug, Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(Problem { field: field.into(), detail: detail.into() });
    }

    /// `value` or `default`; a problem when it is outside `range`, with the default in its place.
    pub(super) fn within<T>(&mut self, field: &str, value: Option<T>, default: T, range: impl RangeBounds<T>) -> T
    where
        T: PartialOrd + Copy + Display,
    {
        match value {
            Some(value) if !range.contains(&value) => {
                self.add(field, format!("is {value}; it must be {}", describe(&range)));
                default
            }
            Some(value) => value,
            None => default,
        }
    }

    /// As [`Self::within`], for a value that is computed with as float32, in which it must be within `range` too.
    pub(super) fn single(&mut self, field: &str, value: Option<f64>, default: f64, range: impl RangeBounds<f64>) -> f64 {
        let rounded = |value: f64| f64::from(value as f32);
        match value {
            Some(value) if range.contains(&value) && !range.contains(&rounded(value)) => {
                let detail = format!("is {value:e}, in float32 {}; it must be {}", rounded(value), describe(&range));
                self.add(field, detail);
                default
            }
            _ => self.within(field, value, default, range),
        }
    }

    /// The word chosen, or `default`; a problem when there is no such word.
    pub(super) fn choice<T: ToSchema + Copy>(&mut self, field: &str, choice: Option<&Choice<T>>, default: T) -> T {
        match choice {
            Some(Choice::Known(value)) => *value,
            Some(Choice::Unknown(value)) => {
                self.add(field, format!("is {}; use {}", shown(value), quoted(&words::<T>())));
                default
            }
            None => default,
        }
    }
}

impl<T> From<T> for Choice<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

/// A value for a message: a word as it is, anything else as JSON, shortened.
pub(super) fn shown(value: &serde_json::Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{}`", excerpt(&text))
}

/// `` `a`, `b` or `c` ``.
pub(super) fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn describe<T: Display>(range: &impl RangeBounds<T>) -> String {
    let low = match range.start_bound() {
        Bound::Included(low) => format!("at least {low}"),
        Bound::Excluded(low) => format!("more than {low}"),
        Bound::Unbounded => String::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(high) => format!("at most {high}"),
        Bound::Excluded(high) => format!("less than {high}"),
        Bound::Unbounded => String::new(),
    };
    let and = if low.is_empty() || high.is_empty() { "" } else { " and " };
    format!("{low}{and}{high}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_in_words() {
        #[track_caller]
        fn check(value: f64, range: impl RangeBounds<f64>, expected: &[&str]) {
            let mut problems = Problems::default();
            problems.within("f", Some(value), 0.5, range);
            let found: Vec<&str> = problems.0.iter().map(|problem| problem.detail.as_str()).collect();
            assert_eq!(found, expected);
        }
        check(0.2, 0.0..1.0, &[]);
        check(1.0, 0.0..1.0, &["is 1; it must be at least 0 and less than 1"]);
        check(2.0, ..=1.0, &["is 2; it must be at most 1"]);
        check(f64::NAN, 0.0.., &["is NaN; it must be at least 0"]);
        check(0.0, (Bound::Excluded(0.0), Bound::Unbounded), &["is 0; it must be more than 0"]);
    }

    #[test]
    fn what_float32_cannot_hold_is_out_of_range() {
        let positive = || (Bound::Excluded(0.0), Bound::Included(1e9));
        let mut problems = Problems::default();
        assert_eq!(problems.single("f", Some(1e-5), 0.5, positive()), 1e-5);
        assert_eq!(problems.single("f", Some(1e-300), 0.5, positive()), 0.5);
        problems.single("f", Some(0.999_999_999_9), 0.5, 0.0..1.0);
        let found: Vec<&str> = problems.0.iter().map(|problem| problem.detail.as_str()).collect();
        let positive = "is 1e-300, in float32 0; it must be more than 0 and at most 1000000000";
        assert_eq!(found, [positive, "is 9.999999999e-1, in float32 1; it must be at least 0 and less than 1"]);
    }

    #[test]
    fn words_are_listed() {
        assert_eq!(quoted::<&str>(&[]), "");
        assert_eq!(quoted(&["a"]), "`a`");
        assert_eq!(quoted(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
