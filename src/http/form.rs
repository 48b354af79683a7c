//! `multipart/form-data` as a reader of parts: the boundary from the content type, and what is wrong with a form in words.
//!
//! Knows nothing of what parts mean; their names are [`HeaderParameters`]'s to read.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::Stream;
use multer::{Error, Multipart};

use super::{
    body::{BodyFault, fault_in},
    error::ApiError,
    header_parameters::HeaderParameters,
};

/// A reader of the form that `chunks` are, whichever characters its boundary has.
///
/// # Errors
/// A content type without a boundary.
pub fn reader(
    headers: &HeaderMap,
    chunks: impl Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
) -> Result<Multipart<'static>, ApiError> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let boundary = HeaderParameters::of(value).text("boundary").filter(|boundary| !boundary.is_empty());
    let missing = "its `Content-Type` names no `boundary`; let the HTTP client write that header";
    Ok(Multipart::new(chunks, boundary.ok_or_else(|| refused(missing))?))
}

/// What keeps a form from being read; the reader's own messages name fields, of any length.
pub fn malformed(error: Error) -> ApiError {
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
