//! `multipart/form-data`: parts that are files or images are images, the others are parameters.

use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use multer::Field;

use super::{MAX_NAME, NamedImage, Read};
use crate::{
    http::{
        body::BodyFault,
        error::ApiError,
        form::Form,
        header_parameters::HeaderParameters,
        intake::Intake,
        parameters::Parameter,
        query::{MAX_VALUE, unknown},
    },
    message::excerpt,
    preprocess,
};

/// Parts without a file that are read at all.
const MAX_PARAMETERS: usize = 64;

/// Reads the images and parameters of a form as its chunks arrive.
///
/// # Errors
/// A form that cannot be read, a part that is neither, too many images, the stream's own fault.
pub async fn read(
    headers: &HeaderMap,
    chunks: impl Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
    intake: &Intake,
    allowed: &[Parameter],
) -> Result<Read, ApiError> {
    let mut form = Form::new(headers, chunks, intake.max_images + 2 * MAX_PARAMETERS)?;
    let mut read = Read { images: Vec::new(), parameters: Vec::new() };
    while let Some(field) = form.next_field().await? {
        match part(&form, field, allowed).await? {
            Part::Image(_) if read.images.len() == intake.max_images => {
                return Err(ApiError::TooManyImages { limit: intake.max_images });
            }
            Part::Image(image) => read.images.push(image),
            Part::Parameter(..) if read.parameters.len() == MAX_PARAMETERS => {
                return Err(ApiError::InvalidParameter("the form has more fields than there are parameters".to_owned()));
            }
            Part::Parameter(name, value) => read.parameters.push((name, value)),
            Part::Empty => {}
        }
    }
    Ok(read)
}

/// What a part is.
enum Part {
    Image(NamedImage),
    Parameter(String, String),
    /// A file input or a field that was left empty in a browser's form.
    Empty,
}

async fn part(form: &Form, mut field: Field<'_>, allowed: &[Parameter]) -> Result<Part, ApiError> {
    let disposition = field.headers().get(header::CONTENT_DISPOSITION).map(|value| HeaderParameters::of(value.as_bytes()));
    let (name, file_name) = disposition.map_or((None, None), |found| (found.text("name"), found.file_name()));
    if let Some(file) = &file_name
        && file.len() > MAX_NAME
    {
        let length = file.len();
        return Err(ApiError::InvalidParameter(format!("a file's name has {length} bytes; {MAX_NAME} are the most")));
    }
    if file_name.is_some() || is_binary(field.headers()) {
        let bytes = form.bytes(&mut field).await?;
        let file_name = file_name.filter(|name| !name.is_empty());
        let is_image = file_name.is_some() || !bytes.is_empty();
        return Ok(if is_image { Part::Image(NamedImage::new(file_name, bytes)) } else { Part::Empty });
    }
    let name = name.unwrap_or_default();
    if Parameter::find(allowed, &name).is_some() {
        return parameter(form, &mut field, name).await;
    }
    // Some clients send files without their names.
    let bytes = form.bytes(&mut field).await?;
    if preprocess::is_image(&bytes) {
        return Ok(Part::Image(NamedImage::new(None, bytes)));
    }
    Err(ApiError::InvalidParameter(format!(
        "form field `{}` has no file name and holds no image; send images as files (`-F image=@photo.jpg`); as a parameter it is an {}",
        excerpt(&name),
        unknown(&name, &Parameter::names(allowed))
    )))
}

/// Whether a part says that it is no text.
fn is_binary(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("image/") || media_type == "application/octet-stream"
}

async fn parameter(form: &Form, field: &mut Field<'_>, name: String) -> Result<Part, ApiError> {
    let mut value = BytesMut::new();
    while let Some(chunk) = form.chunk(field).await? {
        if value.len() + chunk.len() > MAX_VALUE {
            return Err(ApiError::InvalidParameter(format!("`{name}` in the form has more than {MAX_VALUE} bytes")));
        }
        value.extend_from_slice(&chunk);
    }
    match std::str::from_utf8(&value) {
        Ok("") => Ok(Part::Empty),
        Ok(value) => Ok(Part::Parameter(name, value.to_owned())),
        Err(_) => Err(ApiError::InvalidParameter(format!("`{name}` in the form is not UTF-8"))),
    }
}
