//! The accept loop: HTTP/1 connections, over TLS where configured, with bounds on idleness and slow headers, drained at shutdown.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use super::{
    connection::{Times, watched},
    handshake::Handshakes,
    observe::OpenConnection,
    slots::{Slots, bound_buffers},
    stream::{self, Connection, Stream},
    tls::Tls,
};
use crate::{
    config::ServerConfig,
    telemetry::{News, Trouble},
};

/// After so many connections that were accepted in a row, a want of files is over: one that is closed lets the next in.
const ACCEPTED_AGAIN: usize = 64;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long to wait when the process may open no more files.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Bytes of a header, or of an answer that is on its way, that are kept for a connection.
const BUFFERED: usize = 64 << 10;

/// What all connections share.
#[derive(Clone)]
struct Shared {
    router: Router,
    handshakes: Option<Handshakes>,
    times: Times,
}

/// Serves `router` on `listener` until `shutdown`, then lets open requests finish for at most `shutdown_grace`.
///
/// Returns whether every request was finished in that time.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    config: &ServerConfig,
    shutdown: impl Future<Output = ()>,
) -> bool {
    let connections = GracefulShutdown::new();
    // Handshakes are no requests: shutdown does not wait for them.
    let opening = CancellationToken::new();
    let watching = tls.clone().map(|tls| tokio::spawn(tls.watch()));
    let (times, is_readable) = (Times::of(config), tls.is_none());
    let handshakes = tls.map(|tls| Handshakes::new(tls, config.max_client_percent));
    let shared = Shared { router, handshakes, times };
    let slots = Slots::new(config);
    bound_buffers(&listener);
    let mut shutdown = std::pin::pin!(shutdown);
    let (mut trouble, mut in_a_row) = (Trouble::default(), 0_usize);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    in_a_row = in_a_row.saturating_add(1);
                    if in_a_row >= ACCEPTED_AGAIN && trouble.news(None).is_some() {
                        tracing::info!("connections are accepted again");
                    }
                    accepted
                }
                Err(error) => {
                    in_a_row = 0;
                    refused(&error, &mut trouble).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let Some(slot) = slots.take(peer) else {
            slots.refuse(stream, is_readable);
            continue;
        };
        let (shared, watcher, opening) = (shared.clone(), connections.watcher(), opening.clone());
        tokio::spawn(async move {
            let _open = (slot, OpenConnection::new());
            match opening.run_until_cancelled(shared.open(stream, peer)).await {
                Some(Ok((stream, connection))) => shared.answer(stream, (peer, connection), watcher).await,
                Some(Err(error)) => tracing::debug!(%error, %peer, "a TLS handshake failed"),
                None => {}
            }
        });
    }
    drop(listener);
    opening.cancel();
    watching.inspect(tokio::task::JoinHandle::abort);
    tracing::info!(open = connections.count(), "shutting down; open requests may finish");
    tokio::time::timeout(config.shutdown_grace, connections.shutdown()).await.is_ok()
}

impl Shared {
    /// The handshake, in the time of a header, and in ten seconds at most: clients finish theirs at once.
    async fn open(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<(Stream, Connection)> {
        // Small answers should not wait for more to send; failing to say so only costs latency.
        let _ = stream.set_nodelay(true);
        tokio::time::timeout(self.times.header.min(HANDSHAKE), stream::open(stream, peer, self.handshakes.as_ref())).await?
    }

    /// Answers the requests of one connection.
    async fn answer(self, stream: Stream, (peer, connection): (SocketAddr, Connection), watcher: Watcher) {
        let (stream, timer) = watched(stream, self.times);
        let known = Extension(connection).layer(Extension(ConnectInfo(peer)).layer(self.router));
        let service = TowerToHyperService::new(known);
        let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(timer).header_read_timeout(self.times.header).keep_alive(true).max_buf_size(BUFFERED);
        let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(serving).await {
            tracing::debug!(error, "a connection ended early");
        }
    }
}

/// An accept that failed for one connection is its client's affair; one for want of files needs a pause.
async fn refused(error: &io::Error, trouble: &mut Trouble) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        if let Some(News::Wrong(error)) = trouble.news(Some(error.to_string())) {
            tracing::warn!(error, "cannot accept connections; trying again");
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::{Notify, oneshot},
        task::JoinHandle,
    };

