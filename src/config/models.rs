//! `[models]`: the repository and what is loaded from it.

use std::{path::PathBuf, time::Duration};

use super::key::{Key, Kind, Values, integer, milliseconds, of};

/// `[models]`: the repository and what is loaded from it.
#[derive(Debug, Clone)]
pub struct ModelsConfig {
    /// Folder of the model repository; default `models`; `GRAFT__MODELS__DIR`.
    pub dir: PathBuf,
    /// Model that requests without `model=` use; default `vgg16`; `GRAFT__MODELS__DEFAULT`.
    pub default: String,
    /// Models loaded and warmed at start, before `/readyz` is 200; default: the default model; `GRAFT__MODELS__PRELOAD`.
    pub preload: Vec<String>,
    /// Bound on the weights of all loaded models together, in bytes; default 4 GiB; `GRAFT__MODELS__MAX_LOADED_BYTES`.
    pub max_loaded_bytes: u64,
    /// How often the repository is scanned for new versions; default 2 s; `GRAFT__MODELS__SCAN_INTERVAL_MS`.
    pub scan_interval: Duration,
    /// Whether models with untrained weights may be served; default true, false in production; `GRAFT__MODELS__ALLOW_UNTRAINED`.
    pub allow_untrained: bool,
}

pub(super) const KEYS: &[Key] = &[
    of("models.dir", Kind::Text),
    of("models.default", Kind::Text),
    of("models.preload", Kind::List),
    integer("models.max_loaded_bytes", 1 << 20, 1 << 50),
    milliseconds("models.scan_interval_ms", 100),
    of("models.allow_untrained", Kind::Boolean),
];

impl ModelsConfig {
    pub(super) fn from_values(values: &Values) -> Self {
        let default = values.text("models.default").to_owned();
        Self {
            dir: values.text("models.dir").into(),
            preload: values.optional_list("models.preload").unwrap_or_else(|| vec![default.clone()]),
            default,
            max_loaded_bytes: values.integer("models.max_loaded_bytes"),
            scan_interval: values.duration("models.scan_interval_ms"),
            allow_untrained: values.boolean("models.allow_untrained"),
        }
    }
}
