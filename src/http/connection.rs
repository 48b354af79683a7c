//! When a connection without a request is closed: while it is idle after `keep_alive_timeout`, within a header after
//! `header_timeout`.
//!
//! hyper has one timer for both, which runs from the end of an answer on. Here its timer asks the connection whether a byte of a
//! header has come. Knows nothing of HTTP.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;

/// A connection that remembers whether a byte has arrived since a header was waited for.
#[derive(Debug)]
pub struct Watched {
    stream: Stream,
    /// Shared with the connection's timer; one task uses both.
    arrived: Arc<AtomicBool>,
}

/// hyper's timer for the headers of one connection.
#[derive(Debug)]
pub struct HeaderTimer {
    arrived: Arc<AtomicBool>,
    keep_alive: Duration,
    header: Duration,
}

/// `stream`, and the timer that closes it.
pub fn watched(stream: Stream, keep_alive: Duration, header: Duration) -> (Watched, HeaderTimer) {
    let arrived = Arc::<AtomicBool>::default();
    (Watched { stream, arrived: Arc::clone(&arrived) }, HeaderTimer { arrived, keep_alive, header })
}

impl Timer for HeaderTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    /// hyper asks for this alone, when it begins to wait for a header; when that wait ends is decided here.
    fn sleep_until(&self, _deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.arrived.store(false, Ordering::Relaxed);
        let until = Box::pin(tokio::time::sleep(self.keep_alive));
        Box::pin(Wait { arrived: Arc::clone(&self.arrived), begun: false, header: self.header, until })
    }
}

/// The wait for a header; hyper polls it after every read.
struct Wait {
    arrived: Arc<AtomicBool>,
    begun: bool,
    header: Duration,
    until: Pin<Box<tokio::time::Sleep>>,
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.begun && self.arrived.load(Ordering::Relaxed) {
            self.begun = true;
            let until = tokio::time::Instant::now() + self.header;
            self.until.as_mut().reset(until);
        }
        self.until.as_mut().poll(context)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.arrived.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
