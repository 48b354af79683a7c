//! What every handler shares: the service, the bounds on bodies, the door, the metrics.

use std::{sync::Arc, time::Instant};

use super::{access::Door, intake::Intake};
use crate::{access::Gate, config::ServerConfig, datasets::Datasets, inference::Engine, service::Service, telemetry::Telemetry};

/// A cheap handle to the server's shared parts.
#[derive(Clone)]
pub struct State {
    service: Service,
    inner: Arc<Inner>,
    door: Door,
}

struct Inner {
    server: ServerConfig,
    intake: Intake,
    telemetry: Option<Telemetry>,
}

impl State {
    /// State over `service`, with the bounds of `server`; without `telemetry`, `/metrics` is empty.
    pub fn new(service: Service, server: ServerConfig, telemetry: Option<Telemetry>) -> Self {
        let intake = Intake::new(&server, service.engine().admissions().clone(), service.encoding().clone());
        // Without keys to look at, nobody has one.
        let gate = Gate::new(server.auth, Vec::new(), false, Instant::now());
        let door = Door::new(gate, server.metrics_need_key);
        Self { service, inner: Arc::new(Inner { server, intake, telemetry }), door }
    }

    /// The same behind `gate`, which lets in whom it knows.
    #[must_use]
    pub fn behind(self, gate: Gate) -> Self {
        let door = Door::new(gate, self.server().metrics_need_key);
        Self { door, ..self }
    }

    /// What does what is asked.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What answers.
    pub fn engine(&self) -> &Engine {
        self.service.engine()
    }

    /// What holds data sets.
    pub fn datasets(&self) -> &Datasets {
        self.service.datasets()
    }

    /// Addresses, bounds and times.
    pub fn server(&self) -> &ServerConfig {
        &self.inner.server
    }

    /// What lets request bodies in.
    pub fn intake(&self) -> &Intake {
        &self.inner.intake
    }

    /// Who is let in.
    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Every metric in Prometheus's text format.
    pub fn metrics_text(&self) -> String {
        self.inner.telemetry.as_ref().map(Telemetry::render).unwrap_or_default()
    }
}
