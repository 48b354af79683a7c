//! How many connections are open at once: within the process's open files, and a share of them for each address.
//!
//! Who is over the bound reads a refusal, as long as few do; what is accepted is bounded in the kernel, too. Knows no route.

use std::{net::SocketAddr, time::Duration};

use rustix::{
    net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    config::ServerConfig,
    work::{Budget, Client, Share},
};

/// Files that graft opens besides connections: databases, models, uploads, downloads, caches, the log.
const OWN_FILES: u64 = 192;

/// Fewer connections than these are no service.
const FEWEST: u64 = 16;

/// Bytes that the kernel keeps for one connection in each direction (Linux allows itself twice as much): an answer that nobody reads
/// takes no more.
const SENT_UNREAD: usize = 128 << 10;
const RECEIVED_UNREAD: usize = 256 << 10;

/// Refusals that are written at once; beyond them connections are closed without a word.
const REFUSALS: u64 = 64;

/// How long a refusal may take.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\n\
                       Content-Length: 236\r\n\r\n\
                       {\"type\":\"about:blank\",\"title\":\"Busy\",\"status\":503,\"code\":\"busy\",\"detail\":\"as many connections are open \
                       as may be, of all clients (`server.max_connections`) or of this one (`server.max_client_percent`); close some, or try \
                       again shortly\"}";

/// The process may open too few files.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process may open {limit} files, which leaves {left} connections beside the {OWN_FILES} that graft may need; allow it more \
     (`ulimit -n 4096`, or `LimitNOFILE=` of systemd)"
)]
pub struct TooFewFiles {
    limit: u64,
    left: u64,
}

/// Places of open connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Slots {
    open: Budget,
    refusals: Budget,
}

/// Raises the number of files that this process may open to what the system allows it, and checks that it is enough.
///
/// # Errors
/// [`TooFewFiles`].
pub fn check_files(config: &ServerConfig) -> Result<(), TooFewFiles> {
    let wanted = config.max_connections as u64 + OWN_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.unwrap_or(u64::MAX).min(wanted.max(current.unwrap_or(u64::MAX)));
    if current.is_some_and(|current| current < raised) {
        // Where it is refused, what there is counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
    let limit = files();
    let left = limit.saturating_sub(OWN_FILES);
    if left < FEWEST {
        return Err(TooFewFiles { limit, left });
    }
    if left < config.max_connections as u64 {
        tracing::warn!(
            files = limit,
            connections = left,
            "this process may open fewer files than `server.max_connections` asks for; raise `ulimit -n` or lower the setting"
        );
    }
    Ok(())
}

/// Files that this process may open.
fn files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

impl Slots {
    /// The places that `config` and the process's files leave.
    pub fn new(config: &ServerConfig) -> Self {
        let open = (config.max_connections as u64).min(files().saturating_sub(OWN_FILES).max(FEWEST));
        Self { open: Budget::shared(open, config.max_client_percent, 1), refusals: Budget::new(REFUSALS) }
    }

    /// A place for a connection of `peer`, kept until it is closed.
    pub fn take(&self, peer: SocketAddr) -> Option<Share> {
        self.open.take(&Client::address(peer.ip()), 1).ok()
    }

    /// Tells the client of `stream` that there is no place; `is_readable` is false where it would not understand.
    pub fn refuse(&self, mut stream: TcpStream, is_readable: bool) {
        metrics::counter!("graft_connections_refused_total").increment(1);
        let Some(place) = self.refusals.take(&Client::local(), 1).ok().filter(|_| is_readable) else { return };
        tokio::spawn(async move {
            let _place = place;
            let refusing = async {
                stream.write_all(REFUSAL.as_bytes()).await?;
                stream.shutdown().await?;
                // What the client has sent is read: closing over it would reset the connection, and the refusal be lost.
                let mut rest = (&mut stream).take(SENT_UNREAD as u64);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
            };
            tokio::time::timeout(REFUSAL_TIME, refusing).await
        });
    }
}

/// Bounds what the kernel keeps for each connection that `listener` accepts.
pub fn bound_buffers(listener: &TcpListener) {
    let bounded =
        set_socket_send_buffer_size(listener, SENT_UNREAD).and_then(|()| set_socket_recv_buffer_size(listener, RECEIVED_UNREAD));
    if let Err(error) = bounded {
        tracing::warn!(%error, "cannot bound the buffers of connections");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_problem_of_the_length_that_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len()))
                || head.ends_with(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(503), Some("busy")));
    }

    #[test]
    fn one_address_has_a_share() {
        let config = ServerConfig { max_connections: 4, max_client_percent: 50, ..crate::http::testing::server() };
        let slots = Slots::new(&config);
        let peer = |last: u8| SocketAddr::from(([10, 0, 0, last], 1));
        let held = [slots.take(peer(1)), slots.take(peer(1))];
        assert!(held.iter().all(Option::is_some) && slots.take(peer(1)).is_none());
        let others = [slots.take(peer(2)), slots.take(peer(3))];
        assert!(others.iter().all(Option::is_some) && slots.take(peer(4)).is_none());
        drop(held);
        assert!(slots.take(peer(1)).is_some());
    }
}
