//! Keys, what their values may be, and values that have been checked against that.
//!
//! Each section lists its keys; there is no other list of what can be configured.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use toml::Value;

use super::error::{ConfigError, Given};

/// Something that can be configured: its path, with `*` for a name that the user chooses, and its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub path: &'static str,
    pub kind: Kind,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Integer {
        min: u64,
        max: u64,
    },
    Boolean,
    /// Not empty.
    Text,
    /// Texts that are not empty; comma-separated in a variable.
    List,
    Choice(&'static [&'static str]),
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the binary.
    Default,
    /// In a file.
    File(PathBuf),
    /// As an environment variable of that name.
    Variable(String),
    /// On the command line.
    Flag,
}

/// Path of a value, one element per level; names in it may hold dots.
pub(super) type KeyPath = Vec<String>;

/// Values that keep their key's rule, each with its origin.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<KeyPath, (Value, Origin)>);

pub(super) const fn integer(path: &'static str, min: u64, max: u64) -> Key {
    Key { path, kind: Kind::Integer { min, max } }
}

/// Milliseconds from `min` to an hour.
pub(super) const fn milliseconds(path: &'static str, min: u64) -> Key {
    integer(path, min, 3_600_000)
}

pub(super) const fn of(path: &'static str, kind: Kind) -> Key {
    Key { path, kind }
}

impl Key {
    pub(super) fn matches(&self, path: &[String]) -> bool {
        let pattern = self.path.split('.');
        pattern.clone().count() == path.len() && pattern.zip(path).all(|(own, given)| own == "*" || own == given)
    }

    /// `GRAFT__SECTION__KEY`.
    pub(super) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.to_uppercase().replace('.', "__").replace('*', "NAME"))
    }
}

/// What the variables of keys begin with.
pub(super) const VARIABLE_PREFIX: &str = "GRAFT__";

impl Kind {
    /// The TOML value that `text` from a variable or flag stands for; text that is none stays text for [`Self::accepts`].
    pub(super) fn parse(self, text: &str) -> Value {
        let parsed = match self {
            Self::Integer { .. } => text.trim().parse().ok().map(Value::Integer),
            Self::Boolean => text.trim().parse().ok().map(Value::Boolean),
            Self::List if text.trim().is_empty() => Some(Value::Array(Vec::new())),
            Self::List => Some(text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>().into()),
            Self::Text | Self::Choice(_) => None,
        };
        parsed.unwrap_or_else(|| Value::String(text.to_owned()))
    }

    pub(super) fn accepts(self, value: &Value) -> bool {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        match self {
            Self::Integer { min, max } => {
                value.as_integer().and_then(|value| u64::try_from(value).ok()).is_some_and(|value| (min..=max).contains(&value))
            }
            Self::Boolean => value.is_bool(),
            Self::Text => text(value),
            Self::List => value.as_array().is_some_and(|items| items.iter().all(text)),
            Self::Choice(choices) => value.as_str().is_some_and(|value| choices.contains(&value)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Boolean => f.write_str("true or false"),
            Self::Text => f.write_str("text that is not empty"),
            Self::List => f.write_str("a list of names, none empty"),
            Self::Choice(choices) => write!(f, "one of {}", choices.join(", ")),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "from `{}`", path.display()),
            Self::Variable(name) => write!(f, "from the variable `{name}`"),
            Self::Flag => f.write_str("from the command line"),
        }
    }
}

/// The sections know their keys: a getter for a key that is missing or of another kind is a mistake in this crate,
/// which loading the defaults in a test would find.
const LISTED: &str = "the key is listed with this kind and default.toml or its reader gives its default";

impl Values {
    pub(super) fn set(&mut self, path: KeyPath, value: Value, origin: Origin) {
        self.0.insert(path, (value, origin));
    }

    pub(super) fn optional_integer(&self, key: &str) -> Option<u64> {
        let value = self.get(key)?.as_integer().and_then(|value| u64::try_from(value).ok());
        Some(value.expect(LISTED))
    }

    pub(super) fn integer(&self, key: &str) -> u64 {
        self.optional_integer(key).expect(LISTED)
    }

    /// An integer whose key's range fits `usize`.
    pub(super) fn size(&self, key: &str) -> usize {
        usize::try_from(self.integer(key)).unwrap_or(usize::MAX)
    }

    pub(super) fn duration(&self, key: &str) -> Duration {
        Duration::from_millis(self.integer(key))
    }

    pub(super) fn boolean(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).expect(LISTED)
    }

    pub(super) fn optional_text(&self, key: &str) -> Option<&str> {
        Some(self.get(key)?.as_str().expect(LISTED))
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.optional_text(key).expect(LISTED)
    }

    pub(super) fn optional_list(&self, key: &str) -> Option<Vec<String>> {
        let items = self.get(key)?.as_array().expect(LISTED);
        Some(items.iter().map(|item| item.as_str().expect(LISTED).to_owned()).collect())
    }

    /// Paths that begin as `prefix` does, with their texts.
    pub(super) fn texts_under<'a>(&'a self, prefix: &'a [&str]) -> impl Iterator<Item = (&'a [String], &'a str)> {
        let under =
            self.0.iter().filter(move |(path, _)| path.len() > prefix.len() && path.iter().zip(prefix).all(|(a, b)| a == b));
        under.filter_map(|(path, (value, _))| Some((path.as_slice(), value.as_str()?)))
    }

    /// The value of `key` breaks a rule that its kind does not tell.
    pub(super) fn invalid(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { given: self.given(key), expected: expected.into() }
    }

    /// Requires `small` ≤ `large`, both integers.
    pub(super) fn at_most(&self, small: &str, large: &str, why: &'static str) -> Result<(), ConfigError> {
        if self.integer(small) <= self.integer(large) {
            return Ok(());
        }
        Err(ConfigError::Conflict { given: self.given(small), bound: self.given(large), why })
    }

    fn given(&self, key: &str) -> Box<Given> {
        let (value, origin) = self.entry(key).expect(LISTED);
        Box::new(Given { key: key.to_owned(), value: shown(value), origin: origin.clone() })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|(value, _)| value)
    }

    fn entry(&self, key: &str) -> Option<&(Value, Origin)> {
        self.0.get(&key.split('.').map(str::to_owned).collect::<KeyPath>())
    }
}

/// A value for a message: text without quotes, at most 200 characters.
pub(super) fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().take(200).collect()
}
