//! The accept loop: HTTP/1 connections with a bound on slow headers, drained at shutdown.

use std::{io, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};

use crate::config::ServerConfig;

/// How long to wait when the process may open no more files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown`, then lets open requests finish for at most `shutdown_grace`.
///
/// Returns whether every request was finished in that time.
pub async fn serve(listener: TcpListener, router: Router, config: &ServerConfig, shutdown: impl Future<Output = ()>) -> bool {
    let connections = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(config.header_timeout).keep_alive(true);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    refused(&error).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(io_of(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection ended early");
            }
        });
    }
    drop(listener);
    tracing::info!(open = connections.count(), "shutting down; open requests may finish");
    tokio::time::timeout(config.shutdown_grace, connections.shutdown()).await.is_ok()
}

fn io_of(stream: TcpStream) -> TokioIo<TcpStream> {
    // Small answers should not wait for more to send; failing to say so only costs latency.
    let _ = stream.set_nodelay(true);
    TokioIo::new(stream)
}

/// An accept that failed for one connection is its client's affair; one for want of files needs a pause.
async fn refused(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept connections; trying again");
        tokio::time::sleep(ACCEPT_RETRY).await;
    }
}
