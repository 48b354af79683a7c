//! Composition root: builds everything from the configuration and owns start and shutdown.

pub(crate) mod exposure;
mod metrics;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    access::Gate,
    config::{Config, ServerConfig},
    datasets::Datasets,
    finetuning::kinds::{self, Parts},
    http,
    inference::{Engine, Settings},
    jobs::{self, Jobs, Keys, Worker},
    registry::Repository,
    runtime::{self, Runtime},
    service::Service,
    telemetry::{self, Telemetry},
};

/// How often the metrics' histograms are compacted.
const UPKEEP: Duration = Duration::from_secs(5);

/// After how many of these times what a burst of requests has freed is given back to the operating system.
const TRIM_TICKS: u32 = 6;

/// A server that is bound, and not yet serving.
pub struct App {
    listener: TcpListener,
    tls: Option<http::Tls>,
    engine: Engine,
    state: http::State,
    workers: Vec<Worker>,
    telemetry: Telemetry,
    keys: Keys,
    gate: Gate,
}

impl App {
    /// Sets up log, metrics, ONNX Runtime and the engine over `repository`, then binds.
    ///
    /// # Errors
    /// Whatever keeps graft from serving, in one line that says what to do.
    pub async fn bind(config: Config, repository: Repository) -> anyhow::Result<Self> {
        let telemetry = telemetry::init(&config.telemetry)?;
        metrics::describe();
        http::check_files(&config.server)?;
        runtime::return_large_blocks();
        let runtime = Runtime::open(&config.runtime)?;
        // A required provider that cannot be had is found out here, not at the first request.
        for choice in std::iter::once(&config.runtime.provider).chain(config.runtime.model_providers.values()) {
            runtime.check(*choice)?;
        }
        clean(&repository);
        let engine = Engine::new(runtime.clone(), repository.clone(), Settings::of(&config))?;
        engine.refuse_untrained()?;
        let jobs = Jobs::open(&config.jobs, &config.data.dir, jobs::system_clock()).await?;
        let keys = jobs.keys();
        let gate = keys.gate(config.server.auth).await?;
        if let Some(warning) = exposure::check(&config.server, gate.is_closed())? {
            tracing::warn!(host = %config.server.host, "{warning}");
        }
        if let Some(warning) = exposure::warn_of_pages(&config.server, gate.is_closed()) {
            tracing::warn!("{warning}");
        }
        // Keys that were lost are reported by whoever looks at them.
        if gate.admits_nobody() && !gate.has_lost_keys() {
            tracing::warn!(
                "every request needs an API key, and none is in force: nobody is let in; `graft keys create` makes one"
            );
        }
        let datasets = Datasets::open_within(config.datasets.clone(), &config.data.dir, engine.decoder().clone())?;
        let kinds = kinds::kinds(&Parts::new(runtime, repository, datasets.clone(), engine.clone(), &config));
        let workers = (0..config.jobs.workers).map(|_| Worker::new(jobs.clone(), kinds.clone())).collect();
        let service = Service::new(engine.clone(), datasets, &config.server).with_jobs(jobs, kinds);
        let state = http::State::new(service, config.server.clone(), Some(telemetry.clone())).behind(gate.clone());
        let tls = config.server.tls.map(http::Tls::open).transpose()?;
        let ServerConfig { host, port, .. } = config.server;
        let listener = listen((host, port).into(), config.server.max_connections).with_context(|| {
            format!(
                "cannot listen on {host}:{port} (`server.host`, `server.port`; choose another with `GRAFT__SERVER__PORT=8081`)"
            )
        })?;
        Ok(Self { listener, tls, engine, state, workers, telemetry, keys, gate })
    }

    /// The address that was bound, with the port that was free when 0 was asked for.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the listener has no address")
    }

    /// The engine, for a caller that waits until models are warm.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Loads the configured models and runs jobs in the background, and serves until `shutdown`; then drains, and gives the
    /// job at hand back to the queue.
    ///
    /// # Errors
    /// When requests were cut off because they took longer than `server.shutdown_grace_ms`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let engine = self.engine;
        let watching = tokio::spawn(async move { engine.watch().await });
        let (keys, gate) = (self.keys, self.gate);
        let renewing = tokio::spawn(async move { keys.keep(&gate).await });
        let metrics = self.telemetry.metrics_handle().clone();
        let upkeep = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            for tick in 1u32.. {
                ticks.tick().await;
                metrics.run_upkeep();
                if tick.is_multiple_of(TRIM_TICKS) {
                    drop(tokio::task::spawn_blocking(runtime::trim).await);
                }
            }
        });
        let (stop, stopping) = watch::channel(false);
        let mut workers = JoinSet::new();
        for worker in self.workers {
            let mut stopping = stopping.clone();
            workers.spawn(async move { worker.run_until(async { drop(stopping.wait_for(|stop| *stop).await) }).await });
        }
        let shutdown = async move {
            shutdown.await;
            stop.send_replace(true);
        };
        let grace = self.state.server().shutdown_grace;
        let served = serve(self.listener, self.tls, self.state, shutdown).await;
        if tokio::time::timeout(grace, workers.join_all()).await.is_err() {
            tracing::warn!("a job did not stop in time; the next worker resumes it from its last checkpoint");
        }
        watching.abort();
        renewing.abort();
        upkeep.abort();
        served
    }
}

/// Listens on `address`; as many connections as may be open wait to be accepted, so that a burst of them holds up nobody's.
fn listen(address: SocketAddr, connections: usize) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does: a port whose last connections linger can be listened on.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(u32::try_from(connections).unwrap_or(u32::MAX))
}

/// Removes what killed imports and jobs left in the repository; one that cannot be written to is served all the same.
fn clean(repository: &Repository) {
    match repository.clean() {
        Ok(removed) => {
            for path in removed {
                tracing::info!(path = %path.display(), "removed leftovers of a process that died");
            }
        }
        Err(error) => tracing::warn!(error = telemetry::chain(&error), "cannot clean the model repository"),
    }
}

/// Serves HTTP on `listener`, over `tls` if there is one, until `shutdown`, then drains open requests.
///
/// # Errors
/// When requests were cut off because they took longer than `server.shutdown_grace_ms`.
pub async fn serve(
    listener: TcpListener,
    tls: Option<http::Tls>,
    state: http::State,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, tls = tls.is_some(), "serving");
    let config = state.server().clone();
    let closing = state.service().clone();
    let shutdown = async move {
        shutdown.await;
        closing.close();
    };
    if !http::serve(listener, tls, http::router(state), &config, shutdown).await {
        bail!("requests were still open {} ms after shutdown and were cut off", config.shutdown_grace.as_millis());
    }
    Ok(())
}

/// Completes at SIGTERM or SIGINT.
pub async fn terminated() {
    let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    match (terminate, interrupt) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "cannot listen for signals; only SIGKILL stops graft");
            std::future::pending().await
        }
    }
}
