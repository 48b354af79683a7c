//! What every handler shares: the engine, the data sets, the bounds, the metrics.

use std::sync::Arc;

use super::intake::Intake;
use crate::{
    config::{ImagesConfig, ServerConfig},
    datasets::Datasets,
    inference::Engine,
    telemetry::Telemetry,
};

/// A cheap handle to the server's shared parts.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    datasets: Datasets,
    server: ServerConfig,
    intake: Intake,
    telemetry: Option<Telemetry>,
}

impl State {
    /// State over `engine` and `datasets`, with the bounds of `server` and `images`; without `telemetry`, `/metrics` is empty.
    pub fn new(
        engine: Engine,
        datasets: Datasets,
        server: ServerConfig,
        images: &ImagesConfig,
        telemetry: Option<Telemetry>,
    ) -> Self {
        let intake = Intake::new(&server, images);
        Self { inner: Arc::new(Inner { engine, datasets, server, intake, telemetry }) }
    }

    /// What answers.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// What holds data sets.
    pub fn datasets(&self) -> &Datasets {
        &self.inner.datasets
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
        self.inner.telemetry.as_ref().map(|telemetry| telemetry.metrics_handle().render()).unwrap_or_default()
    }
}