    use super::*;
    use crate::http::testing;

    /// A server whose `/` answers once `finish` is notified, after notifying `entered`.
    struct Server {
        address: SocketAddr,
        entered: Arc<Notify>,
        finish: Arc<Notify>,
        stop: oneshot::Sender<()>,
        served: JoinHandle<bool>,
    }

    async fn server(config: ServerConfig) -> Server {
        let [entered, finish] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        let (enter, wait) = (Arc::clone(&entered), Arc::clone(&finish));
        let handler = async move || {
            enter.notify_one();
            wait.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move { serve(listener, None, router, &config, async { drop(stopped.await) }).await });
        Server { address, entered, finish, stop, served }
    }

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        // A reset instead of an end is a closed connection too.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn open_requests_finish_after_shutdown() {
        let server = server(testing::server()).await;
        let client = tokio::spawn(exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        server.entered.notified().await;
        server.stop.send(()).expect("it runs");
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        server.finish.notify_one();
        let answer = client.await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        assert!(server.served.await.expect("no panic"), "every request was finished");
    }

    #[tokio::test]
    async fn requests_beyond_the_grace_are_cut_off() {
        let server = server(ServerConfig { shutdown_grace: Duration::from_millis(20), ..testing::server() }).await;
        let _client = tokio::spawn(exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        server.entered.notified().await;
        server.stop.send(()).expect("it runs");
        assert!(!server.served.await.expect("no panic"), "a request was cut off");
    }

    /// Sends `requests` on one connection, and waits for its end after each answer but the last; gives the time to that end.
    async fn until_closed(config: ServerConfig, requests: &[&str]) -> (String, Duration) {
        let server = server(config).await;
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        let mut answers = String::new();
        for request in requests {
            stream.write_all(request.as_bytes()).await.expect("it reads");
            if request.ends_with("\r\n\r\n") {
                server.entered.notified().await;
                server.finish.notify_one();
                while !answers.ends_with("done") {
                    let mut chunk = [0; 1024];
                    let count = stream.read(&mut chunk).await.expect("it answers");
                    assert_ne!(count, 0, "it is open until it has answered");
                    answers.push_str(std::str::from_utf8(&chunk[..count]).expect("ASCII"));
                }
            }
        }
        let began = std::time::Instant::now();
        let mut rest = String::new();
        let _ = stream.read_to_string(&mut rest).await;
        (answers + &rest, began.elapsed())
    }

    const SHORT: Duration = Duration::from_millis(40);
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test]
    async fn slow_headers_end_the_connection() {
        let config = || ServerConfig { header_timeout: SHORT, ..testing::server() };
        let (answer, took) = until_closed(config(), &["GET / HTTP/1.1\r\nHost:"]).await;
        assert!(!answer.contains("200") && took < Duration::from_secs(5), "{answer} after {took:?}");
        // The same after an answer, where the connection may be idle for longer.
        let (answer, took) = until_closed(config(), &[REQUEST, "G"]).await;
        assert!(answer.ends_with("done") && took < Duration::from_secs(5), "{answer} after {took:?}");
    }

    #[tokio::test]
    async fn idle_connections_stay_open_for_as_long_as_configured() {
        // Idle for longer than a header may take.
        let long = || ServerConfig { header_timeout: SHORT, keep_alive_timeout: 10 * SHORT, ..testing::server() };
        for requests in [&[][..], &[REQUEST]] {
            let (answer, took) = until_closed(long(), requests).await;
            assert!(took >= 9 * SHORT && took < Duration::from_secs(5), "{answer} after {took:?}");
        }
        let short = || ServerConfig { keep_alive_timeout: SHORT, ..testing::server() };
        let (answer, took) = until_closed(short(), &[REQUEST]).await;
        assert!(answer.ends_with("done") && took < Duration::from_secs(5), "{answer} after {took:?}");
        // A header that has begun has its own time.
        let (_, took) = until_closed(ServerConfig { header_timeout: 10 * SHORT, ..short() }, &[REQUEST, "GET /"]).await;
        assert!(took >= 9 * SHORT && took < Duration::from_secs(5), "{took:?}");
    }
}
