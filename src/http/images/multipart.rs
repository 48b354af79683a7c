//! `multipart/form-data`: every part with a file name is an image; a part without one is refused by name.

use axum::{
    body::Body,
    extract::{
        DefaultBodyLimit, FromRequest, Multipart, Request,
        multipart::{Field, MultipartError},
    },
    http::{HeaderMap, HeaderValue, header},
};
use bytes::Bytes;
use futures_util::Stream;

use super::NamedImage;
use crate::http::{
    body::{self, BodyFault},
    error::ApiError,
};

/// Reads the images of a form as its chunks arrive.
///
/// # Errors
/// A form that cannot be read, a part without a file name, too many images, the stream's own fault.
pub async fn read(
    headers: &HeaderMap,
    chunks: impl Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
    max_images: usize,
) -> Result<Vec<NamedImage>, ApiError> {
    let mut request = Request::new(Body::from_stream(chunks));
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        request.headers_mut().insert(header::CONTENT_TYPE, quoted(content_type));
    }
    // The chunks are already counted against this server's own bound.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|error| ApiError::MalformedBody(format!("cannot read the form: {}", error.body_text())))?;
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let Some(image) = image_of(field).await? else { continue };
        if images.len() == max_images {
            return Err(ApiError::TooManyImages { limit: max_images });
        }
        images.push(image);
    }
    Ok(images)
}

/// `content_type` with its boundary in quotes: a plain one may have characters, such as `+`, that the form's reader takes in quotes
/// alone.
pub fn quoted(content_type: &HeaderValue) -> HeaderValue {
    let text = content_type.to_str().unwrap_or_default();
    let parameter = |text: &str| match text.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("boundary") => format!("{name}=\"{}\"", value.trim_end()),
        _ => text.to_owned(),
    };
    let quoted = text.split(';').map(parameter).collect::<Vec<_>>().join(";");
    HeaderValue::from_str(&quoted).ok().filter(|_| !text.contains('"')).unwrap_or_else(|| content_type.clone())
}

/// The image in `field`; `None` for a file input that was left empty in a browser's form.
async fn image_of(field: Field<'_>) -> Result<Option<NamedImage>, ApiError> {
    let Some(file) = field.file_name().map(str::to_owned) else {
        let name = field.name().unwrap_or_default().to_owned();
        return Err(ApiError::InvalidParameter(format!(
            "form field `{name}` has no file name, so it is no image; send images as files (`-F image=@photo.jpg`) and parameters \
             in the query string"
        )));
    };
    let bytes = field.bytes().await.map_err(malformed)?;
    if file.is_empty() && bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(NamedImage { name: Some(file).filter(|name| !name.is_empty()), bytes }))
}

fn malformed(error: MultipartError) -> ApiError {
    match body::fault_in(&error) {
        Some(fault) => fault.into(),
        None => ApiError::MalformedBody(format!("cannot read the form: {}", error.body_text())),
    }
}
