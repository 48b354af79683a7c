//! `multipart/form-data`: one file, streamed to the store as it arrives, and the parameters as fields before or behind it.
//!
//! Nothing of the form is in memory longer than a chunk; what lies between two files or chunks is bounded.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use multer::{Field, Multipart};

use super::Said;
use crate::{
    datasets::{Dataset, Error, ReadAs, Upload},
    http::{
        body::{self, BodyFault},
        error::ApiError,
        form::{malformed, reader},
        header_parameters::HeaderParameters,
        state::State,
    },
    message::excerpt,
};

/// Most bytes that the form's reader may hold before it hands something on: a part's headers, or a chunk.
const MAX_HELD_BYTES: u64 = 1 << 20;

/// Most bytes of a field that is no file.
const MAX_FIELD_BYTES: usize = 256;

/// Takes in the archive that is the form's file.
///
/// # Errors
/// A form that cannot be read, no file in it or several; as for an archive that is the body itself.
pub async fn archive(state: &State, said: Said, headers: &HeaderMap, body: Body) -> Result<Dataset, ApiError> {
    let limit = state.datasets().config().max_upload_bytes;
    if body::declared_length(headers).is_some_and(|declared| declared as u64 > limit.saturating_add(MAX_HELD_BYTES)) {
        state.intake().discard(headers, body);
        return Err(Error::UploadTooLarge { limit }.into());
    }
    let held = Arc::new(AtomicU64::new(0));
    let idle = state.datasets().config().idle_timeout;
    let chunks = state.intake().chunks_within(body, idle, "datasets.idle_timeout_ms");
    // The store counts the file against its own bound, `Held` what is around it.
    let form = reader(headers, Held { chunks, held: Arc::clone(&held), is_waiting: false })?;
    let mut reader = Reader { state, said, form, held };
    match reader.read().await {
        Ok((upload, read_as)) => Ok(upload.finish(read_as).await?),
        Err(error) => {
            reader.discard();
            Err(error)
        }
    }
}

/// A form that is being read.
struct Reader<'a> {
    state: &'a State,
    said: Said,
    form: Multipart<'static>,
    held: Arc<AtomicU64>,
}

impl Reader<'_> {
    async fn read(&mut self) -> Result<(Upload, ReadAs), ApiError> {
        let mut upload = None;
        loop {
            let field = self.form.next_field().await.map_err(fault)?;
            self.held.store(0, Ordering::Relaxed);
            let Some(mut field) = field else { break };
            let (name, file_name) = names(&field);
            if file_name.is_none() {
                let name = name.unwrap_or_default();
                let value = text(&mut field, &name).await?;
                self.said.add(&name, value)?;
                self.said.read_as()?;
                continue;
            }
            if upload.is_some() {
                return Err(ApiError::InvalidParameter("the form has more than one file; a data set is one archive".to_owned()));
            }
            let target = upload.insert(self.state.datasets().upload(None).await?);
            while let Some(chunk) = field.chunk().await.map_err(fault)? {
                self.held.store(0, Ordering::Relaxed);
                target.write(&chunk).await?;
            }
        }
        let none = "the form has no file; send the archive as one (`-F file=@photos.zip`)";
        Ok((upload.ok_or_else(|| ApiError::MalformedBody(none.to_owned()))?, self.said.read_as()?))
    }

    /// Lets a refused client finish sending, so that it reads why; nothing is kept.
    fn discard(self) {
        let Self { mut form, held, state, .. } = self;
        let limit = state.intake().max_body_bytes;
        tokio::spawn(tokio::time::timeout(state.intake().pace.idle, async move {
            let mut left = limit;
            while let Ok(Some(mut field)) = form.next_field().await {
                while let Ok(Some(chunk)) = field.chunk().await {
                    held.store(0, Ordering::Relaxed);
                    let Some(rest) = left.checked_sub(chunk.len()) else { return };
                    left = rest;
                }
            }
        }));
    }
}

/// What a part is called, and its file.
fn names(field: &Field<'_>) -> (Option<String>, Option<String>) {
    let disposition = field.headers().get(header::CONTENT_DISPOSITION).map(|value| HeaderParameters::of(value.as_bytes()));
    disposition.map_or((None, None), |found| (found.text("name"), found.file_name()))
}

fn fault(error: multer::Error) -> ApiError {
    match body::fault_in(&error) {
        Some(BodyFault::TooLarge { .. }) => {
            ApiError::MalformedBody(format!("a part of the form has more than {MAX_HELD_BYTES} bytes of headers"))
        }
        _ => malformed(error),
    }
}

/// A field that is no file.
async fn text(field: &mut Field<'_>, name: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(fault)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(ApiError::InvalidParameter(format!(
                "form field `{}` has more than {MAX_FIELD_BYTES} bytes and no file name; send the archive as a file \
                 (`-F file=@photos.zip`)",
                excerpt(name)
            )));
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::InvalidParameter("a form field is not UTF-8".to_owned()))
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
        let limit = usize::try_from(MAX_HELD_BYTES).unwrap_or(usize::MAX);
        Poll::Ready(Some(if held > MAX_HELD_BYTES { Err(BodyFault::TooLarge { limit }) } else { Ok(chunk) }))
    }
}
