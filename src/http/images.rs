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
mod tests {
    use super::*;

    #[test]
    fn content_types_choose_the_reader() {
        for (content_type, length, expected) in [
            (Some("image/jpeg"), "9", Ok(Kind::Raw)),
            (Some("IMAGE/PNG; q=1"), "9", Ok(Kind::Raw)),
            (Some("application/octet-stream"), "9", Ok(Kind::Raw)),
            (Some("application/json; charset=utf-8"), "9", Ok(Kind::Json)),
            (Some("multipart/form-data; boundary=x"), "9", Ok(Kind::Multipart)),
            (Some("text/plain"), "9", Err("`text/plain` carries no image; send `image/*`")),
            (Some("application/x-www-form-urlencoded"), "9", Err("add `-H 'Content-Type: image/jpeg'`")),
            (None, "9", Err("no `Content-Type`; send `image/*`")),
            (None, "0", Err("holds no image")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LENGTH, length.parse().expect("valid"));
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, content_type.parse().expect("valid"));
            }
            match (Kind::of(&headers), expected) {
                (Ok(kind), Ok(expected)) => assert_eq!(kind, expected, "{content_type:?}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{content_type:?}: {error}"),
                (got, expected) => panic!("{content_type:?}: got {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn pixels_are_counted_over_all_images() {
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(20, 10).write_to(&mut png, image::ImageFormat::Png).expect("a small image encodes");
        let image = NamedImage { name: None, bytes: png.into_inner().into() };
        let junk = NamedImage { name: None, bytes: Bytes::from_static(b"junk") };
        let intake = |max_images, max_pixels, one| {
            let mut intake = crate::http::testing::intake();
            (intake.max_images, intake.max_pixels, intake.limits.max_pixels) = (max_images, max_pixels, one);
            intake
        };
        assert!(check_images(&[image.clone(), junk.clone()], &intake(2, 200, 200)).is_ok());
        let error = check_images(&[image.clone(), image.clone()], &intake(2, 399, 200)).expect_err("400 pixels are too many");
        assert!(matches!(error, ApiError::TooManyPixels { pixels: 400, limit: 399 }), "{error}");
        // Too large alone: refused by name, as a bad image.
        assert!(check_images(&[image], &intake(1, 199, 199)).is_ok());
        assert!(matches!(check_images(&[junk.clone(), junk], &intake(1, 1, 1)), Err(ApiError::TooManyImages { limit: 1 })));
        assert!(matches!(check_images(&[], &intake(1, 1, 1)), Err(ApiError::NoImages(_))));
    }
}
