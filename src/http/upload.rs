//! The body of `POST /datasets`: an archive of any size, streamed to the store, or JSON that names a folder.
//!
//! Slow senders are bounded by silence, not by the whole: a large upload over a thin line is no fault.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use futures_util::StreamExt;

use super::{
    body::{self, BodyFault},
    dto::FolderRequest,
    error::ApiError,
    state::State,
};
use crate::datasets::{ArchiveKind, Dataset, Error};

/// Largest JSON body in bytes.
const MAX_JSON_BYTES: usize = 64 << 10;

/// What a body carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Without a kind, its first bytes say what it is.
    Archive(Option<ArchiveKind>),
    Folder,
}

/// Takes in the data set that the body carries or names.
///
/// # Errors
/// A body of another type, too large, silent for too long; whatever keeps it from being a data set.
pub async fn receive(state: &State, headers: &HeaderMap, body: Body) -> Result<Dataset, ApiError> {
    match Kind::of(headers) {
        Ok(Kind::Archive(kind)) => archive(state, headers, kind, body).await,
        Ok(Kind::Folder) => Ok(state.datasets().import_below_root(folder(state, headers, body).await?).await?),
        Err(error) => {
            state.intake().discard(headers, body);
            Err(error)
        }
    }
}

async fn archive(state: &State, headers: &HeaderMap, kind: Option<ArchiveKind>, body: Body) -> Result<Dataset, ApiError> {
    let datasets = state.datasets();
    let (limit, idle) = (datasets.config().max_upload_bytes, datasets.config().idle_timeout);
    let too_large = body::declared_length(headers).is_some_and(|declared| declared as u64 > limit);
    let started = if too_large { Err(Error::UploadTooLarge { limit }) } else { datasets.upload(kind).await };
    let mut upload = match started {
        Ok(upload) => upload,
        Err(error) => {
            state.intake().discard(headers, body);
            return Err(error.into());
        }
    };
    let mut chunks = body.into_data_stream();
    loop {
        let chunk = tokio::time::timeout(idle, chunks.next()).await;
        let Some(chunk) = chunk.map_err(|_| ApiError::BodySilent { ms: idle.as_millis() })? else { break };
        let chunk = chunk.map_err(|_| ApiError::BodyInterrupted)?;
        if let Err(error) = upload.write(&chunk).await {
            state.intake().discard(headers, Body::from_stream(chunks));
            return Err(error.into());
        }
    }
    Ok(upload.finish().await?)
}

async fn folder(state: &State, headers: &HeaderMap, body: Body) -> Result<String, ApiError> {
    let reservation = std::sync::Arc::new(state.intake().budget.reserve());
    body::admit(headers, MAX_JSON_BYTES, &reservation).map_err(json_fault)?;
    let chunks = body::metered(body, MAX_JSON_BYTES, reservation);
    let time = state.intake().timeout;
    let bytes = tokio::time::timeout(time, body::collect(chunks, body::declared_length(headers))).await;
    let bytes = bytes.map_err(|_| ApiError::BodyTimeout { ms: time.as_millis() })?.map_err(json_fault)?;
    let request: FolderRequest = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::MalformedBody(format!("cannot read the JSON body: {error}; it is {{\"path\": \"…\"}}")))?;
    Ok(request.path)
}

fn json_fault(fault: BodyFault) -> ApiError {
    match fault {
        BodyFault::TooLarge { limit } => ApiError::MalformedBody(format!("the JSON body is larger than {limit} bytes")),
        other => other.into(),
    }
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match ArchiveKind::of_media_type(&media_type) {
            kind @ Some(_) => Ok(Self::Archive(kind)),
            None if media_type == "application/octet-stream" => Ok(Self::Archive(None)),
            None if media_type == "application/json" => Ok(Self::Folder),
            None => Err(ApiError::UnsupportedMediaType(format!(
                "`{media_type}` carries no data set; send `application/zip`, `application/x-tar` or `application/gzip` (an archive \
                 of class folders), or `application/json` (`{{\"path\":\"…\"}}`)"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
