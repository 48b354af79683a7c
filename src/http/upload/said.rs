//! How a sender wants its data set to be read: `layout` and `names`, in the query, a form's fields or JSON.
//!
//! Reads words; what they change is the store's.

use crate::{
    datasets::{FolderLayout, NameEncoding, ReadAs},
    http::{error::ApiError, query::Query},
    message::excerpt,
};

/// The parameters, in the query as in forms.
pub const PARAMETERS: [&str; 2] = ["layout", "names"];

/// What was said so far.
#[derive(Debug, Default)]
pub struct Said {
    layout: Option<String>,
    names: Option<String>,
}

impl Said {
    /// What `query` says.
    ///
    /// # Errors
    /// A parameter that is given twice.
    pub fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self { layout: query.one("layout")?.map(str::to_owned), names: query.one("names")?.map(str::to_owned) })
    }

    /// Adds what the body says of a parameter.
    ///
    /// # Errors
    /// A parameter that there is not, or that was said already.
    pub fn add(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        let place = match name {
            "layout" => &mut self.layout,
            "names" => &mut self.names,
            _ => {
                let name: String = name.chars().take(60).collect();
                return Err(ApiError::InvalidParameter(format!(
                    "form field `{name}` is neither a file nor `layout` or `names`; send the archive as a file (`-F file=@photos.zip`)"
                )));
            }
        };
        // Empty fields are those that a page left open.
        if value.is_empty() {
            return Ok(());
        }
        match place.replace(value.clone()) {
            Some(known) if known != value => Err(ApiError::InvalidParameter(format!(
                "`{name}` is given more than once, as `{}` and `{}`",
                excerpt(&known),
                excerpt(&value)
            ))),
            _ => Ok(()),
        }
    }

    /// What it comes to.
    ///
    /// # Errors
    /// Words that mean nothing.
    pub fn read_as(&self) -> Result<ReadAs, ApiError> {
        Ok(ReadAs {
            layout: parsed::<FolderLayout>("layout", self.layout.as_deref())?,
            names: parsed::<NameEncoding>("names", self.names.as_deref())?,
        })
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, value: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let refused = |error: T::Err| {
        let value: String = value.chars().take(60).collect();
        ApiError::InvalidParameter(format!("`{name}` is `{value}`; {error}"))
    };
    value.parse().map(Some).map_err(refused)
}
