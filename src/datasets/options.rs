//! What a sender says of how its files are to be read, where they leave it open.
//!
//! Words and their meaning alone; what they change is decided in `layout` and where names are read.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::ToSchema;

use super::names::NameEncoding;
use crate::message;

/// How a data set's folders and names are to be read; what is left out is found from the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadAs {
    /// What folders called as splits are.
    pub layout: Option<FolderLayout>,
    /// How names that are not UTF-8 are written.
    pub names: Option<NameEncoding>,
}

/// What folders are that are called as splits: `train`, `val`, `test` and their like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FolderLayout {
    /// Splits, above or below the class folders.
    Splits,
    /// Classes, as all other folders are.
    Classes,
}

/// No word of [`FolderLayout`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it may be `splits` or `classes`")]
pub struct UnknownLayout;

impl FromStr for FolderLayout {
    type Err = UnknownLayout;

    fn from_str(word: &str) -> Result<Self, UnknownLayout> {
        message::word(word).map_err(|_| UnknownLayout)
    }
}
