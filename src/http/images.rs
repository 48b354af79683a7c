//! The images of a request: one raw body, multipart, or JSON with base64, as named byte slices; and the parameters beside them.
//!
//! Bounds their number and their bytes; what they hold is the engine's to look at.

mod json;
mod mangled;
mod multipart;
mod value;

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::{body, error::ApiError, intake::Intake, parameters::Parameter, problem::ImageProblem, query::Place};
use crate::{
    inference::{self, Admission},
    message::excerpt,
    preprocess::ImageError,
};

/// Longest name of an image, in bytes.
const MAX_NAME: usize = 1024;

/// One image as its sender named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The file's name, or the JSON's `name`.
    pub name: Option<String>,
    /// Encoded bytes.
    pub bytes: Bytes,
    /// Why there are none, where the text that held them cannot be read.
    pub fault: Option<String>,
}

impl NamedImage {
    /// An image that arrived as bytes.
    pub fn new(name: Option<String>, bytes: Bytes) -> Self {
        Self { name, bytes, fault: None }
    }
}

/// What an image is called in the answer, and what to say if it cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    name: String,
    /// The bytes, to be looked at again if they cannot be decoded.
    sent: Bytes,
    fault: Option<String>,
}

/// A request's images, in order, and what it holds.
#[derive(Debug)]
pub struct Images {
    images: Vec<NamedImage>,
    admission: Admission,
}

/// What a body holds: images, and parameters as name and value.
struct Read {
    images: Vec<NamedImage>,
    parameters: Vec<(String, String)>,
}

impl Images {
    /// Reads the images from `body`, which is of `kind`, and the parameters beside them, which must be among `allowed`.
    ///
    /// # Errors
    /// Whatever keeps the body from being one image or more, within the server's bounds.
    pub async fn read(
        intake: &Intake,
        kind: Kind,
        headers: &HeaderMap,
        body: Body,
        admission: Admission,
        allowed: &'static [Parameter],
    ) -> Result<(Self, Vec<(String, String)>), ApiError> {
        body::admit(headers, intake.max_body_bytes, &admission)?;
        let declared = body::declared_length(headers);
        let mut chunks = body::metered(intake.chunks(body), intake.max_body_bytes, admission.clone());
        let read = match kind {
            Kind::Raw => {
                let image = NamedImage::new(None, body::collect(chunks, declared).await?);
                Read { images: vec![image], parameters: Vec::new() }
            }
            Kind::Json => {
                let bytes = body::collect(chunks, declared).await?;
                json::read(bytes, intake, allowed, &admission).await?
            }
            Kind::Multipart => multipart::read(headers, chunks, intake, allowed).await?,
            Kind::Urlencoded => {
                return Err(urlencoded(&chunks.try_next().await?.unwrap_or_default()));
            }
        };
        let Read { images, parameters } = read;
        check_number(&images, intake)?;
        Ok((Self { images, admission }, parameters))
    }

    /// What each image is called in the answer: the name given, else the position from 0.
    pub fn captions(&self) -> Vec<Caption> {
        let caption = |(position, image): (usize, &NamedImage)| Caption {
            name: image.name.clone().unwrap_or_else(|| position.to_string()),
            sent: image.bytes.clone(),
            fault: image.fault.clone(),
        };
        self.images.iter().enumerate().map(caption).collect()
    }

    /// The names that were given; others are positions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.images.iter().filter_map(|image| image.name.as_deref())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// The engine's form of them, and what the request holds.
    pub fn into_parts(self) -> (Vec<inference::Image>, Admission) {
        let images = self.images.into_iter().map(|image| inference::Image::Encoded(image.bytes)).collect();
        (images, self.admission)
    }
}

impl Caption {
    /// That of an image that shows nothing unusual.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), sent: Bytes::new(), fault: None }
    }

    /// The name.
    pub fn into_name(self) -> String {
        self.name
    }

    /// That the image cannot be used, with what may have happened to it.
    pub fn problem(self, error: &ImageError) -> ImageProblem {
        if let Some(detail) = self.fault {
            return ImageProblem { image: self.name, code: "invalid_base64", detail };
        }
        let mut problem = ImageProblem::new(self.name, error);
        if let ImageError::NotAnImage | ImageError::Broken { .. } = error
            && let Some(mangled) = mangled::mangled(&self.sent)
        {
            problem.detail = format!("{}; {mangled}", problem.detail);
        }
        problem
    }
}

impl AsRef<str> for Caption {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// How a body carries images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One, as it is.
    Raw,
    /// In base64, with parameters beside it.
    Json,
    /// As files of a form, with parameters beside them.
    Multipart,
    /// Not at all: curl says so unasked.
    Urlencoded,
}

impl Kind {
    /// As the content type of `body` says.
    ///
    /// # Errors
    /// A type that carries no images, none at all.
    pub fn of(headers: &HeaderMap, body: &Body) -> Result<Self, ApiError> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            if body.is_end_stream() {
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
            "application/x-www-form-urlencoded" => Ok(Self::Urlencoded),
            other if other.starts_with("image/") => Ok(Self::Raw),
            other => Err(unsupported(&format!("`{}` carries no image", excerpt(other)))),
        }
    }

    /// Where its parameters stand besides path and query; nowhere in one that has none.
    pub fn place(self) -> Option<Place> {
        match self {
            Self::Raw | Self::Urlencoded => None,
            Self::Json => Some(Place::Json),
            Self::Multipart => Some(Place::Form),
        }
    }
}

/// The refusal of a body that begins with `start`: what curl's `-d` and `--data-binary` send unless they are told a type.
fn urlencoded(start: &[u8]) -> ApiError {
    let found = match start {
        [0xff, 0xd8, 0xff, ..] => "; what it holds begins as a JPEG",
        [0x89, b'P', b'N', b'G', ..] => "; what it holds begins as a PNG",
        [b'{', ..] => {
            let json = "`application/x-www-form-urlencoded` carries no image; what it holds begins as JSON: add \
                        `-H 'Content-Type: application/json'`";
            return unsupported(json);
        }
        _ => "",
    };
    unsupported(&format!(
        "`application/x-www-form-urlencoded` carries no image{found}; with curl use `--data-binary @photo.jpg` (`-d` drops line breaks) \
         and add `-H 'Content-Type: image/jpeg'`, or `-F image=@photo.jpg`"
    ))
}

fn unsupported(what: &str) -> ApiError {
    ApiError::UnsupportedMediaType(format!(
        "{what}; send `image/*` or `application/octet-stream` (one image), `multipart/form-data` (files) or `application/json` \
         (`{{\"images\":[\"BASE64\"]}}`)"
    ))
}

fn check_number(images: &[NamedImage], intake: &Intake) -> Result<(), ApiError> {
    if images.is_empty() {
        return Err(ApiError::NoImages("send at least one"));
    }
    if images.len() > intake.max_images {
        return Err(ApiError::TooManyImages { limit: intake.max_images });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
