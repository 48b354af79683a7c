//! What every handler shares: the engine, the bounds, the metrics.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use super::intake::Intake;
use crate::{config::ServerConfig, inference::Engine};

/// A cheap handle to the server's shared parts.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    server: ServerConfig,
    intake: Intake,
    metrics: Option<PrometheusHandle>,
}

impl State {
    /// State over `engine`, with the bounds of `server`; without `metrics`, `/metrics` is empty.
    pub fn new(engine: Engine, server: ServerConfig, metrics: Option<PrometheusHandle>) -> Self {
        let intake = Intake::new(&server);
        Self { inner: Arc::new(Inner { engine, server, intake, metrics }) }
    }

    /// What answers.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Addresses, bounds and times.
    pub fn server(&self) -> &ServerConfig {
        &self.inner.server
    }

    /// What lets request bodies in.
    pub fn intake(&self) -> &Intake {
        &self.inner.intake
    }

    /// Every metric in Prometheus's text format.
    pub fn metrics_text(&self) -> String {
        self.inner.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}
