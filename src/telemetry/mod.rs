//! Tracing and metrics set-up: the log on standard error, and the metrics that `/metrics` renders.
//!
//! Both are global to the process and installed once; what they record is decided elsewhere.

mod line;
mod process;
mod trouble;

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use self::line::Lines;
pub use self::trouble::{News, Trouble};
use crate::config::{LogFormat, TelemetryConfig};

/// Buckets of histograms whose name ends in `_seconds`: from a cache hit to a request that waited a minute.
const SECONDS: [f64; 16] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Buckets of histograms whose name ends in `_images`: sizes of batches, requests and queues.
const IMAGES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Histograms without a new value for so long are forgotten: there is one for every model that ever answered, and each has many
/// lines.
/// Counters and gauges stay, since who reads them cannot tell one that is gone from one that was never there.
const IDLE: Duration = Duration::from_hours(24);

/// What was installed first in this process.
static INSTALLED: Mutex<Option<Telemetry>> = Mutex::new(None);

/// Access to the metrics of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: PrometheusHandle,
}

/// Why log or metrics cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one.
    #[error("`telemetry.log_level` is `{level}`; it must be a level such as info, or levels per target such as info,graft=debug")]
    LogLevel {
        /// The setting.
        level: String,
        /// Which part is wrong.
        #[source]
        source: ParseError,
    },
    /// The metrics recorder cannot be made or another is installed.
    #[error("cannot install the metrics recorder")]
    Metrics(#[from] BuildError),
}

/// Installs the log and the metrics recorder; later calls give the first one's and change nothing.
///
/// A log that someone else installed (a test harness) is left as it is.
///
/// # Errors
/// When the level cannot be parsed, or another metrics recorder is installed.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, Error> {
    let filter = filter(&config.log_level)?;
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(telemetry) = &*installed {
        return Ok(telemetry.clone());
    }
    let telemetry = Telemetry { metrics: recorder(IDLE)?.install_recorder()? };
    let registry = tracing_subscriber::registry().with(filter);
    let colours = io::stderr().is_terminal();
    let (text, json) =
        (fmt::layer().with_writer(move || Lines { colours }).with_ansi(colours), fmt::layer().with_writer(io::stderr));
    // Fails only where someone else's log is installed already.
    let _ = match config.log_format {
        LogFormat::Text => registry.with(text).try_init(),
        LogFormat::Json => registry.with(json.json().flatten_event(true).with_span_list(false)).try_init(),
    };
    *installed = Some(telemetry.clone());
    Ok(telemetry)
}

impl Telemetry {
    /// Every metric in Prometheus's text format, those of the process included.
    pub fn render(&self) -> String {
        self.metrics.render() + &process::text()
    }

    /// The metrics, in particular [`PrometheusHandle::render`] for `/metrics`.
    ///
    /// Call [`PrometheusHandle::run_upkeep`] every few seconds: it bounds the memory of histograms that nobody reads.
    pub fn metrics_handle(&self) -> &PrometheusHandle {
        &self.metrics
    }
}

/// An error and its causes on one line, for logs and for whoever reads why something failed later.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Libraries that say much, and at what level they do unless they are named: ONNX Runtime's binding logs every graph optimisation, and
/// what the TLS library warns of is what strangers send.
const QUIET: [(&str, &str); 2] = [("ort", "warn"), ("rustls", "error")];

/// `level` as a filter, with those that are [`QUIET`] unless it names them.
fn filter(level: &str) -> Result<EnvFilter, Error> {
    let names = |part: &str, library: &str| {
        let rest = part.trim().strip_prefix(library);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || rest.starts_with("::"))
    };
    let quiet = QUIET.iter().filter(|(library, _)| !level.split(',').any(|part| names(part, library)));
    let directives = quiet.fold(level.to_owned(), |all, (library, level)| format!("{all},{library}={level}"));
    EnvFilter::builder().parse(directives).map_err(|source| Error::LogLevel { level: level.to_owned(), source })
}

fn recorder(idle: Duration) -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .idle_timeout(MetricKindMask::HISTOGRAM, Some(idle))
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_images".into()), &IMAGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(log_format: LogFormat, log_level: &str) -> TelemetryConfig {
        TelemetryConfig { log_format, log_level: log_level.into() }
    }

    #[test]
    fn installs_once_and_renders_what_was_recorded() {
        let first = init(&config(LogFormat::Text, "warn")).unwrap();
        let second = init(&config(LogFormat::Json, "info")).unwrap();
        metrics::counter!("telemetry_test_total").increment(2);
        metrics::histogram!("telemetry_test_seconds").record(0.003);
        metrics::histogram!("telemetry_test_images").record(8.0);
        for telemetry in [first, second] {
            let text = telemetry.metrics_handle().render();
            for line in [
                "telemetry_test_total 2",
                "telemetry_test_seconds_bucket{le=\"0.0025\"} 0",
                "telemetry_test_seconds_bucket{le=\"0.005\"} 1",
                "telemetry_test_images_bucket{le=\"8\"} 1",
            ] {
                assert!(text.contains(line), "{line} is not in\n{text}");
            }
        }
    }

    #[test]
    fn histograms_are_forgotten_when_nothing_is_recorded() {
        let recorder = recorder(Duration::ZERO).unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("idle_seconds", "model" => "gone").record(0.1);
            metrics::counter!("idle_total", "model" => "gone").increment(1);
        });
        let handle = recorder.handle();
        assert!(handle.render().contains("idle_seconds_count{model=\"gone\"} 1"), "it is shown once");
        let later = handle.render();
        assert!(!later.contains("idle_seconds") && later.contains("idle_total{model=\"gone\"} 1"), "{later}");
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        let check = |level: &str, expected: &[&str]| {
            let filter = filter(level).expect("a filter").to_string();
            let mut found: Vec<&str> = filter.split(',').collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{level}");
        };
        check("info", &["info", "ort=warn", "rustls=error"]);
        check("info,ort=trace", &["info", "ort=trace", "rustls=error"]);
        check("rustls::check=warn,info", &["info", "ort=warn", "rustls::check=warn"]);
        check("graft::inference=debug", &["graft::inference=debug", "ort=warn", "rustls=error"]);
        let error = filter("graft=loud").unwrap_err().to_string();
        assert!(error.starts_with("`telemetry.log_level` is `graft=loud`; it must be a level"), "{error}");
    }
}
