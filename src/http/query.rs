//! A request's parameters as a checked list, from its path, query, headers and body: nothing unknown, nothing twice, nothing empty.
//!
//! Knows where parameters stand; which ones a route takes, and what their values are, is declared with [`super::parameters`].

use std::fmt::{self, Display};

use axum::{
    extract::{FromRequestParts, Query as Pairs, RawPathParams},
    http::{Uri, request::Parts},
};
use utoipa::openapi::path::ParameterIn;

use super::{error::ApiError, parameters::Parameter};
use crate::{
    message::{excerpt, quoted},
    registry::{named_model, nearest},
};

/// Longest value, in bytes; lists of layers are the longest that mean something.
pub const MAX_VALUE: usize = 16 << 10;

/// Most values of a list; no network has as many layers that are worth asking for at once.
pub const MAX_LIST: usize = 4096;

/// A request's parameters.
pub struct Query {
    declared: &'static [Parameter],
    given: Vec<Given>,
}

/// A value, and where it was given.
struct Given {
    name: String,
    value: String,
    place: Place,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query string.
    Query,
    /// In a header.
    Header,
    /// In a JSON body.
    Json,
    /// In a part of a form.
    Form,
    /// Behind the `@` of `model`.
    Model,
}

impl Query {
    /// Reads path, query and headers of a route that takes what is `declared`.
    ///
    /// # Errors
    /// A name in the query that is not declared (naming the nearest that is), an empty value, a path or query that cannot be decoded.
    pub async fn of(parts: &mut Parts, declared: &'static [Parameter]) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params.map_err(|error| ApiError::InvalidParameter(format!("cannot read the path: {error}")))?;
        let mut query = Self { declared, given: Vec::new() };
        for (name, value) in &params {
            query.add(Place::Path, name.to_owned(), value.to_owned())?;
        }
        for Parameter { name, .. } in declared.iter().filter(|parameter| parameter.place == ParameterIn::Header) {
            query.given.extend(parts.headers.get_all(*name).iter().map(|value| Given {
                name: (*name).to_owned(),
                value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
                place: Place::Header,
            }));
        }
        query.and_query(&parts.uri)
    }

    fn and_query(self, uri: &Uri) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::InvalidParameter(format!("cannot read the query string: {error}")))?;
        self.and(Place::Query, pairs)
    }

    /// The same with what stands in another place.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn and(mut self, place: Place, pairs: Vec<(String, String)>) -> Result<Self, ApiError> {
        for (name, value) in pairs {
            if Parameter::find(self.declared, &name).is_none() {
                return Err(ApiError::InvalidParameter(unknown(&name, &Parameter::names(self.declared))));
            }
            if value.is_empty() {
                return Err(ApiError::InvalidParameter(format!("`{name}` is empty; give it a value or leave it out")));
            }
            self.add(place, name, value)?;
        }
        Ok(self)
    }

    /// Adds what is known to be declared.
    ///
    /// # Errors
    /// A value that is too long, a model with a version that is none.
    pub fn add(&mut self, place: Place, name: String, value: String) -> Result<(), ApiError> {
        if value.len() > MAX_VALUE {
            let shown = excerpt(&value);
            return Err(ApiError::InvalidParameter(format!("`{name}` is `{shown}`; it has more than {MAX_VALUE} bytes")));
        }
        if name != "model" {
            self.given.push(Given { name, value, place });
            return Ok(());
        }
        let (model, version) = named_model(&value).map_err(|error| ApiError::InvalidParameter(format!("`model` {error}")))?;
        if let Some(version) = version {
            self.given.push(Given { name: "version".to_owned(), value: version.to_string(), place: Place::Model });
        }
        self.given.push(Given { name, value: model.to_owned(), place });
        Ok(())
    }

    /// The value of a parameter that may be given once.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.values(name);
        let Some(first) = values.next() else { return Ok(None) };
        for other in values {
            if other.place == first.place && first.place != Place::Model {
                return Err(ApiError::InvalidParameter(format!("`{name}` is given more than once")));
            }
            if other.value != first.value {
                return Err(contradiction(name, (&first.value, first.place), (&other.value, other.place)));
            }
        }
        Ok(Some(&first.value))
    }

    /// The values of a parameter that repeats or is comma-separated, in order.
    ///
    /// # Errors
    /// When an element is empty; when there are more than [`MAX_LIST`]; when two places give different lists.
    pub fn many(&self, name: &str) -> Result<Vec<String>, ApiError> {
        let Some(first) = self.values(name).next().map(|given| given.place) else { return Ok(Vec::new()) };
        let list = |place: Place| -> Result<Vec<String>, ApiError> {
            let values = self.values(name).filter(|given| given.place == place);
            let values = values.flat_map(|given| given.value.split(',')).take(MAX_LIST + 1);
            let list: Vec<String> = values.map(|value| element(name, value)).collect::<Result<_, _>>()?;
            if list.len() > MAX_LIST {
                let why = format!("`{name}` lists more than {MAX_LIST} values; ask for fewer at a time");
                return Err(ApiError::InvalidParameter(why));
            }
            Ok(list)
        };
        let values = list(first)?;
        let mut others = Vec::new();
        for given in self.values(name).filter(|given| given.place != first) {
            if !others.contains(&given.place) {
                others.push(given.place);
            }
        }
        for other in others {
            let others = list(other)?;
            if others != values {
                return Err(contradiction(name, (&values.join(","), first), (&others.join(","), other)));
            }
        }
        Ok(values)
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &Given> {
        self.given.iter().filter(move |given| given.name == name)
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "the path",
            Self::Query => "the query",
            Self::Header => "the headers",
            Self::Json => "the JSON",
            Self::Form => "the form",
            Self::Model => "`model`",
        })
    }
}

