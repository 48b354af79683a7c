//! The values of parameters: text, numbers, flags, and the words of enumerations, each with its schema.
//!
//! Knows no parameter by name.

use utoipa::openapi::{
    KnownFormat, Object, ObjectBuilder, RefOr, SchemaFormat,
    schema::{Schema, Type},
};

use crate::message::excerpt;

/// One value of a parameter.
pub trait Value: Sized {
    /// The value that `text` is.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence that begins with the parameter's name.
    fn parse(text: &str) -> Result<Self, String>;

    /// What the document says of its type: that it is a text.
    fn schema() -> RefOr<Schema> {
        Object::with_type(Type::String).into()
    }

    /// What [`Self::schema`] refers to, if it is a reference.
    fn component() -> Option<(String, RefOr<Schema>)> {
        None
    }
}

/// Makes enumerations values of parameters: their words are those of `serde`, and their schemas list them.
macro_rules! choices {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::http::parameters::Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                $crate::message::word(text).map_err(|error| $crate::http::parameters::refused(text, &error.to_string()))
            }

            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::Ref::from_schema_name(<Self as utoipa::ToSchema>::name()).into()
            }

            fn component() -> Option<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)> {
                Some((<Self as utoipa::ToSchema>::name().into_owned(), <Self as utoipa::PartialSchema>::schema()))
            }
        }
    )+};
}

pub(in crate::http) use choices;

/// That a value is `text`, and what it may be instead.
pub fn refused(text: &str, why: &str) -> String {
    format!("is `{}`; {why}", excerpt(text))
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| refused(text, "it may be `true`, `false`"))
    }

    fn schema() -> RefOr<Schema> {
        Object::with_type(Type::Boolean).into()
    }
}

macro_rules! whole_numbers_from_1 {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                let number = text.parse::<$type>().ok().filter(|number| *number != 0);
                number.ok_or_else(|| refused(text, "it must be a whole number from 1"))
            }

            fn schema() -> RefOr<Schema> {
                whole_number(KnownFormat::Int32).minimum(Some(1)).into()
            }
        }
    )+};
}

whole_numbers_from_1!(u32, usize);

/// The schema of a whole number.
pub fn whole_number(format: KnownFormat) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(format)))
}
