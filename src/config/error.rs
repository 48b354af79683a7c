//! What is wrong with the configuration: each message names the key, its value and where that came from.

use std::{fmt, io, path::PathBuf};

use super::key::Origin;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("the configuration `{}` is not TOML", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line and rule.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The folder given holds no configuration.
    #[error("the configuration folder `{}` has neither `default.toml` nor `{environment}.toml`", .dir.display())]
    NoFiles {
        /// The folder.
        dir: PathBuf,
        /// The environment chosen.
        environment: &'static str,
    },
    /// Not an environment.
    #[error("unknown environment `{0}` in GRAFT_ENVIRONMENT; it is `development` or `production`")]
    Environment(String),
    /// A key that does not exist.
    #[error("unknown setting `{name}` ({origin}){}", .nearest.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The key, or the variable's name.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// The key or variable that comes nearest.
        nearest: Option<String>,
    },
    /// A key that an older graft had.
    #[error("the setting `{name}` ({origin}) is `{now}` now: {change}")]
    Renamed {
        /// The key, or the variable's name.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// The key or variable that took its place.
        now: String,
        /// What it means now.
        change: &'static str,
    },
    /// A value that its key does not take.
    #[error("{given}; it must be {expected}")]
    Invalid {
        /// The value.
        given: Box<Given>,
        /// What it may be.
        expected: String,
    },
    /// Two values that contradict each other.
    #[error("{given}, but {bound}; {why}")]
    Conflict {
        /// The value that is too large.
        given: Box<Given>,
        /// The value that bounds it.
        bound: Box<Given>,
        /// What would go wrong.
        why: &'static str,
    },
}

/// A value as it was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The key.
    pub key: String,
    /// What it is.
    pub value: String,
    /// Where it was given.
    pub origin: Origin,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is `{}` ({})", self.key, self.value, self.origin)
    }
}
