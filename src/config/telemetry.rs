//! `[telemetry]`: form and level of the log.

use super::key::{Key, Kind, Values, of};

/// `[telemetry]`: form and level of the log.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// How lines look; default `text`, `json` in production; `GRAFT__TELEMETRY__LOG_FORMAT`.
    pub log_format: LogFormat,
    /// Level, or levels per target as in `RUST_LOG`; default `info`; `GRAFT__TELEMETRY__LOG_LEVEL`.
    pub log_level: String,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

pub(super) const KEYS: &[Key] =
    &[of("telemetry.log_format", Kind::Choice(&["text", "json"])), of("telemetry.log_level", Kind::Text)];

impl TelemetryConfig {
    pub(super) fn from_values(values: &Values) -> Self {
        let json = values.text("telemetry.log_format") == "json";
        Self {
            log_format: if json { LogFormat::Json } else { LogFormat::Text },
            log_level: values.text("telemetry.log_level").to_owned(),
        }
    }
}
