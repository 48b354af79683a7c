//! When a connection without a request is closed: while it is idle after `keep_alive_timeout`, within a header after
//! `header_timeout`.
//!
//! An answer whose reader takes nothing, or a trickle, ends with its connection: it holds memory of all.
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
use crate::config::ServerConfig;

/// A connection that remembers whether a byte has arrived since a header was waited for.
#[derive(Debug)]
pub struct Watched {
    stream: Stream,
    reader: Reader,
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

/// How long a client may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For its next request.
    pub keep_alive: Duration,
    /// For a header, or a handshake.
    pub header: Duration,
    /// For a byte of an answer.
    pub write: Duration,
    /// How many bytes of an answer it takes at least, over stretches as long as that.
    pub bytes_per_second: u64,
}

impl Times {
    /// Those that `server` configures.
    pub fn of(server: &ServerConfig) -> Self {
        Self {
            keep_alive: server.keep_alive_timeout,
            header: server.header_timeout,
            write: server.write_timeout,
            bytes_per_second: server.min_body_bytes_per_second,
        }
    }
}

/// `stream`, and the timer that closes it.
pub fn watched(stream: Stream, times: Times) -> (Watched, HeaderTimer) {
    let arrived = Arc::<AtomicBool>::default();
    let reader = Reader { times, stalled: None, waited: Duration::ZERO, taken: 0 };
    let Times { keep_alive, header, .. } = times;
    (Watched { stream, reader, arrived: Arc::clone(&arrived) }, HeaderTimer { arrived, keep_alive, header })
}

/// How whoever reads the answers keeps up.
#[derive(Debug)]
struct Reader {
    times: Times,
    /// Since when it has taken nothing, and when that has been for too long.
    stalled: Option<(Instant, Pin<Box<tokio::time::Sleep>>)>,
    /// Time that was waited for it since its rate was last looked at, and the bytes that it took since.
    waited: Duration,
    taken: usize,
}

impl Reader {
    /// What comes of `written`, of which `bytes` are the bytes.
    fn after<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Poll::Ready(result) = written else {
            let write = self.times.write;
            let (_, until) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(write))));
            return until.as_mut().poll(context).map(|()| Err(slow()));
        };
        let result = result?;
        self.taken += bytes(&result);
        if let Some((since, _)) = self.stalled.take() {
            self.waited += since.elapsed();
        }
        if self.waited >= self.times.write {
            if (self.taken as f64) < self.times.bytes_per_second as f64 * self.waited.as_secs_f64() {
                return Poll::Ready(Err(slow()));
            }
            (self.waited, self.taken) = (Duration::ZERO, 0);
        }
        Poll::Ready(Ok(result))
    }
}

fn slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client takes its answer too slowly (`server.write_timeout_ms`)")
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
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.reader.after(context, written, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.reader.after(context, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Over TLS a last record is written, which a reader that takes nothing would hold up for ever.
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.reader.after(context, ended, |()| 0)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.reader.after(context, written, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
