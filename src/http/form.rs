//! `multipart/form-data` as a reader of parts: the boundary from the content type, and what is wrong with a form in words.
//!
//! Knows nothing of what parts mean; their names are [`HeaderParameters`]'s to read.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use multer::{Error, Field, Multipart};
use tokio::task::consume_budget;

use super::{
    body::{BodyFault, fault_in},
    error::ApiError,
    header_parameters::HeaderParameters,
};

/// Most bytes that the reader may hold before it hands something on: a part's headers, or a chunk.
const MAX_HELD_BYTES: u64 = 64 << 10;

/// A form that is being read, whichever characters its boundary has.
pub struct Form {
    parts: Multipart<'static>,
    held: Arc<AtomicU64>,
    /// How many parts may come yet, and may come in all.
    left: usize,
    max_parts: usize,
}

impl Form {
    /// The form that `chunks` are, of at most `max_parts` parts: empty ones cost as much as others, and nobody counts them otherwise.
    ///
    /// # Errors
    /// A content type without a boundary.
    pub fn new(
        headers: &HeaderMap,
        chunks: impl Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
        max_parts: usize,
    ) -> Result<Self, ApiError> {
        let value = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
        let boundary = HeaderParameters::of(value).text("boundary").filter(|boundary| !boundary.is_empty());
        let missing = "its `Content-Type` names no `boundary`; let the HTTP client write that header";
        let boundary = boundary.ok_or_else(|| refused(missing))?;
        let held = Arc::new(AtomicU64::new(0));
        let chunks = Held { chunks: Box::pin(chunks), held: Arc::clone(&held), is_waiting: false };
        Ok(Self { parts: Multipart::new(chunks, boundary), held, left: max_parts, max_parts })
    }

    /// The next part; `None` behind the last.
    ///
    /// # Errors
    /// What is no form, too many parts, headers that are too long, the stream's own fault.
    pub async fn next_field(&mut self) -> Result<Option<Field<'static>>, ApiError> {
        // Many that are there already would otherwise be read without letting go of the thread.
        consume_budget().await;
        let field = self.parts.next_field().await.map_err(malformed)?;
        self.held.store(0, Ordering::Relaxed);
        if field.is_some() {
            let left = self.left.checked_sub(1);
            self.left =
                left.ok_or_else(|| refused(&format!("it has more than {} parts, empty ones included", self.max_parts)))?;
        }
        Ok(field)
    }

    /// The next bytes of `field`; `None` at its end.
    ///
    /// # Errors
    /// As [`Self::next_field`].
    pub async fn chunk(&self, field: &mut Field<'_>) -> Result<Option<Bytes>, ApiError> {
        let chunk = field.chunk().await.map_err(malformed)?;
        self.held.store(0, Ordering::Relaxed);
        Ok(chunk)
    }

    /// All bytes of `field`.
    ///
    /// # Errors
    /// As [`Self::next_field`].
    pub async fn bytes(&self, field: &mut Field<'_>) -> Result<Bytes, ApiError> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk(field).await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// The chunks of a body, one at a time: the form's reader takes all that it is given before it looks at any of it.
struct Held<S> {
    chunks: S,
    /// Bytes since the reader last handed something on.
    held: Arc<AtomicU64>,
    /// Whether a chunk was given and has not been looked at.
    is_waiting: bool,
}

impl<S: Stream<Item = Result<Bytes, BodyFault>> + Unpin> Stream for Held<S> {
    type Item = Result<Bytes, BodyFault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_waiting) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(chunk) = self.chunks.poll_next_unpin(context) else { return Poll::Pending };
        let Some(chunk) = chunk else { return Poll::Ready(None) };
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(fault) => return Poll::Ready(Some(Err(fault))),
        };
        self.is_waiting = true;
        // Whatever one chunk is: it was in memory before it came here.
        let held = self.held.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(if held > MAX_HELD_BYTES { Err(BodyFault::PartTooLong { limit: MAX_HELD_BYTES }) } else { Ok(chunk) }))
    }
}

/// What keeps a form from being read; the reader's own messages name fields, of any length.
fn malformed(error: Error) -> ApiError {
    if let Some(fault) = fault_in(&error) {
        return fault.into();
    }
    match error {
        Error::IncompleteStream | Error::IncompleteFieldData { .. } | Error::IncompleteHeaders => {
            refused("it ends before its last boundary, or has another boundary than its `Content-Type` names")
        }
        Error::ReadHeaderFailed(_) | Error::DecodeHeaderName { .. } | Error::DecodeHeaderValue { .. } => {
            refused("a part has headers that are none")
        }
        _ => refused("its parts cannot be told apart"),
    }
}

fn refused(why: &str) -> ApiError {
    ApiError::MalformedBody(format!("cannot read the form: {why}"))
}
