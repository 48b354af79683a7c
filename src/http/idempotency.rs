//! The `Idempotency-Key` header: a structured-field string as in the IETF's draft, or bare as most clients send it.
//!
//! Reads the key; what it protects is the store's.

use axum::http::{HeaderMap, HeaderName};

use super::error::ApiError;

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest key in bytes.
const MAX_BYTES: usize = 255;

/// The key, without quotes, if there is one.
///
/// # Errors
/// [`ApiError::InvalidParameter`] for one that is empty, too long, given twice or badly quoted.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused("is given more than once"));
    }
    let text = value.to_str().map_err(|_| refused("holds more than visible ASCII characters"))?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted).ok_or_else(|| refused("has quotes that do not match"))?,
        None if text.contains(|letter: char| !letter.is_ascii_graphic()) => return Err(refused("has spaces; quote it")),
        None => text.to_owned(),
    };
    if !(1..=MAX_BYTES).contains(&key.len()) {
        return Err(refused(&format!("has {} characters; 1 to {MAX_BYTES} will do, such as a UUID", key.len())));
    }
    Ok(Some(key))
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

fn refused(why: &str) -> ApiError {
    ApiError::InvalidParameter(format!("`Idempotency-Key` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Result<Option<&str>, &str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, value.parse().expect("valid"));
        }
        match (key(&headers), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got.as_deref(), expected, "{values:?}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{values:?}: {error}"),
            (got, expected) => panic!("{values:?}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn keys_are_bare_or_quoted() {
        check(&[], Ok(None));
        check(&["8e03978e-40d5"], Ok(Some("8e03978e-40d5")));
        check(&["\"8e03978e-40d5\""], Ok(Some("8e03978e-40d5")));
        check(&[r#""a \"b\" \\""#], Ok(Some(r#"a "b" \"#)));
        check(&["a", "a"], Err("more than once"));
        check(&["\"a"], Err("quotes"));
        check(&["\"a\" b"], Err("quotes"));
        check(&[r#""\a""#], Err("quotes"));
        check(&["a b"], Err("has spaces; quote it"));
        check(&[""], Err("has 0 characters"));
        check(&["\"\""], Err("has 0 characters"));
        check(&[&"x".repeat(256)], Err("has 256 characters"));
    }
}
