//! What a key may do: three scopes, each of which includes those before it.

use std::{fmt, str::FromStr};

use crate::message::excerpt;

/// What a key may do; each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask models, and see which there are.
    Predict,
    /// Upload data sets; make, watch and cancel jobs.
    Train,
    /// Everything: choose, delete, download and import models, and delete data sets.
    Admin,
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no scope; it is `predict`, `train` or `admin`, each of which includes those before it", excerpt(.0))]
pub struct UnknownScope(String);

impl Scope {
    /// Every scope, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Predict, Self::Train, Self::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Train => "train",
            Self::Admin => "admin",
        }
    }

    /// Whether whoever has it may do what needs `other`.
    pub fn includes(self, other: Self) -> bool {
        self >= other
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or_else(|| UnknownScope(text.to_owned()))
    }
}
