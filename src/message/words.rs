//! The words of enumerations: those that `serde` reads and writes, and that schemas list.
//!
//! Knows no enumeration.

use serde::{
    Serialize,
    de::{DeserializeOwned, IntoDeserializer, value::Error},
};
use utoipa::{
    ToSchema,
    openapi::{Object, RefOr, schema::Schema},
};

/// No word of an enumeration; these are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it may be {}", quoted(.0, ", "))]
pub struct UnknownWord(Vec<String>);

/// The value that `text` stands for.
///
/// # Errors
/// The words that there are.
pub(crate) fn word<T: DeserializeOwned + ToSchema>(text: &str) -> Result<T, UnknownWord> {
    let reader = IntoDeserializer::<Error>::into_deserializer(text);
    T::deserialize(reader).map_err(|_| UnknownWord(words::<T>()))
}

/// The words of an enumeration; none of what is none.
pub(crate) fn words<T: ToSchema>() -> Vec<String> {
    match T::schema() {
        RefOr::T(Schema::Object(Object { enum_values: Some(words), .. })) => {
            words.iter().filter_map(|word| word.as_str()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The word that stands for `value`.
pub(crate) fn spelled<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("a unit variant is a string");
    value.as_str().expect("a unit variant is a string").to_owned()
}

/// `words` as a message lists them.
pub(crate) fn quoted(words: &[impl AsRef<str>], separator: &str) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(separator)
}
