//! One line in the log for each request, when its answer has been sent or its client has left: who asked for what, and what it took.
//!
//! Whatever runs in the task of a request adds what it finds out ([`note`]). Knows no route.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{ConnectInfo, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use hyper::body::{Frame, SizeHint};
use tracing::{Instrument as _, Span};

use super::{code::Code, dto::TimingsDto, observe};

tokio::task_local! {
    static CURRENT: Arc<Line>;
}

/// As nginx has it, where a client left before there was a status.
pub const LEFT: u16 = 499;

/// What is known of a request only by what answers it.
#[derive(Debug, Default)]
pub struct Facts {
    /// The name of the key that it came with.
    pub key: Option<String>,
    /// The model that was asked.
    pub model: Option<String>,
    /// Its version.
    pub version: Option<u32>,
    /// How many images came.
    pub images: Option<u64>,
    /// Where the time went.
    pub timings: Option<TimingsDto>,
    /// Why it was refused.
    pub code: Option<Code>,
}

#[derive(Debug)]
struct Line {
    facts: Mutex<Facts>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Whether its client left before all of its body was there.
    left: AtomicBool,
    started: Instant,
    span: Span,
    /// Where its connection came from.
    peer: Option<IpAddr>,
}

/// Adds to the line of the request at hand; outside of one it does nothing.
pub fn note(add: impl FnOnce(&mut Facts)) {
    let _ = CURRENT.try_with(|line| add(&mut line.facts.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Whether the client of the request at hand has left before it had sent all of it: whatever is answered then is read by nobody.
pub fn client_has_left() -> bool {
    CURRENT.try_with(|line| line.left.load(Ordering::Relaxed)).unwrap_or(false)
}

/// Middleware: writes the line.
pub async fn log(request: Request, next: Next) -> Response {
    let span = observe::span(&request);
    let started = Instant::now();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let (bytes_in, bytes_out, left) = Default::default();
    let line = Arc::new(Line { facts: Mutex::default(), bytes_in, bytes_out, left, started, span: span.clone(), peer });
    let mut end = End { line: Arc::clone(&line), status: LEFT, complete: false };
    let is_head = request.method() == Method::HEAD;
    let received = Arc::clone(&line);
    let request = request.map(|body| match body.is_end_stream() {
        true => body,
        false => Body::new(Received { body, line: received }),
    });
    let response = CURRENT.scope(line, next.run(request)).instrument(span).await;
    end.status = response.status().as_u16();
    end.complete = is_head || response.body().is_end_stream();
    response.map(|body| if end.complete { body } else { Body::new(Sent { body, end }) })
}

/// Writes the line when it is dropped: at the end of the answer, or when nobody waits for it any more.
struct End {
    line: Arc<Line>,
    status: u16,
    complete: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let line = &self.line;
        let facts = line.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, model, code) = (facts.key.as_deref(), facts.model.as_deref(), facts.code.map(Code::wire_name));
        let total_ms = (line.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let left = line.left.load(Ordering::Relaxed);
        let _in = line.span.enter();
        tracing::info!(
            client = line.peer.map(tracing::field::display),
            status = if left { LEFT } else { self.status },
            code,
            key,
            model,
            version = facts.version,
            images = facts.images,
            bytes_in = line.bytes_in.load(Ordering::Relaxed),
            bytes_out = line.bytes_out.load(Ordering::Relaxed),
            decode_ms = facts.timings.map(|timings| timings.decode_ms),
            queue_ms = facts.timings.map(|timings| timings.queue_ms),
            inference_ms = facts.timings.map(|timings| timings.inference_ms),
            total_ms,
            "{}",
            if self.complete && !left { "answered" } else { "its client left" }
        );
    }
}

/// A request's body, counted.
struct Received {
    body: Body,
    line: Arc<Line>,
}

/// An answer's body, counted, with the line to write at its end.
struct Sent {
    body: Body,
    end: End,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        count(&polled, &self.line.bytes_in);
        if let Poll::Ready(Some(Err(error))) = &polled
            && is_cut_off(error)
        {
            self.line.left.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        count(&polled, &self.end.line.bytes_out);
        // Whoever sends it may not ask for more than the length that was announced.
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() || self.body.size_hint().exact() == Some(0) {
            self.end.complete = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether `error` is that of a connection that ended, and not one of what came over it.
fn is_cut_off(error: &axum::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        }
        cause = error.source();
    }
    false
}

fn count(polled: &Poll<Option<Result<Frame<Bytes>, axum::Error>>>, bytes: &AtomicU64) {
    if let Poll::Ready(Some(Ok(frame))) = polled
        && let Some(data) = frame.data_ref()
    {
        bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
}
