//! `[data]`: where graft keeps what it is given and what it makes.

use std::path::PathBuf;

use super::key::{Key, Kind, Values, of};

/// `[data]`: where graft keeps what it is given and what it makes: models, data sets, jobs, caches.
#[derive(Debug, Clone)]
pub struct DataConfig {
    /// The folder; default `data`; `GRAFT__DATA__DIR`.
    pub dir: PathBuf,
}

pub(super) const KEYS: &[Key] = &[of("data.dir", Kind::Text)];

impl DataConfig {
    pub(super) fn from_values(values: &Values) -> Self {
        Self { dir: values.text("data.dir").into() }
    }
}
