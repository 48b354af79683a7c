//! `[weights]`: where published weight files are downloaded from.

use std::time::Duration;

use super::{
    error::ConfigError,
    key::{Key, Kind, Values, milliseconds, of},
};

/// `[weights]`: where published weight files are downloaded from.
#[derive(Debug, Clone)]
pub struct WeightsConfig {
    /// Mirror of the catalogue's hosts: the address above `vgg16/…` and `inception_v3/…`, without a slash at its end; default:
    /// each model's own host; `GRAFT__WEIGHTS__BASE_URL`.
    pub base_url: Option<String>,
    /// Time to reach the host; default 10 s; `GRAFT__WEIGHTS__CONNECT_TIMEOUT_MS`.
    pub connect_timeout: Duration,
    /// Time without a single byte after which a download counts as broken; default 60 s; `GRAFT__WEIGHTS__READ_TIMEOUT_MS`.
    pub read_timeout: Duration,
}

pub(super) const KEYS: &[Key] = &[
    of("weights.base_url", Kind::Text),
    milliseconds("weights.connect_timeout_ms", 1),
    milliseconds("weights.read_timeout_ms", 1),
];

impl WeightsConfig {
    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let base_url = values.optional_text("weights.base_url").map(|url| url.trim_end_matches('/'));
        let is_address = |url: &str| {
            let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            host.is_some_and(|host| !host.is_empty())
        };
        if base_url.is_some_and(|url| !is_address(url)) {
            return Err(values.invalid("weights.base_url", "an address that starts with `https://` or `http://`"));
        }
        Ok(Self {
            base_url: base_url.map(str::to_owned),
            connect_timeout: values.duration("weights.connect_timeout_ms"),
            read_timeout: values.duration("weights.read_timeout_ms"),
        })
    }
}
