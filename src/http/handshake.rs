//! TLS handshakes: their arithmetic on a lane of threads, in turns of clients, and how many each client may have under way.
//!
//! An RSA signature takes milliseconds: on the threads that answer, a flood of handshakes would hold everybody up. Knows no files.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

use futures_util::FutureExt as _;
use metrics::counter;
use tokio::{net::TcpStream, sync::Notify};
use tokio_rustls::{Accept, server::TlsStream};

use super::tls::Tls;
use crate::work::{Budget, Client, Lane, Origin, Share};

/// Most handshakes that are under way, of all clients.
const UNDER_WAY: u64 = 256;

/// One processor of so many makes handshakes at a time.
const PROCESSORS_FOR_ONE: usize = 4;

/// Where connections are secured; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handshakes {
    tls: Tls,
    lane: Lane,
    under_way: Budget,
}

/// What a client began with.
#[derive(Debug)]
pub enum Opening {
    /// A handshake that succeeded.
    Secured(Box<TlsStream<TcpStream>>),
    /// A request without TLS.
    Plain(TcpStream),
}

/// A handshake under way. It moves into each of its steps: whose client leaves has its place back when the step is over.
struct Handshake {
    accept: Accept<TcpStream>,
    place: Share,
}

/// Told when a handshake can go on.
#[derive(Default)]
struct Ready(Notify);

