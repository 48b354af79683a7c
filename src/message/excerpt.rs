//! What a message shows of a value that came from outside: all of a short one, both ends of a long one.
//!
//! A message is no place for megabytes of a body, nor for control characters. Knows nothing of what the values mean.

use std::fmt::{self, Display, Write};

/// Characters of a value that are shown in full.
const WHOLE: usize = 60;
/// Characters of a longer one that are shown at its beginning, and at its end.
const HEAD: usize = 40;
const TAIL: usize = 16;

/// A value as a message shows it; see [`excerpt`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Excerpt<'a>(&'a str);

/// `text` for a message: at most 60 characters, without control characters; nothing is copied.
pub(crate) fn excerpt<T: AsRef<str> + ?Sized>(text: &T) -> Excerpt<'_> {
    Excerpt(text.as_ref())
}

/// What `serde` calls by the names of Rust's types.
const PLAIN: [(&str, &str); 5] = [
    (", expected i64", ", expected a whole number"),
    (", expected u32", ", expected a whole number from 0 on"),
    (", expected u64", ", expected a whole number from 0 on"),
    (", expected usize", ", expected a whole number from 0 on"),
    (", expected f64", ", expected a number"),
];

/// What `serde` said, without more of the input than an excerpt: its messages quote the value that they refuse.
pub(crate) fn serde_message(error: &dyn Display) -> String {
    const QUOTING: [&str; 5] = ["invalid type: ", "invalid value: ", "unknown field ", "unknown variant ", "duplicate field "];
    const OWN: usize = 300;
    let text = PLAIN.iter().fold(error.to_string(), |text, (name, words)| text.replace(name, words));
    if text.len() <= OWN && !QUOTING.iter().any(|start| text.starts_with(start)) {
        return text;
    }
    // Behind the last of these, it lists what our own types expect.
    let (value, expected) = text.rfind(", expected ").map_or((text.as_str(), ""), |at| text.split_at(at));
    let expected = match expected.strip_prefix(", expected struct ") {
        Some(named) => format!(", expected an object{}", named.trim_start_matches(char::is_alphanumeric)),
        None => expected.to_owned(),
    };
    format!("{}{expected}", excerpt(value))
}

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if text.char_indices().nth(WHOLE).is_none() {
            return write_visible(f, text.chars());
        }
        write_visible(f, text.chars().take(HEAD))?;
        f.write_char('…')?;
        let tail = text.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
        write_visible(f, text[tail..].chars())
    }
}

fn write_visible(f: &mut fmt::Formatter<'_>, mut letters: impl Iterator<Item = char>) -> fmt::Result {
    letters.try_for_each(|letter| f.write_char(if letter.is_control() { '\u{fffd}' } else { letter }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_show_both_ends() {
        let check = |text: &str, expected: &str| assert_eq!(excerpt(text).to_string(), expected);
        check("", "");
        check("block1_conv1", "block1_conv1");
        check("tab\there\n", "tab\u{fffd}here\u{fffd}");
        check(&"ä".repeat(60), &"ä".repeat(60));
        check(&"ä".repeat(61), &format!("{}…{}", "ä".repeat(40), "ä".repeat(16)));
        check(&format!("{}{}z", "a".repeat(500_000), "€".repeat(15)), &format!("{}…{}z", "a".repeat(40), "€".repeat(15)));
    }

    #[test]
    fn what_serde_quotes_is_shortened_and_what_it_expects_is_not() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Document {
            #[expect(dead_code, reason = "only its type matters")]
            version: u32,
        }
        let check = |json: String, expected: &str| {
            let text = serde_message(&serde_json::from_str::<Document>(&json).expect_err("it is refused"));
            assert!(text.contains(expected) && text.chars().count() < 160, "{text}");
            assert!(!text.contains(&"A".repeat(50)), "{text}");
        };
        let long = "A".repeat(10_000);
        check(format!(r#"{{"version":"{long}"}}"#), "expected a whole number from 0 on at line 1 column");
        check(format!(r#"{{"{long}":1}}"#), "expected `version` at line 1 column");
        check(format!(r#"{{"version":"{long}, expected {long}"}}"#), "expected a whole number from 0 on at line 1");
        check(format!("\"{long}\""), "expected an object at line 1");
        check("{".to_owned(), "EOF while parsing");
    }
}
