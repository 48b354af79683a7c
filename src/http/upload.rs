//! The body of `POST /datasets`: an archive of any size, streamed to the store, or JSON that names a folder.
//!
//! Slow senders are bounded by silence, not by the whole: a large upload over a thin line is no fault.

mod form;
mod said;

use std::io;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header, request::Parts},
};
use futures_util::TryStreamExt;

pub use self::said::DatasetsQuery;
use self::said::{FolderRequest, Said};
use super::{
    body::{self, BodyFault},
    client::client,
    encoding::Arrived,
    error::ApiError,
    json,
    query::Place,
    state::State,
};
use crate::{
    datasets::{ArchiveKind, Dataset, Error, Upload},
    inference::Admission,
    message::{excerpt, serde_message},
};

/// Largest JSON body in bytes.
const MAX_JSON_BYTES: usize = 64 << 10;

/// What a body carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its first bytes say of which kind; this one was said, if one was.
    Archive(Option<ArchiveKind>),
    /// A form with one.
    Form,
    Folder,
}

/// Takes in the data set that the body carries or names, read as query and body say. The work holds the request's admission, which
/// comes back with it.
///
/// # Errors
/// A body of another type, too large, silent for too long; whatever keeps it from being a data set.
pub async fn receive(state: &State, request: Request) -> Result<(Dataset, Admission), ApiError> {
    let (mut parts, body) = request.into_parts();
    let said = Said::of(&mut parts).await?;
    let admission = state.intake().admit(&parts.extensions);
    let held = admission.clone();
    let dataset = match Kind::of(&parts.headers)? {
        Kind::Archive(kind) => archive(state, said, &parts, (kind, body), held).await,
        Kind::Form => form::archive(state, said, &parts, body, held).await,
        Kind::Folder => folder(state, said, &parts, body, held).await,
    };
    Ok((dataset?, admission))
}

/// Starts to receive an archive in the body of `parts`.
async fn start(state: &State, parts: &Parts, kind: Option<ArchiveKind>) -> Result<Upload, Error> {
    let upload = state.datasets().upload(&client(&parts.extensions), kind).await?;
    Ok(match parts.extensions.get() {
        Some(Arrived(bytes)) => upload.encoded(std::sync::Arc::clone(bytes)),
        None => upload,
    })
}

async fn archive(
    state: &State,
    said: Said,
    parts: &Parts,
    (kind, body): (Option<ArchiveKind>, Body),
    admission: Admission,
) -> Result<Dataset, ApiError> {
    let (datasets, headers) = (state.datasets(), &parts.headers);
    let (limit, idle) = (datasets.config().max_upload_bytes, datasets.config().idle_timeout);
    let read_as = said.read_as()?;
    if body::declared_length(headers).is_some_and(|declared| declared as u64 > limit) {
        return Err(Error::UploadTooLarge { limit }.into());
    }
    let mut upload = start(state, parts, kind).await?;
    let mut chunks = state.intake().chunks_within(body, idle, "datasets.idle_timeout_ms");
    while let Some(chunk) = chunks.try_next().await? {
        upload.write(&chunk).await?;
    }
    upload.finish(read_as, admission).await.map_err(|error| match error {
        // What curl calls a body unless told otherwise, whichever way it sent it.
        Error::Broken { kind, source } if is_urlencoded(headers) => {
            let hint = "if curl sent it, send it with `--data-binary`, as `-d` drops line breaks";
            Error::Broken { kind, source: io::Error::new(source.kind(), format!("{source} ({hint})")) }.into()
        }
        other => other.into(),
    })
}

fn is_urlencoded(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.starts_with("application/x-www-form-urlencoded")
}

async fn folder(state: &State, mut said: Said, parts: &Parts, body: Body, admission: Admission) -> Result<Dataset, ApiError> {
    let headers = &parts.headers;
    body::admit(headers, MAX_JSON_BYTES, &admission).map_err(json_fault)?;
    let chunks = body::metered(state.intake().chunks(body), MAX_JSON_BYTES, admission.clone());
    let bytes = body::collect(chunks, body::declared_length(headers)).await.map_err(json_fault)?;
    let request: FolderRequest = serde_json::from_slice(json::text(&bytes)?).map_err(|error| {
        ApiError::MalformedBody(format!("cannot read the JSON body: {}; it is {{\"path\": \"…\"}}", serde_message(&error)))
    })?;
    for (name, value) in request.parameters {
        said.add(Place::Json, &name, value)?;
    }
    let client = admission.client().clone();
    Ok(state.datasets().import_below_root(&client, request.path, said.read_as()?, admission).await?)
}

fn json_fault(fault: BodyFault) -> ApiError {
    match fault {
        BodyFault::TooLarge { limit } => ApiError::MalformedBody(format!("the JSON body is larger than {limit} bytes")),
        other => other.into(),
    }
}

impl Kind {
    /// By the content type where it says something else than an archive; a type that says nothing of it, such as curl's for
    /// `--data-binary`, leaves it to the bytes.
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Ok(Self::Folder),
            "multipart/form-data" => Ok(Self::Form),
            other => match other.split('/').next().unwrap_or_default() {
                "image" | "video" | "audio" | "text" | "multipart" => Err(ApiError::UnsupportedMediaType(format!(
                    "`{}` carries no data set; send `application/zip`, `application/x-tar` or `application/gzip` (an archive of \
                     class folders), the same as a file of `multipart/form-data`, or `application/json` \
                     (`{{\"path\":\"…\"}}`)",
                    excerpt(&media_type)
                ))),
                _ => Ok(Self::Archive(ArchiveKind::of_media_type(other))),
            },
        }
    }
}

#[cfg(test)]
mod tests;