impl Handshakes {
    /// Those with the pair of `tls`, of which a client has at most `percent` of what the others leave.
    pub fn new(tls: Tls, percent: u8) -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let at_once = (processors / PROCESSORS_FOR_ONE).max(1);
        // What waits has a place, and these are bounded.
        let lane = Lane::new("handshake", at_once, usize::MAX);
        Self { tls, lane, under_way: Budget::shared(UNDER_WAY, percent, 1) }
    }

    /// The handshake of `peer`, however long it takes.
    ///
    /// # Errors
    /// When it fails, its client leaves, or has as many under way as it may.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<Opening> {
        let mut first = [0];
        stream.peek(&mut first).await?;
        // A method begins with a letter, a handshake with a record of type 22.
        if first[0].is_ascii_alphabetic() {
            return Ok(Opening::Plain(stream));
        }
        let client = Client::address(peer.ip());
        let place = self.under_way.take(&client, 1).map_err(|_| {
            counter!("graft_connections_refused_total").increment(1);
            io::Error::other(
                "as many handshakes are under way as may be, of all clients or of this one (`server.max_client_percent`)",
            )
        })?;
        let handshake = Handshake { accept: self.tls.acceptor().accept(stream), place };
        Ok(Opening::Secured(Box::new(self.finish(handshake, &client).await?)))
    }

    /// Takes step after step, each in its turn, whichever of them signs: for a client that has to begin anew (HelloRetryRequest) it
    /// is not the first.
    async fn finish(&self, mut handshake: Handshake, client: &Client) -> io::Result<TlsStream<TcpStream>> {
        let ready = Arc::new(Ready::default());
        loop {
            let waker = Waker::from(Arc::clone(&ready));
            let step = move || {
                let outcome = handshake.accept.poll_unpin(&mut Context::from_waker(&waker));
                (handshake, outcome)
            };
            let origin = Origin { client: client.clone(), request: 0 };
            let (next, outcome) = self.lane.run(origin, step).await.map_err(|_| io::ErrorKind::ResourceBusy)?;
            if let Poll::Ready(result) = outcome {
                drop(next.place);
                return result;
            }
            handshake = next;
            ready.0.notified().await;
        }
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring, pki_types::ServerName, version};
    use tempfile::TempDir;
    use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::config::TlsFiles;

    /// Whoever asks, by the last part of an address.
    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    fn origin(last: u8) -> Origin {
        Origin { client: Client::address(peer(last).ip()), request: 0 }
    }

    struct Setup {
        handshakes: Handshakes,
        listener: TcpListener,
        client: Arc<ClientConfig>,
        _folder: TempDir,
    }

    impl Setup {
        /// One handshake at a time, and `under_way` of them.
        async fn new(under_way: u64) -> Self {
            let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair can be made");
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let files = TlsFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
            std::fs::write(&files.certificate, pair.cert.pem()).expect("it can be written to");
            std::fs::write(&files.key, pair.signing_key.serialize_pem()).expect("it can be written to");
            let tls = Tls::open(files).expect("they belong together");
            let mut roots = RootCertStore::empty();
            roots.add(pair.cert.der().clone()).expect("a certificate");
            let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            let builder = builder.with_protocol_versions(&[&version::TLS13]).expect("known versions");
            let client = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
            let under_way = Budget::shared(under_way, 50, 1);
            let handshakes = Handshakes { tls, lane: Lane::new("handshake", 1, usize::MAX), under_way };
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            Self { handshakes, listener, client, _folder: folder }
        }

        async fn connected(&self) -> (TcpStream, TcpStream) {
            let address = self.listener.local_addr().expect("it is bound");
            let (client, server) = tokio::join!(TcpStream::connect(address), self.listener.accept());
            (client.expect("it listens"), server.expect("it accepts").0)
        }

        /// A handshake that the client called `last` has begun, and waits with.
        async fn begun(&self, last: u8) -> (TcpStream, JoinHandle<io::Result<Opening>>) {
            let (mut client, server) = self.connected().await;
            let name = ServerName::try_from("localhost").expect("a name");
            let mut connection = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
            let mut hello = Vec::new();
            connection.write_tls(&mut hello).expect("a vector takes all");
            client.write_all(&hello).await.expect("it reads");
            let (handshakes, waiting) = (self.handshakes.clone(), self.handshakes.lane.waiting());
            let accepting = tokio::spawn(async move { handshakes.accept(server, peer(last)).await });
            while self.handshakes.lane.waiting() == waiting {
                assert!(!accepting.is_finished(), "it has no turn");
                tokio::task::yield_now().await;
            }
            (client, accepting)
        }
    }

    #[tokio::test]
    async fn a_handshake_waits_for_its_turn_and_nobody_for_it() {
        let setup = Setup::new(8).await;
        let turn = setup.handshakes.lane.turn(origin(9)).await.expect("it is the first");
        let (client, server) = setup.connected().await;
        let handshakes = setup.handshakes.clone();
        let accepting = tokio::spawn(async move { handshakes.accept(server, peer(1)).await });
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = tokio::spawn(TlsConnector::from(Arc::clone(&setup.client)).connect(name, client));
        while setup.handshakes.lane.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // Others go on on the same thread meanwhile.
        let (mut plain, server) = setup.connected().await;
        plain.write_all(b"G").await.expect("it reads");
        let opening = setup.handshakes.accept(server, peer(1)).await.expect("it is no handshake");
        assert!(matches!(opening, Opening::Plain(_)) && !accepting.is_finished() && !connecting.is_finished());
        drop(turn);
        assert!(matches!(accepting.await.expect("no panic"), Ok(Opening::Secured(_))));
        connecting.await.expect("no panic").expect("it is secured");
        assert_eq!((setup.handshakes.lane.running(), setup.handshakes.under_way.used()), (0, 0));
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let setup = Setup::new(8).await;
        let turn = setup.handshakes.lane.turn(origin(9)).await.expect("it is the first");
        let _many = [setup.begun(1).await, setup.begun(1).await, setup.begun(1).await];
        let mut other = std::pin::pin!(setup.handshakes.lane.turn(origin(2)));
        assert!(other.as_mut().now_or_never().is_none());
        drop(turn);
        let _turn = other.await.expect("it waits");
        assert_eq!(setup.handshakes.lane.waiting(), 2, "after the first of the others");
    }

    #[tokio::test]
    async fn a_client_has_a_share_of_handshakes() {
        let setup = Setup::new(4).await;
        let _turn = setup.handshakes.lane.turn(origin(9)).await.expect("it is the first");
        let mut held = vec![setup.begun(1).await, setup.begun(1).await];
        let accept = async |last| {
            let (mut client, server) = setup.connected().await;
            client.write_all(&[22]).await.expect("it reads");
            setup.handshakes.accept(server, peer(last)).await
        };
        let refused = accept(1).await.expect_err("it has its share").to_string();
        assert!(refused.contains("`server.max_client_percent`"), "{refused}");
        // Who gives up has its place back.
        let (client, accepting) = held.remove(0);
        accepting.abort();
        assert!(accepting.await.is_err_and(|error| error.is_cancelled()));
        drop(client);
        held.push(setup.begun(1).await);
        held.push(setup.begun(2).await);
        assert_eq!(setup.handshakes.under_way.used(), 3);
    }
}
