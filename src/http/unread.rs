//! Bodies that nobody read to their end: what is left is read and forgotten while the answer is already on the way.
//!
//! Closing a connection with unread data resets it, and many clients lose the answer that says why. No handler needs to care.
//! Knows no route, and not what bodies hold.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, BodyDataStream, HttpBody},
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::intake::Intake;

/// Middleware: gives handlers a body that they may leave unread.
///
/// A client that waits for `100 Continue` has sent nothing and needs nothing.
pub async fn forget(State(intake): State<Intake>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() || parts.headers.contains_key(header::EXPECT) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let chunks = Some(body.into_data_stream());
    let rest = Rest { chunks, awaited: None, limit: intake.max_body_bytes, time: intake.pace.idle };
    next.run(Request::from_parts(parts, Body::from_stream(rest))).await
}

/// The chunks of a body; when dropped before the end, those that are left are read, within `limit` bytes and `time`.
struct Rest {
    /// `None` after the end.
    chunks: Option<BodyDataStream>,
    /// Since when whoever read has been waiting for more.
    awaited: Option<Instant>,
    limit: usize,
    time: Duration,
}

impl Stream for Rest {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(chunks) = &mut self.chunks else { return Poll::Ready(None) };
        let polled = chunks.poll_next_unpin(context);
        if polled.is_ready() {
            self.awaited = None;
        } else {
            self.awaited.get_or_insert_with(Instant::now);
        }
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.chunks = None;
        }
        polled
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // Who has waited for long and gives up has had enough of a silent client.
        let is_silent = self.awaited.is_some_and(|since| since.elapsed() > self.time / 2);
        let Some(mut chunks) = self.chunks.take().filter(|_| !is_silent) else { return };
        let mut left = self.limit;
        let reading = async move {
            while let Some(Ok(chunk)) = chunks.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // There is none once the server has ended.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let time = self.time;
            runtime.spawn(async move { tokio::time::timeout(time, reading).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::stream;
    use tokio::sync::Notify;

    use super::*;

    /// A body of `count` chunks of ten bytes; counts those that were read, and tells when it is dropped.
    fn body(count: usize, is_open: bool) -> (BodyDataStream, Arc<AtomicUsize>, Arc<Notify>) {
        struct Told(Arc<Notify>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (read, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counter, told) = (Arc::clone(&read), Told(Arc::clone(&ended)));
        let chunks = stream::iter(0..count).map(move |_| {
            let _told = &told;
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 10]))
        });
        let silence = stream::pending().take(usize::from(is_open));
        (Body::from_stream(chunks.chain(silence)).into_data_stream(), read, ended)
    }

    fn rest(chunks: BodyDataStream) -> Rest {
        Rest { chunks: Some(chunks), awaited: None, limit: 100, time: Duration::from_secs(60) }
    }

    #[tokio::test]
    async fn what_nobody_read_is_read_within_bounds() {
        for (count, taken, expected) in [(5, 0, 5), (5, 2, 5), (5, 5, 5), (1000, 0, 11), (1000, 3, 14)] {
            let (chunks, read, ended) = body(count, false);
            let mut rest = rest(chunks);
            for _ in 0..taken {
                assert!(matches!(rest.next().await, Some(Ok(_))));
            }
            drop(rest);
            ended.notified().await;
            assert_eq!(read.load(Ordering::Relaxed), expected, "{count} chunks, {taken} of them taken");
        }
    }

    #[tokio::test]
    async fn who_waited_in_vain_reads_no_further() {
        let (chunks, read, ended) = body(2, true);
        let mut awaited = rest(chunks);
        let all = async { while awaited.next().await.is_some() {} };
        assert!(tokio::time::timeout(Duration::from_millis(20), all).await.is_err());
        awaited.time = Duration::from_millis(30);
        drop(awaited);
        tokio::time::timeout(Duration::from_secs(5), ended.notified()).await.expect("dropped at once");
        assert_eq!(read.load(Ordering::Relaxed), 2);
        let (chunks, _, ended) = body(2, true);
        let mut late = rest(chunks);
        late.time = Duration::from_millis(20);
        drop(late);
        tokio::time::timeout(Duration::from_secs(5), ended.notified()).await.expect("dropped after its time");
    }
}