fn element(name: &str, value: &str) -> Result<String, ApiError> {
    match value.trim() {
        "" => Err(ApiError::InvalidParameter(format!("`{name}` has an empty element; write `{name}=a,b`"))),
        value => Ok(value.to_owned()),
    }
}

fn contradiction(name: &str, (value, place): (&str, Place), (other, elsewhere): (&str, Place)) -> ApiError {
    let (value, other) = (excerpt(value), excerpt(other));
    ApiError::InvalidParameter(format!("`{name}` is `{value}` in {place} but `{other}` in {elsewhere}; give it once"))
}

/// That `name` is none of `allowed`, with those that come near.
pub fn unknown(name: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return format!("unknown parameter `{}`; this route takes none", excerpt(name));
    }
    let near = nearest(name, allowed);
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", quoted(&near, ", ")) };
    format!("unknown parameter `{}`{hint} (this route takes {})", excerpt(name), quoted(allowed, ", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{image_parameters::FeaturesQuery, parameters::Parameters};

    fn none() -> Query {
        Query { declared: FeaturesQuery::declared(), given: Vec::new() }
    }

    fn check(query: &str, read: impl Fn(&Query) -> Result<String, ApiError>, expected: Result<&str, &str>) {
        let uri: Uri = format!("/features?{query}").parse().expect("the test's query is a valid uri");
        match (none().and_query(&uri).and_then(|query| read(&query)), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{query}"),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{query}: {got}"),
            (got, expected) => panic!("{query}: got {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn long_lists_in_two_places_are_compared_once() {
        let given = |place: Place| {
            (0..MAX_LIST).map(move |number| Given { name: "layer".to_owned(), value: format!("l{number}"), place })
        };
        let query = Query { given: given(Place::Query).chain(given(Place::Json)).collect(), ..none() };
        assert_eq!(query.many("layer").map(|values| values.len()).map_err(|error| error.to_string()), Ok(MAX_LIST));
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
        check("zzz=1", one, Err("takes `model`, `version`, `layer`, `pool`"));
        check("model=", one, Err("`model` is empty"));
    }

    #[test]
    fn lists_repeat_or_are_comma_separated() {
        let many = |query: &Query| Ok(query.many("layer")?.join("|"));
        check("layer=a,b&layer=c", many, Ok("a|b|c"));
        check("layer=a,,b", many, Err("empty element"));
        let most = vec!["a"; MAX_LIST].join(",");
        check(&format!("layer={most}"), |query| Ok(query.many("layer")?.len().to_string()), Ok("4096"));
        check(&format!("layer={most}&layer=b"), many, Err("`layer` lists more than 4096 values; ask for fewer at a time"));
        check("", many, Ok(""));
    }

    /// The list is `model`, `version`, `layer` of the path, the query and a JSON body, or what is wrong with them.
    async fn check_places(path: &str, query: &str, json: &[(&str, &str)], expected: Result<&str, &str>) {
        let pairs = json.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let read = || {
            let mut given = none();
            for (name, value) in path.split('&').filter_map(|pair| pair.split_once('=')) {
                given.add(Place::Path, name.to_owned(), value.to_owned())?;
            }
            let uri: Uri = format!("/features?{query}").parse().expect("valid");
            let given = given.and_query(&uri)?.and(Place::Json, pairs)?;
            let (model, version) = (given.one("model")?.unwrap_or("-"), given.one("version")?.unwrap_or("-"));
            Ok::<_, ApiError>(format!("{model} {version} {}", given.many("layer")?.join("|")))
        };
        match (read(), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{path} {query} {json:?}"),
            (Err(got), Err(expected)) => assert!(got.to_string().contains(expected), "{path} {query} {json:?}: {got}"),
            (got, expected) => panic!("{path} {query} {json:?}: got {got:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn places_may_share_what_is_asked_and_must_agree() {
        let (a, fc) = ([("model", "a")], [("layer", "fc1"), ("layer", "fc2")]);
        check_places("", "", &[], Ok("- - ")).await;
        check_places("model=a&version=1", "layer=x,y", &[], Ok("a 1 x|y")).await;
        check_places("model=a", "version=2", &fc, Ok("a 2 fc1|fc2")).await;
        check_places("model=a", "model=a", &a, Ok("a - ")).await;
        check_places("", "layer=fc1,fc2", &fc, Ok("- - fc1|fc2")).await;
        check_places("model=a@3", "", &a, Ok("a 3 ")).await;
        check_places("", "model=a@3&version=3", &[("model", "a@3")], Ok("a 3 ")).await;
        check_places("model=b", "", &a, Err("`model` is `b` in the path but `a` in the JSON; give it once")).await;
        check_places("", "model=b", &a, Err("`model` is `b` in the query but `a` in the JSON; give it once")).await;
        check_places("version=1", "version=2", &[], Err("`version` is `1` in the path but `2` in the query")).await;
        check_places("", "layer=fc1", &fc, Err("`layer` is `fc1` in the query but `fc1,fc2` in the JSON")).await;
        check_places("", "model=a@1&version=2", &[], Err("`version` is `1` in `model` but `2` in the query")).await;
        check_places("", "model=a@1", &[("model", "a@2")], Err("`version` is `1` in `model` but `2` in `model`")).await;
        check_places("", "model=a@x", &[], Err("`model` is `a@x`; write `NAME`, or `NAME@VERSION`")).await;
        check_places("", "", &[("model", "a"), ("model", "a")], Err("`model` is given more than once")).await;
        check_places("", "", &[("topk", "1")], Err("unknown parameter `topk`; did you mean `top_k`?")).await;
    }

    #[test]
    fn no_message_repeats_a_long_value() {
        let long = "A".repeat(20_000);
        for query in [
            format!("top_k={long}"),
            format!("{long}=1"),
            format!("model={long}@x"),
            format!("model=a@{long}"),
            format!("pool={long}"),
        ] {
            let uri: Uri = format!("/features?{query}").parse().expect("valid");
            let error = none().and_query(&uri).and_then(|query| FeaturesQuery::read(&query));
            let text = error.expect_err(&query[..10]).to_string();
            assert!(text.len() < 400 && !text.contains(&"A".repeat(50)), "{text}");
        }
    }
}
