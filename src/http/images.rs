//! The images of a request: one raw body, multipart, or JSON with base64, as named byte slices.
//!
//! Bounds their number, their bytes and their pixels (from headers alone); decodes no pixel.

mod json;
mod multipart;

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;

pub use json::{ImageEntry, ImagesRequest};
pub(super) use multipart::quoted;

use super::{
    body::{self, Reservation},
    error::ApiError,
    intake::Intake,
};
use crate::{inference, preprocess};

/// One image as its sender named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The file's name, or the JSON's `name`.
    pub name: Option<String>,
    /// Encoded bytes.
    pub bytes: Bytes,
}

/// A request's images, in order, and their share of the memory for request bodies.
#[derive(Debug)]
pub struct Images {
    images: Vec<NamedImage>,
    reservation: Arc<Reservation>,
}

impl Images {
    /// Reads the images from `body`, as its content type says.
    ///
    /// # Errors
    /// Whatever keeps the body from being one image or more, within the server's bounds.
    pub async fn read(intake: &Intake, headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let kind = match Kind::of(headers) {
            Ok(kind) => kind,
            Err(error) => {
                intake.discard(headers, body);
                return Err(error);
            }
        };
        let reservation = Arc::new(intake.budget.reserve());
        body::admit(headers, intake.max_body_bytes, &reservation)?;
        let chunks = body::metered(body, intake.max_body_bytes, Arc::clone(&reservation));
        let declared = body::declared_length(headers);
        let reading = async {
            match kind {
                Kind::Raw => Ok(vec![NamedImage { name: None, bytes: body::collect(chunks, declared).await? }]),
                Kind::Json => json::read(body::collect(chunks, declared).await?, intake.max_images, &reservation).await,
                Kind::Multipart => multipart::read(headers, chunks, intake.max_images).await,
            }
        };
        let late = |_| ApiError::BodyTimeout { ms: intake.timeout.as_millis() };
        let images = tokio::time::timeout(intake.timeout, reading).await.map_err(late)??;
        check_images(&images, intake)?;
        Ok(Self { images, reservation })
    }

    /// What each image is called in the answer: the name given, else the position from 0.
    pub fn names(&self) -> Vec<String> {
        let name = |(position, image): (usize, &NamedImage)| image.name.clone().unwrap_or_else(|| position.to_string());
        self.images.iter().enumerate().map(name).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// The engine's form of them; the memory stays reserved while the second part lives.
    pub fn into_parts(self) -> (Vec<inference::Image>, Arc<Reservation>) {
        let images = self.images.into_iter().map(|image| inference::Image { bytes: image.bytes }).collect();
        (images, self.reservation)
    }
}

/// How a body carries images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    Json,
    Multipart,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            if matches!(body::declared_length(headers), None | Some(0)) && !headers.contains_key(header::TRANSFER_ENCODING) {
                return Err(ApiError::NoImages("send one as the body, with its `Content-Type`"));
            }
            return Err(unsupported("the body has no `Content-Type`"));
        };
        let text = value.to_str().unwrap_or_default();
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/octet-stream" => Ok(Self::Raw),
            "application/json" => Ok(Self::Json),
            "multipart/form-data" => Ok(Self::Multipart),
            "application/x-www-form-urlencoded" => Err(unsupported(
                "`application/x-www-form-urlencoded` carries no image; with curl's `--data-binary` add `-H 'Content-Type: image/jpeg'`",
            )),
            other if other.starts_with("image/") => Ok(Self::Raw),
            other => Err(unsupported(&format!("`{other}` carries no image"))),
        }
    }
}

fn unsupported(what: &str) -> ApiError {
    ApiError::UnsupportedMediaType(format!(
        "{what}; send `image/*` or `application/octet-stream` (one image), `multipart/form-data` (files) or `application/json` \
         (`{{\"images\":[{{\"b64\":\"…\"}}]}}`)"
    ))
}

fn check_images(images: &[NamedImage], intake: &Intake) -> Result<(), ApiError> {
    if images.is_empty() {
        return Err(ApiError::NoImages("send at least one"));
    }
    if images.len() > intake.max_images {
        return Err(ApiError::TooManyImages { limit: intake.max_images });
    }
    let headers = images.iter().filter_map(|image| preprocess::header(&image.bytes, &intake.limits).ok());
    let pixels = headers.fold(0u64, |sum, header| sum.saturating_add(u64::from(header.width) * u64::from(header.height)));
    if pixels > intake.max_pixels {
        return Err(ApiError::TooManyPixels { pixels, limit: intake.max_pixels });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
