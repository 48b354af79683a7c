//! `multipart/form-data`: one file, streamed to the store as it arrives, and the parameters as fields before or behind it.
//!
//! Nothing of the form is in memory longer than a chunk; what lies between two files or chunks is bounded.

use axum::{
    body::Body,
    http::{header, request::Parts},
};
use multer::Field;

use super::{DatasetsQuery, Said, start};
use crate::{
    datasets::{Dataset, Error, ReadAs, Upload},
    http::{
        body,
        error::ApiError,
        form::Form,
        header_parameters::HeaderParameters,
        parameters::{Parameter, Parameters},
        query::Place,
        state::State,
    },
    inference::Admission,
    message::{excerpt, quoted},
};

/// What a form may have around its file, in bytes.
const MAX_AROUND_BYTES: u64 = 1 << 20;

/// Most parts, the file and empty fields included.
const MAX_PARTS: usize = 64;

/// Most bytes of a field that is no file.
const MAX_FIELD_BYTES: usize = 256;

/// Takes in the archive that is the form's file.
///
/// # Errors
/// A form that cannot be read, no file in it or several; as for an archive that is the body itself.
pub async fn archive(state: &State, said: Said, parts: &Parts, body: Body, admission: Admission) -> Result<Dataset, ApiError> {
    let headers = &parts.headers;
    let limit = state.datasets().config().max_upload_bytes;
    if body::declared_length(headers).is_some_and(|declared| declared as u64 > limit.saturating_add(MAX_AROUND_BYTES)) {
        return Err(Error::UploadTooLarge { limit }.into());
    }
    let idle = state.datasets().config().idle_timeout;
    let chunks = state.intake().chunks_within(body, idle, "datasets.idle_timeout_ms");
    let mut reader = Reader { state, said, parts, form: Form::new(headers, chunks, MAX_PARTS)? };
    let (upload, read_as) = reader.read().await?;
    Ok(upload.finish(read_as, admission).await?)
}

/// A form that is being read.
struct Reader<'a> {
    state: &'a State,
    said: Said,
    parts: &'a Parts,
    form: Form,
}

impl Reader<'_> {
    async fn read(&mut self) -> Result<(Upload, ReadAs), ApiError> {
        let mut upload = None;
        loop {
            let Some(mut field) = self.form.next_field().await? else { break };
            let (name, file_name) = names(&field);
            if file_name.is_none() {
                let name = name.unwrap_or_default();
                let value = text(&self.form, &mut field, &name).await?;
                if Parameter::find(DatasetsQuery::declared(), &name).is_none() {
                    return Err(neither(&name));
                }
                self.said.add(Place::Form, &name, value)?;
                self.said.read_as()?;
                continue;
            }
            if upload.is_some() {
                return Err(ApiError::InvalidParameter("the form has more than one file; a data set is one archive".to_owned()));
            }
            let target = upload.insert(start(self.state, self.parts, None).await?);
            while let Some(chunk) = self.form.chunk(&mut field).await? {
                target.write(&chunk).await?;
            }
        }
        let none = "the form has no file; send the archive as one (`-F file=@photos.zip`)";
        Ok((upload.ok_or_else(|| ApiError::MalformedBody(none.to_owned()))?, self.said.read_as()?))
    }
}

/// What a part is called, and its file.
fn names(field: &Field<'_>) -> (Option<String>, Option<String>) {
    let disposition = field.headers().get(header::CONTENT_DISPOSITION).map(|value| HeaderParameters::of(value.as_bytes()));
    disposition.map_or((None, None), |found| (found.text("name"), found.file_name()))
}

/// That a field is neither a file nor a parameter.
fn neither(name: &str) -> ApiError {
    ApiError::InvalidParameter(format!(
        "form field `{}` is neither a file nor {}; send the archive as a file (`-F file=@photos.zip`)",
        excerpt(name),
        quoted(&Parameter::names(DatasetsQuery::declared()), " or ")
    ))
}

/// A field that is no file.
async fn text(form: &Form, field: &mut Field<'_>, name: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = form.chunk(field).await? {
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
