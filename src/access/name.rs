//! Names of keys: a narrow alphabet, so that a name can stand in a log, a table and a header as it is.

use std::{fmt, str::FromStr, sync::Arc};

use super::key;
use crate::message::excerpt;

/// Longest name of a key, in characters.
const MAX_LENGTH: usize = 64;

/// The name of a key: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

/// A text that is no name of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Too long, or of other letters.
    #[error(
        "`{}` is no name of a key: it has 1 to {MAX_LENGTH} of the letters a to z (either case), digits, `.`, `_` and `-`, and begins with a letter \
         or digit",
        excerpt(.0)
    )]
    Alphabet(String),
    /// The key itself, which no message repeats.
    #[error("this is a key or begins as one does (`{}`): give its name, which `graft keys list` shows", key::PREFIX)]
    Key,
}

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with(key::PREFIX) {
            return Err(InvalidName::Key);
        }
        let narrow = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        match begins && text.len() <= MAX_LENGTH && text.bytes().all(narrow) {
            true => Ok(Self(text.into())),
            false => Err(InvalidName::Alphabet(text.to_owned())),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_narrow_alphabet() {
        let check = |text: &str, valid: bool| assert_eq!(text.parse::<KeyName>().is_ok(), valid, "{text:?}");
        check("ci", true);
        check("Ana.phone_2-b", true);
        check(&"x".repeat(MAX_LENGTH), true);
        check(&"x".repeat(MAX_LENGTH + 1), false);
        for wrong in ["", ".", "-x", "_x", "a b", "a/b", "a\nb", "é", "a\"b", "a\u{202e}b", "a\0"] {
            check(wrong, false);
        }
        let error = "a\nb".parse::<KeyName>().expect_err("two lines").to_string();
        assert!(!error.contains('\n'), "{error:?}");
    }

    #[test]
    fn a_key_in_a_names_place_is_not_repeated() {
        let error = "graft_0123456789ab_5ec2e7".parse::<KeyName>().expect_err("a key").to_string();
        assert!(!error.contains("5ec2e7"), "{error}");
    }
}
