//! A classifier's output: its tensor, what its numbers are, and how that was found.
//!
//! Knows values, not graphs: what operators say is `graph::Scores`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MetadataError;
use crate::graph::Scores;

/// The classifier's output tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Name of the graph's tensor.
    pub tensor: String,
    /// What its numbers are.
    pub kind: OutputKind,
    /// How that was found; absent in metadata of format 1, which held a guess.
    #[serde(default)]
    pub found_by: FoundBy,
}

/// What the output's numbers are, and with it how they become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// Scores before a softmax, which is taken.
    Logits,
    /// Scores after a softmax, served as they are.
    Probabilities,
    /// Logarithms of probabilities, which are exponentiated.
    LogProbabilities,
    /// A score per class, each for itself, as a sigmoid gives them: served as they are.
    Independent,
    /// The same before the sigmoid, which is taken.
    IndependentLogits,
    /// One probability p, of the second of two classes; the first gets 1 − p.
    Binary,
    /// The same before the sigmoid, which is taken.
    BinaryLogit,
}

/// How the kind of an output was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// From the operators that make it.
    Graph,
    /// From its values for a few images, where the operators say nothing.
    Probe,
    /// The user said so.
    Given,
    /// An earlier graft guessed; the values decide when the model loads.
    #[default]
    Guess,
}

/// Something that an import could not know and took for granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Assumption {
    /// The setting that says otherwise: a key of the TOML file; the flag has `-` for `_`.
    #[schema(example = "mode")]
    pub setting: String,
    /// What was assumed.
    #[schema(example = "torch: RGB, less ImageNet's mean, over its deviation")]
    pub assumed: String,
}

impl OutputKind {
    /// Every kind, with its name.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("logits", Self::Logits),
        ("probabilities", Self::Probabilities),
        ("log_probabilities", Self::LogProbabilities),
        ("independent", Self::Independent),
        ("independent_logits", Self::IndependentLogits),
        ("binary", Self::Binary),
        ("binary_logit", Self::BinaryLogit),
    ];

    /// Its name in files, flags and answers.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Classes that an output of `values` numbers scores.
    pub fn classes(self, values: usize) -> usize {
        if matches!(self, Self::Binary | Self::BinaryLogit) { 2 * values } else { values }
    }

    /// The kind for an output of `values` numbers: a single one scores two classes.
    pub fn of_values(self, values: usize) -> Self {
        match self {
            Self::Logits | Self::IndependentLogits if values == 1 => Self::BinaryLogit,
            Self::Probabilities | Self::Independent if values == 1 => Self::Binary,
            other => other,
        }
    }

    /// The kind that `rows`, the output for a few different images, have the marks of.
    ///
    /// Quantised probabilities miss a sum of 1 by some hundredths.
    pub fn by_values(rows: &[Vec<f32>]) -> Self {
        const SLACK: f64 = 0.05;
        let values = rows.first().map_or(0, Vec::len);
        let all = |holds: &dyn Fn(f64) -> bool| rows.iter().flatten().all(|&value| holds(f64::from(value)));
        let sums = |of: &dyn Fn(f64) -> f64| {
            rows.iter().map(|row| row.iter().map(|&value| of(f64::from(value))).sum::<f64>()).collect::<Vec<_>>()
        };
        let one = |sums: &[f64]| sums.iter().all(|sum| (sum - 1.0).abs() <= SLACK);
        let shares = all(&|value| (-1e-6..=1.0 + 1e-3).contains(&value));
        // Percentages: no sum of logits is the same for every image.
        let same = |sums: &[f64]| sums.iter().all(|sum| *sum > 0.0 && (sum - sums[0]).abs() <= 1e-3 * sums[0]);
        let differ = rows.iter().any(|row| row != &rows[0]);
        let kind = if shares && one(&sums(&|value| value)) {
            Self::Probabilities
        } else if shares || all(&|value| value >= 0.0) && differ && same(&sums(&|value| value)) {
            Self::Independent
        } else if all(&|value| value <= 1e-6) && one(&sums(&f64::exp)) {
            Self::LogProbabilities
        } else {
            Self::Logits
        };
        kind.of_values(values)
    }
}

impl From<Scores> for OutputKind {
    fn from(scores: Scores) -> Self {
        match scores {
            Scores::Logits => Self::Logits,
            Scores::Probabilities => Self::Probabilities,
            Scores::LogProbabilities => Self::LogProbabilities,
            Scores::Independent => Self::Independent,
        }
    }
}

impl std::str::FromStr for OutputKind {
    type Err = MetadataError;

    fn from_str(name: &str) -> Result<Self, MetadataError> {
        let wanted = name.replace('-', "_");
        let known = Self::NAMES.iter().find(|(known, _)| *known == wanted);
        known.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            MetadataError { field: "output_kind", rule: format!("is one of {}, not `{name}`", names.join(", ")) }
        })
    }
}

impl std::fmt::Display for OutputKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for FoundBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Graph => "from the graph",
            Self::Probe => "from trial runs",
            Self::Given => "as given",
            Self::Guess => "guessed by an earlier graft",
        })
    }
}

impl Assumption {
    /// That `setting` was taken to be `assumed`.
    pub fn new(setting: &str, assumed: impl Into<String>) -> Self {
        Self { setting: setting.to_owned(), assumed: assumed.into() }
    }
}

impl std::fmt::Display for Assumption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, assumed } = self;
        write!(f, "assumed {setting} {assumed}; `--{}` changes it", setting.replace('_', "-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_tell_what_they_are() {
        let check = |rows: &[&[f32]], expected: OutputKind| {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.to_vec()).collect();
            assert_eq!(OutputKind::by_values(&rows), expected, "{rows:?}");
        };
        check(&[&[0.1, 0.9], &[0.5, 0.5]], OutputKind::Probabilities);
        check(&[&[0.498_039, 0.498_039, 0.0], &[0.99, 0.0, 0.0]], OutputKind::Probabilities);
        check(&[&[0.1, 0.9], &[0.9, 0.9]], OutputKind::Independent);
        check(&[&[0.0, 0.0], &[0.5, 0.5]], OutputKind::Independent);
        check(&[&[-0.105, -2.303], &[-0.693, -0.693]], OutputKind::LogProbabilities);
        check(&[&[-0.1, -3.0], &[-2.0, -2.0]], OutputKind::Logits);
        check(&[&[0.1, 0.9], &[0.5, 1.5]], OutputKind::Logits);
        check(&[&[10.0, 90.0], &[50.0, 50.0]], OutputKind::Independent);
        check(&[&[10.0, 90.0], &[10.0, 90.0]], OutputKind::Logits);
        check(&[&[0.3], &[0.7]], OutputKind::Binary);
        check(&[&[0.3], &[-7.0]], OutputKind::BinaryLogit);
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for (name, kind) in OutputKind::NAMES {
            assert_eq!(name.replace('_', "-").parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).expect("a word"), name);
        }
        let error = "softmax".parse::<OutputKind>().expect_err("it is no kind").to_string();
        assert!(error.starts_with("`output_kind` is one of logits, probabilities, log_probabilities, "), "{error}");
    }
}
