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
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{
        DefaultBodyLimit, FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::Said;
use crate::{
    datasets::{Dataset, Error, ReadAs, Upload},
    http::{
        body::{self, BodyFault},
        error::ApiError,
        images::quoted,
        state::State,
    },
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
    let chunks = Held { chunks: body.into_data_stream(), held: Arc::clone(&held), is_waiting: false };
    let mut request = Request::new(Body::from_stream(chunks));
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, quoted(content_type));
    }
    // The store counts the file against its own bound, `Held` what is around it.
    DefaultBodyLimit::disable().apply(&mut request);
    let form = Multipart::from_request(request, &()).await;
    let form = form.map_err(|error| ApiError::MalformedBody(format!("cannot read the form: {}", error.body_text())))?;
    let mut reader = Reader { state, said, form, held, idle: state.datasets().config().idle_timeout };
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
    form: Multipart,
    held: Arc<AtomicU64>,
    idle: Duration,
}

impl Reader<'_> {
    async fn read(&mut self) -> Result<(Upload, ReadAs), ApiError> {
        let mut upload = None;
        loop {
            let field = within(self.idle, self.form.next_field()).await?;
            self.held.store(0, Ordering::Relaxed);
            let Some(mut field) = field else { break };
            if field.file_name().is_none() {
                let name = field.name().unwrap_or_default().to_owned();
                let value = text(&mut field, self.idle).await?;
                self.said.add(&name, value)?;
                self.said.read_as()?;
                continue;
            }
            if upload.is_some() {
                return Err(ApiError::InvalidParameter("the form has more than one file; a data set is one archive".to_owned()));
            }
            let target = upload.insert(self.state.datasets().upload(None).await?);
            while let Some(chunk) = within(self.idle, field.chunk()).await? {
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
        tokio::spawn(tokio::time::timeout(state.intake().timeout, async move {
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

/// What the form's reader gives, unless its sender falls silent.
async fn within<T>(idle: Duration, reading: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
    let read = tokio::time::timeout(idle, reading).await;
    read.map_err(|_| ApiError::BodySilent { ms: idle.as_millis() })?.map_err(|error| match body::fault_in(&error) {
        Some(BodyFault::Interrupted) => ApiError::BodyInterrupted,
        Some(_) => ApiError::MalformedBody(format!("a part of the form has more than {MAX_HELD_BYTES} bytes of headers")),
        None => ApiError::MalformedBody(format!("cannot read the form: {}", error.body_text())),
    })
}

/// A field that is no file.
async fn text(field: &mut Field<'_>, idle: Duration) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = within(idle, field.chunk()).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_FIELD_BYTES {
            return Err(ApiError::InvalidParameter(format!(
                "form field `{}` has more than {MAX_FIELD_BYTES} bytes and no file name; send the archive as a file (`-F file=@photos.zip`)",
                field.name().unwrap_or_default().chars().take(60).collect::<String>()
            )));
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::InvalidParameter("a form field is not UTF-8".to_owned()))
}

/// The chunks of a body, one at a time: the form's reader takes all that it is given before it looks at any of it.
struct Held {
    chunks: BodyDataStream,
    /// Bytes since the reader last handed something on.
    held: Arc<AtomicU64>,
    /// Whether a chunk was given and has not been looked at.
    is_waiting: bool,
}

impl Stream for Held {
    type Item = Result<Bytes, BodyFault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_waiting) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(chunk) = self.chunks.poll_next_unpin(context) else { return Poll::Pending };
        let Some(chunk) = chunk else { return Poll::Ready(None) };
        let Ok(chunk) = chunk else { return Poll::Ready(Some(Err(BodyFault::Interrupted))) };
        self.is_waiting = true;
        // Whatever one chunk is: it was in memory before it came here.
        let held = self.held.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        let limit = usize::try_from(MAX_HELD_BYTES).unwrap_or(usize::MAX);
        Poll::Ready(Some(if held > MAX_HELD_BYTES { Err(BodyFault::TooLarge { limit }) } else { Ok(chunk) }))
    }
}
