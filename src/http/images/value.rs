//! What JSON may hold besides images: parameters as strings, numbers, booleans and lists, and names; all of bounded length.
//!
//! Knows not which parameters there are, nor what they mean.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::MAX_NAME;
use crate::{
    http::query::{MAX_LIST, MAX_VALUE},
    message::excerpt,
};

/// A field's name; of a long one an excerpt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short(pub String);

/// An image's name, of at most [`MAX_NAME`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

/// A parameter, as the query would have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`, as if it were left out.
    Null,
    /// A string, number or boolean.
    One(String),
    /// A list of such.
    Many(Vec<String>),
    /// What no parameter is.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Short;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Short, E> {
                Ok(Short(excerpt(text).to_string()))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                match text.len() {
                    0..=MAX_NAME => Ok(Name(text.to_owned())),
                    length => Err(E::custom(format!("an image's `name` has {length} bytes; {MAX_NAME} are the most"))),
                }
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::One(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::One(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::One(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::One(value.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        // One byte more than may be: the parameter's own check refuses it by name.
        let end = text.floor_char_boundary(MAX_VALUE + 4);
        Ok(Value::One(text[..end].to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let (mut values, mut bytes) = (Vec::new(), 0);
        while let Some(value) = sequence.next_element::<Value>()? {
            let Value::One(value) = value else {
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Other("a list of what is no text or number"));
            };
            bytes += value.len();
            if bytes > MAX_VALUE {
                return Err(A::Error::custom("a list of parameters is too long"));
            }
            // One more than may be: the list is refused by its parameter's name.
            if values.len() <= MAX_LIST {
                values.push(value);
            }
        }
        Ok(Value::Many(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}
