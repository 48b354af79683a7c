//! A connection's bytes, with TLS or without; and what a request is told of how it came.
//!
//! Knows nothing of HTTP.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::handshake::{Handshakes, Opening};

/// How a request came; among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Whether it is secured.
    pub transport: Transport,
    /// The address of this machine that the client reached.
    pub local: Option<IpAddr>,
}

/// Whether a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Without TLS, as configured.
    Plain,
    /// Over TLS.
    Tls,
    /// Without TLS where TLS is configured: it is refused.
    Unsecured,
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What becomes of the `stream` of `peer` after its handshake, if there is one.
///
/// # Errors
/// When the handshake fails or is refused, or the client leaves.
pub async fn open(stream: TcpStream, peer: SocketAddr, handshakes: Option<&Handshakes>) -> io::Result<(Stream, Connection)> {
    let local = stream.local_addr().ok().map(|address| address.ip().to_canonical());
    let (stream, transport) = match handshakes {
        None => (Stream::Plain(stream), Transport::Plain),
        Some(handshakes) => match handshakes.accept(stream, peer).await? {
            Opening::Secured(stream) => (Stream::Tls(stream), Transport::Tls),
            Opening::Plain(stream) => (Stream::Plain(stream), Transport::Unsecured),
        },
    };
    Ok((stream, Connection { transport, local }))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
