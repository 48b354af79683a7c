//! The query string as a checked list of parameters: nothing unknown, nothing twice, nothing empty.
//!
//! Knows how parameters are written; which ones a route takes is [`super::params`]'s.

use std::{fmt::Display, str::FromStr};

use axum::{extract::Query as Pairs, http::Uri};

use super::error::ApiError;
use crate::registry::nearest;

/// A route's query parameters.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `uri`'s query; every name must be among `allowed`.
    ///
    /// # Errors
    /// A name that is not allowed (naming the nearest that is), an empty value, a query that cannot be decoded.
    pub fn parse(uri: &Uri, allowed: &[&str]) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::InvalidParameter(format!("cannot read the query string: {error}")))?;
        for (name, value) in &pairs {
            if !allowed.contains(&name.as_str()) {
                return Err(unknown(name, allowed));
            }
            if value.is_empty() {
                return Err(ApiError::InvalidParameter(format!("`{name}` is empty; give it a value or leave it out")));
            }
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.values(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(ApiError::InvalidParameter(format!("`{name}` is given more than once"))),
        }
    }

    /// The values of a parameter that repeats or is comma-separated, in order.
    ///
    /// # Errors
    /// When an element is empty.
    pub fn many(&self, name: &str) -> Result<Vec<String>, ApiError> {
        self.values(name)
            .flat_map(|value| value.split(','))
            .map(|value| match value.trim() {
                "" => Err(ApiError::InvalidParameter(format!("`{name}` has an empty element; write `{name}=a,b`"))),
                value => Ok(value.to_owned()),
            })
            .collect()
    }

    /// A parameter whose value is one of `choices`.
    ///
    /// # Errors
    /// Any other value; the message lists the choices.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
                Err(ApiError::InvalidParameter(format!("`{name}` is `{value}`; it may be {}", words.join(", "))))
            }
        }
    }

    /// A whole number from 1.
    ///
    /// # Errors
    /// Anything else.
    pub fn positive<T: FromStr + PartialEq + From<u8>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.one(name)?.map(|value| positive(name, value)).transpose()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// `value` of the parameter `name` as a whole number from 1.
///
/// # Errors
/// Anything else.
pub fn positive<T: FromStr + PartialEq + From<u8>>(name: &str, value: &str) -> Result<T, ApiError> {
    match value.parse::<T>() {
        Ok(number) if number != T::from(0) => Ok(number),
        _ => Err(ApiError::InvalidParameter(format!("`{name}` is `{value}`; it must be a whole number from 1"))),
    }
}

/// The one value that the path and the query give for `name`.
///
/// # Errors
/// When they disagree.
pub fn agree<T: PartialEq + Display>(name: &str, path: Option<T>, query: Option<T>) -> Result<Option<T>, ApiError> {
    match (path, query) {
        (Some(path), Some(query)) if path != query => {
            Err(ApiError::InvalidParameter(format!("`{name}` is `{path}` in the path but `{query}` in the query; give it once")))
        }
        (path, query) => Ok(path.or(query)),
    }
}

fn unknown(name: &str, allowed: &[&str]) -> ApiError {
    let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let all: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let near = nearest(name, allowed);
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near)) };
    ApiError::InvalidParameter(match all.len() {
        0 => format!("unknown parameter `{name}`; this route takes none"),
        _ => format!("unknown parameter `{name}`{hint} (this route takes {})", quoted(&all)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, read: impl Fn(&Query) -> Result<String, ApiError>, expected: Result<&str, &str>) {
        let uri: Uri = format!("/features?{query}").parse().expect("the test's query is a valid uri");
        let got = Query::parse(&uri, &["layer", "pool", "top_k", "model"]).and_then(|query| read(&query));
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{query}"),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{query}: {got}"),
            (got, expected) => panic!("{query}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn parameters_are_read_or_refused_by_name() {
        let one = |query: &Query| Ok(query.one("model")?.unwrap_or("-").to_owned());
        check("", one, Ok("-"));
        check("model=vgg16", one, Ok("vgg16"));
        check("model=a%20b", one, Ok("a b"));
        check("model=a&model=b", one, Err("`model` is given more than once"));
        check("modle=a", one, Err("did you mean `model`?"));
        check("topk=1", one, Err("did you mean `top_k`?"));
        check("zzz=1", one, Err("takes `layer`, `pool`, `top_k`, `model`"));
        check("model=", one, Err("`model` is empty"));
    }

    #[test]
    fn lists_repeat_or_are_comma_separated() {
        let many = |query: &Query| Ok(query.many("layer")?.join("|"));
        check("layer=a,b&layer=c", many, Ok("a|b|c"));
        check("layer=a,,b", many, Err("empty element"));
        check("", many, Ok(""));
    }

    #[test]
    fn choices_and_numbers_say_what_is_valid() {
        let pool = |query: &Query| Ok(query.choice("pool", &[("avg", 1), ("max", 2)])?.map_or("-".to_owned(), |n| n.to_string()));
        check("pool=max", pool, Ok("2"));
        check("pool=AVG", pool, Err("it may be `avg`, `max`"));
        let top_k = |query: &Query| Ok(query.positive::<usize>("top_k")?.map_or("-".to_owned(), |n| n.to_string()));
        check("top_k=7", top_k, Ok("7"));
        check("top_k=0", top_k, Err("whole number from 1"));
        check("top_k=-1", top_k, Err("whole number from 1"));
        check("top_k=99999999999999999999999", top_k, Err("whole number from 1"));
    }

    #[test]
    fn path_and_query_must_agree() {
        assert_eq!(agree("version", Some(1), Some(1)).expect("they agree"), Some(1));
        assert_eq!(agree("version", None, Some(2)).expect("one is given"), Some(2));
        let error = agree("version", Some(1), Some(2)).expect_err("they differ");
        assert!(error.to_string().contains("`1` in the path but `2` in the query"), "{error}");
    }
}
