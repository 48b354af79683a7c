//! The key in a request's headers: one, in one of two places.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::access::Refused;

/// The header of clients that cannot send `Authorization`.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What `Authorization` is called in this place (RFC 6750); in any case, as RFC 9110 has it.
const SCHEME: &str = "Bearer";

/// The text that stands where a key does.
///
/// # Errors
/// None, or two that differ: whose key counts would be a guess, and a proxy might guess otherwise.
pub fn key(headers: &HeaderMap) -> Result<&str, Refused> {
    let authorization = one(headers, &header::AUTHORIZATION, "there are several `Authorization` headers")?;
    let own = one(headers, &X_API_KEY, "there are several `X-API-Key` headers")?;
    // Another scheme beside `X-API-Key` is for somebody in front of graft.
    match (authorization.map(bearer), own) {
        (Some(Some(key)), Some(own)) if key != own => {
            Err(Refused::Malformed("there is a key in `Authorization` and another in `X-API-Key`"))
        }
        (_, Some("")) | (Some(Some("")), None) => {
            Err(Refused::Malformed("the header has no key in it (is the variable empty that it should come from?)"))
        }
        (_, Some(key)) | (Some(Some(key)), None) => Ok(key),
        (Some(None), None) => Err(Refused::Malformed("`Authorization` does not begin with `Bearer `")),
        (None, None) => Err(Refused::Missing),
    }
}

/// Takes every key out of `headers`.
pub fn remove(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(X_API_KEY);
}

/// What follows the scheme, if that is ours.
fn bearer(value: &str) -> Option<&str> {
    // Where nothing follows it, the space is gone, too.
    let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_start())
}

/// The value of a header that may come once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName, several: &'static str) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Refused::Malformed(several)),
        (value, None) => value.map(HeaderValue::to_str).transpose().map_err(|_| Refused::Malformed("the header is not ASCII")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_in_one_header() {
        let check = |lines: &[(&str, &str)], expected: Result<&str, &str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            match (key(&headers), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{lines:?}"),
                (Err(refused), Err(why)) => assert!(refused.to_string().contains(why), "{lines:?}: {refused}"),
                (found, _) => panic!("{lines:?}: {found:?}"),
            }
        };
        check(&[("Authorization", "Bearer k")], Ok("k"));
        check(&[("Authorization", "bEARER k")], Ok("k"));
        check(&[("Authorization", "Bearer   k")], Ok("k"));
        check(&[("X-API-Key", "k")], Ok("k"));
        check(&[("Authorization", "Basic dTpw"), ("X-API-Key", "k")], Ok("k"));
        check(&[], Err("needs a key"));
        check(&[("Authorization", "")], Err("does not begin with `Bearer `"));
        check(&[("Authorization", "Bearer")], Err("has no key in it"));
        check(&[("Authorization", "Bearer ")], Err("has no key in it"));
        check(&[("X-API-Key", "")], Err("has no key in it"));
        check(&[("Authorization", "Bearerk")], Err("does not begin with `Bearer `"));
        check(&[("Authorization", "k")], Err("does not begin with `Bearer `"));
        check(&[("Authorization", "Basic dTpw")], Err("does not begin with `Bearer `"));
        check(&[("Authorization", "Bearer k"), ("Authorization", "Bearer k")], Err("several `Authorization`"));
        check(&[("X-API-Key", "k"), ("X-API-Key", "k")], Err("several `X-API-Key`"));
        check(&[("Authorization", "Bearer k"), ("X-API-Key", "k")], Ok("k"));
        check(&[("Authorization", "Bearer k"), ("X-API-Key", "l")], Err("in `Authorization` and another in `X-API-Key`"));
        check(&[("X-API-Key", "é")], Err("not ASCII"));
        check(&[("Cookie", "key=k"), ("Proxy-Authorization", "Bearer k")], Err("needs a key"));
    }
}
