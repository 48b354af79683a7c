//! A route's parameters as one declaration: names, types and words, from which come the check, the values and the document.
//!
//! Does not know which parameters there are; where they were found is [`super::query`]'s.

mod value;

use utoipa::openapi::{
    Object, ObjectBuilder, RefOr, Required,
    path::{self, ParameterBuilder, ParameterIn},
    schema::{ArrayBuilder, OneOfBuilder, Schema, Type},
};

use super::{error::ApiError, query::Query};
pub use value::{Value, refused, whole_number};

/// A parameter as it is declared.
#[derive(Clone)]
pub struct Parameter {
    /// How it is written.
    pub name: &'static str,
    /// Where it stands; what may stand in the query may stand in a body that has room for it, too.
    pub place: ParameterIn,
    /// Whether it may be a list.
    pub repeats: bool,
    about: String,
    schema: RefOr<Schema>,
    /// The schema that its own refers to, with its name.
    pub component: Option<(String, RefOr<Schema>)>,
}

/// Parameters that are declared together with [`parameters`].
pub trait Parameters: Field {
    /// In the order in which the document lists them.
    fn declared() -> &'static [Parameter];

    /// The values that `given` holds.
    ///
    /// # Errors
    /// [`ApiError::InvalidParameter`].
    fn read(given: &Query) -> Result<Self, ApiError> {
        <Self as Field>::find(given, "")
    }
}

/// What the type of a field of [`parameters`] has to say: one parameter, or several that are declared elsewhere.
pub trait Field: Sized {
    /// `parameter`, which has name, place and description, with what this type adds; or those that are declared elsewhere.
    fn declare(parameter: Parameter) -> Vec<Parameter>;

    /// The value that `given` holds under `name`.
    ///
    /// # Errors
    /// [`ApiError::InvalidParameter`].
    fn find(given: &Query, name: &'static str) -> Result<Self, ApiError>;
}

impl Parameter {
    /// A text that may be left out, described by the `lines` of a comment.
    pub fn new(name: &'static str, place: ParameterIn, lines: &[&str]) -> Self {
        let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        let (about, schema) = (lines.join("\n"), Object::with_type(Type::String).into());
        Self { name, place, repeats: false, about, schema, component: None }
    }

    /// The parameter of `set` that is called `name` and may stand in query and body.
    pub fn find<'a>(set: &'a [Self], name: &str) -> Option<&'a Self> {
        set.iter().find(|parameter| parameter.name == name && parameter.place == ParameterIn::Query)
    }

    /// Those of `set` that may stand in query and body.
    pub fn names(set: &[Self]) -> Vec<&'static str> {
        set.iter().filter(|parameter| parameter.place == ParameterIn::Query).map(|parameter| parameter.name).collect()
    }

    /// The schema of its field in a form.
    pub fn form_field(&self) -> RefOr<Schema> {
        match self.schema.clone() {
            RefOr::T(Schema::Object(object)) => {
                RefOr::T(ObjectBuilder::from(object).description(Some(self.about.clone())).into())
            }
            other => other,
        }
    }

    /// The schema of its field in JSON, where what repeats may be a list, or a number.
    pub fn json_field(&self) -> RefOr<Schema> {
        if !self.repeats {
            return self.form_field();
        }
        let any = OneOfBuilder::new()
            .item(Object::with_type(Type::String))
            .item(ObjectBuilder::new().schema_type(Type::Integer))
            .item(ArrayBuilder::new().items(Object::with_type(Type::String)))
            .description(Some(self.about.clone()));
        RefOr::T(any.into())
    }

    fn of<T: Value>(self) -> Vec<Self> {
        vec![Self { schema: T::schema(), component: T::component(), ..self }]
    }
}

impl From<&Parameter> for path::Parameter {
    fn from(parameter: &Parameter) -> Self {
        ParameterBuilder::new()
            .name(parameter.name)
            .parameter_in(parameter.place.clone())
            // What stands in the path is required all the same.
            .required(Required::False)
            .description(Some(parameter.about.clone()))
            .schema(Some(parameter.schema.clone()))
            .build()
    }
}

