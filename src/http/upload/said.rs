//! How a sender wants its data set to be read: parameters of the query, a form's fields or JSON.
//!
//! Reads words; what they change is the store's.

use std::{fmt, str::FromStr};

use axum::http::request::Parts;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, schema::Schema},
};

use crate::{
    datasets::{FolderLayout, NameEncoding, ReadAs},
    http::{
        error::ApiError,
        parameters::{Parameter, Parameters, Value, parameters, refused},
        query::{Place, Query},
    },
    message::{excerpt, quoted},
};

parameters! {
    /// What `POST /datasets` takes.
    pub struct DatasetsQuery {
        /// What folders are that are called as splits (`train`, `val`, `test` and their like): `splits` or `classes`. Needed where
        /// both can be meant; the answer to a request without it shows both readings.
        layout: Option<FolderLayout>,
        /// What names that are not UTF-8 are written in: a label of an encoding, such as `shift_jis`, `gbk`, `big5`, `euc-kr`,
        /// `windows-1252`, `ibm866`, `cp437` or `cp850`.
        names: Option<NameEncoding>,
    }
}

impl Value for FolderLayout {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|error| refused(text, &error.to_string()))
    }

    fn schema() -> RefOr<Schema> {
        Ref::from_schema_name(<Self as ToSchema>::name()).into()
    }

    fn component() -> Option<(String, RefOr<Schema>)> {
        Some((<Self as ToSchema>::name().into_owned(), <Self as PartialSchema>::schema()))
    }
}

impl Value for NameEncoding {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_str(text).map_err(|error| refused(text, &error.to_string()))
    }
}

/// What was said so far.
pub struct Said(Query);

impl Said {
    /// What the query says.
    ///
    /// # Errors
    /// A parameter that there is not, that is given twice, or that means nothing.
    pub async fn of(parts: &mut Parts) -> Result<Self, ApiError> {
        let query = Query::of(parts, DatasetsQuery::declared()).await?;
        DatasetsQuery::read(&query)?;
        Ok(Self(query))
    }

    /// Adds what `place` in the body says of a parameter, which may be what was said already.
    ///
    /// # Errors
    /// A parameter that was said otherwise.
    pub fn add(&mut self, place: Place, name: &str, value: String) -> Result<(), ApiError> {
        match self.0.one(name)? {
            // Empty fields are those that a page left open.
            _ if value.is_empty() => Ok(()),
            None => self.0.add(place, name.to_owned(), value),
            Some(known) if known == value => Ok(()),
            Some(known) => Err(ApiError::InvalidParameter(format!(
                "`{name}` is given more than once, as `{}` and `{}`",
                excerpt(known),
                excerpt(&value)
            ))),
        }
    }

    /// What it comes to.
    ///
    /// # Errors
    /// Words that mean nothing.
    pub fn read_as(&self) -> Result<ReadAs, ApiError> {
        let DatasetsQuery { layout, names } = DatasetsQuery::read(&self.0)?;
        Ok(ReadAs { layout, names })
    }
}

/// The JSON form: a folder of the server, and parameters beside it.
pub struct FolderRequest {
    /// A folder of the server, below `datasets.root`.
    pub path: String,
    /// What else is said, by name.
    pub parameters: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for FolderRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = FolderRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FolderRequest, A::Error> {
        let (mut path, mut parameters) = (None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "path" if path.is_some() => return Err(A::Error::duplicate_field("path")),
                "path" => path = Some(map.next_value()?),
                _ if Parameter::find(DatasetsQuery::declared(), &name).is_some() => {
                    parameters.push((name, map.next_value::<Option<String>>()?.unwrap_or_default()));
                }
                _ => {
                    let fields = [vec!["path"], Parameter::names(DatasetsQuery::declared())].concat();
                    let (name, fields) = (excerpt(&name), quoted(&fields, ", "));
                    return Err(A::Error::custom(format!("unknown field `{name}`, expected one of {fields}")));
                }
            }
        }
        Ok(FolderRequest { path: path.ok_or_else(|| A::Error::missing_field("path"))?, parameters })
    }
}
