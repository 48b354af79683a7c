//! The `Idempotency-Key` header: a structured-field string as in the IETF's draft, or bare as most clients send it.
//!
//! Reads the key; what it protects is the store's.

use super::parameters::Value;

/// Longest key in bytes.
const MAX_BYTES: usize = 255;

/// The key, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl Value for IdempotencyKey {
    fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| Err(why.to_owned());
        if text.contains(|letter: char| !matches!(letter, '\t' | ' '..='~')) {
            return refused("holds more than visible ASCII characters");
        }
        let text = text.trim();
        let key = match text.strip_prefix('"').map(unquoted) {
            Some(Some(key)) => key,
            Some(None) => return refused("has quotes that do not match"),
            None if text.contains(|letter: char| !letter.is_ascii_graphic()) => return refused("has spaces; quote it"),
            None => text.to_owned(),
        };
        match key.len() {
            1..=MAX_BYTES => Ok(Self(key)),
            length => Err(format!("has {length} characters; 1 to {MAX_BYTES} will do, such as a UUID")),
        }
    }
}

/// A structured-field string behind its opening quote (RFC 8941 §3.3.3).
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::new();
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(key),
            '\\' => key.push(letters.next().filter(|letter| matches!(letter, '"' | '\\'))?),
            letter => key.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (IdempotencyKey::parse(text), expected) {
            (Ok(IdempotencyKey(got)), Ok(expected)) => assert_eq!(got, expected, "{text}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (got, expected) => panic!("{text}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn keys_are_bare_or_quoted() {
        check("8e03978e-40d5", Ok("8e03978e-40d5"));
        check("\"8e03978e-40d5\"", Ok("8e03978e-40d5"));
        check(r#""a \"b\" \\""#, Ok(r#"a "b" \"#));
        check("\"a", Err("quotes"));
        check("\"a\" b", Err("quotes"));
        check(r#""\a""#, Err("quotes"));
        check("a b", Err("has spaces; quote it"));
        check("ä", Err("visible ASCII"));
        check("", Err("has 0 characters"));
        check("\"\"", Err("has 0 characters"));
        check(&"x".repeat(256), Err("has 256 characters"));
    }
}