/// Declares a set of parameters as a struct: `name: type`, and where it stands if not in the query, as in `id: String => Path` or
/// `key: Option<String> => Header("Name")`. Handlers take the set as an argument.
macro_rules! parameters {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $set:ident {
            $(
                $(#[doc = $line:literal])+
                $field_vis:vis $field:ident: $type:ty $(=> $place:ident $(($wire:literal))?)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug)]
        $vis struct $set {
            $($(#[doc = $line])+ $field_vis $field: $type,)*
        }

        const _: () = {
            use $crate::http::{
                error::ApiError,
                parameters::{Field, Parameter, Parameters},
                query::Query,
            };

            impl Parameters for $set {
                fn declared() -> &'static [Parameter] {
                    static DECLARED: std::sync::LazyLock<Vec<Parameter>> = std::sync::LazyLock::new(|| {
                        let fields: Vec<Vec<Parameter>> = vec![$({
                            let name = $crate::http::parameters::parameters!(@name $field $($($wire)?)?);
                            let place = $crate::http::parameters::parameters!(@place $($place)?);
                            <$type as Field>::declare(Parameter::new(name, place, &[$($line),+]))
                        }),*];
                        fields.concat()
                    });
                    &DECLARED
                }
            }

            impl Field for $set {
                fn declare(_: Parameter) -> Vec<Parameter> {
                    <Self as Parameters>::declared().to_vec()
                }

                fn find(given: &Query, _: &'static str) -> Result<Self, ApiError> {
                    // A set may be empty.
                    let _ = given;
                    Ok(Self {$(
                        $field: <$type as Field>::find(
                            given,
                            $crate::http::parameters::parameters!(@name $field $($($wire)?)?),
                        )?,
                    )*})
                }
            }

            impl utoipa::IntoParams for $set {
                fn into_params(
                    _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
                ) -> Vec<utoipa::openapi::path::Parameter> {
                    <Self as Parameters>::declared().iter().map(Into::into).collect()
                }
            }

            impl<S: Sync> axum::extract::FromRequestParts<S> for $set {
                type Rejection = ApiError;

                async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, ApiError> {
                    <Self as Parameters>::read(&Query::of(parts, <Self as Parameters>::declared()).await?)
                }
            }
        };
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (@place) => { utoipa::openapi::path::ParameterIn::Query };
    (@place $place:ident) => { utoipa::openapi::path::ParameterIn::$place };
}

pub(in crate::http) use {parameters, value::choices};

impl<T: Value> Field for Option<T> {
    fn declare(parameter: Parameter) -> Vec<Parameter> {
        parameter.of::<T>()
    }

    fn find(given: &Query, name: &'static str) -> Result<Self, ApiError> {
        given.one(name)?.map(|text| parse(name, text)).transpose()
    }
}

/// A part of the path, which is always there.
impl<T: Value> Field for T {
    fn declare(parameter: Parameter) -> Vec<Parameter> {
        parameter.of::<T>()
    }

    fn find(given: &Query, name: &'static str) -> Result<Self, ApiError> {
        parse(name, given.one(name)?.unwrap_or_default())
    }
}

/// Values that repeat or are comma-separated.
impl Field for Vec<String> {
    fn declare(parameter: Parameter) -> Vec<Parameter> {
        vec![Parameter { repeats: true, ..parameter }]
    }

    fn find(given: &Query, name: &'static str) -> Result<Self, ApiError> {
        given.many(name)
    }
}

fn parse<T: Value>(name: &str, text: &str) -> Result<T, ApiError> {
    T::parse(text).map_err(|why| ApiError::InvalidParameter(format!("`{name}` {why}")))
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, extract::Request, routing::get};
    use serde_json::json;
    use utoipa::IntoParams;

    use crate::http::{
        router::around,
        testing::{answer, intake, server},
    };

    parameters! {
        /// Parameters in every place.
        struct Sample {
            /// Which one.
            id: String => Path,
            /// How many;
            /// all without.
            limit: Option<u32>,
            /// A key.
            key: Option<String> => Header("X-Key"),
        }
    }

    async fn check(uri: &str, keys: &[&str], expected: &str) {
        let handler = async |Sample { id, limit, key }: Sample| axum::Json(format!("{id} {limit:?} {key:?}"));
        let router = around(Router::new().route("/things/{id}", get(handler)), &intake(), &server());
        let request = keys.iter().fold(Request::get(uri), |request, key| request.header("X-Key", *key));
        let (_, _, body) = answer(&router, request.body(Body::empty()).expect("valid")).await;
        let got = body["detail"].as_str().or(body.as_str()).expect("a value or a problem");
        assert!(got.contains(expected), "{uri} {keys:?}: {body}");
    }

    #[tokio::test]
    async fn what_is_declared_is_read_and_nothing_else() {
        check("/things/a", &[], "a None None").await;
        check("/things/a%20b?limit=3", &["k"], "a b Some(3) Some(\"k\")").await;
        check("/things/a?limit=0", &[], "`limit` is `0`; it must be a whole number from 1").await;
        check("/things/a?limit=-1", &[], "`limit` is `-1`; it must be a whole number from 1").await;
        check("/things/a?limit=99999999999", &[], "it must be a whole number from 1").await;
        check("/things/a?limits=3", &[], "unknown parameter `limits`; did you mean `limit`? (this route takes `limit`)").await;
        check("/things/a?id=a", &[], "unknown parameter `id`").await;
        check("/things/a?X-Key=k", &[], "unknown parameter `X-Key`").await;
        check("/things/a", &["k", "k"], "`X-Key` is given more than once").await;
    }

    #[test]
    fn what_is_declared_is_documented() {
        let documented = serde_json::to_value(Sample::into_params(|| None)).expect("parameters are JSON");
        let number = json!({"type": "integer", "format": "int32", "minimum": 1});
        let expected = json!([
            {"name": "id", "in": "path", "required": true, "description": "Which one.", "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "required": false, "description": "How many;\nall without.", "schema": number},
            {"name": "X-Key", "in": "header", "required": false, "description": "A key.", "schema": {"type": "string"}},
        ]);
        assert_eq!(documented, expected);
    }
}
