//! The body of `POST /jobs/KIND` of a kind that takes a file: the file itself with the request in the query, or a form with both.
//!
//! Streams to where the kind keeps its files; knows no kind by name.

use axum::{
    body::Body,
    http::{HeaderMap, Uri, header},
};
use futures_util::TryStreamExt;
use serde_json::{Map, Value};

use crate::{
    http::{
        body,
        error::ApiError,
        form::Form,
        header_parameters::HeaderParameters,
        query::{Place, Query},
        state::State,
    },
    inference::Admission,
    jobs::{Attachment, Files, Receiving},
    message::excerpt,
};

/// Most parts of a form, the file and empty fields included.
const MAX_PARTS: usize = 64;

/// Most bytes of a field that is no file: settings and labels.
const MAX_FIELD_BYTES: usize = 4 << 20;

/// The request and its file.
///
/// # Errors
/// A kind that takes no file as configured, a file that is too large, a field that is not among `fields`.
pub async fn receive(
    state: &State,
    (files, admission): (&Files, &Admission),
    fields: &[&str],
    query: &Query,
    (uri, headers, body): (&Uri, &HeaderMap, Body),
) -> Result<(Value, Attachment), ApiError> {
    let limit = files.max_bytes();
    if limit == 0 {
        let (path, setting) = (uri.path(), files.setting());
        return Err(ApiError::Disabled(format!(
            "`{path}` is off; set `{setting}` to the size of the largest file that it may take, in bytes"
        )));
    }
    if body::declared_length(headers).is_some_and(|declared| declared as u64 > limit.saturating_add(MAX_FIELD_BYTES as u64)) {
        return Err(files.too_large().into());
    }
    let mut request = Map::new();
    for field in fields {
        if let Some(value) = query.one(field)? {
            request.insert((*field).to_owned(), value.into());
        }
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = media_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
    let idle = state.datasets().config().idle_timeout;
    let mut chunks = state.intake().chunks_within(body, idle, "datasets.idle_timeout_ms");
    if is_form {
        let mut reader = Reader { files, admission, fields, form: Form::new(headers, chunks, MAX_PARTS)?, request, around: 0 };
        return reader.read().await;
    }
    let mut receiving = files.receive(admission.client()).await?;
    while let Some(chunk) = chunks.try_next().await? {
        receiving.write(&chunk).await?;
    }
    Ok((Value::Object(request), receiving.finish("file".to_owned()).await?))
}

/// A form that is being read.
struct Reader<'a> {
    files: &'a Files,
    /// Holds the memory of the fields.
    admission: &'a Admission,
    fields: &'a [&'a str],
    form: Form,
    request: Map<String, Value>,
    /// Bytes of the fields that are no file.
    around: usize,
}

impl Reader<'_> {
    async fn read(&mut self) -> Result<(Value, Attachment), ApiError> {
        let mut file: Option<(Receiving, String)> = None;
        while let Some(mut field) = self.form.next_field().await? {
            let disposition = field.headers().get(header::CONTENT_DISPOSITION);
            let disposition = disposition.map(|value| HeaderParameters::of(value.as_bytes()));
            let (name, file_name) = disposition.map_or((None, None), |found| (found.text("name"), found.file_name()));
            let Some(file_name) = file_name else {
                let value = self.text(&mut field).await?;
                self.add(&name.unwrap_or_default(), value)?;
                continue;
            };
            if file.is_some() {
                return Err(ApiError::InvalidParameter("the form has more than one file".to_owned()));
            }
            let (receiving, _) = file.insert((self.files.receive(self.admission.client()).await?, file_name));
            while let Some(chunk) = self.form.chunk(&mut field).await? {
                receiving.write(&chunk).await?;
            }
        }
        let none = || ApiError::MalformedBody("the form has no file; send it as one (`-F file=@model.onnx`)".to_owned());
        let (receiving, name) = file.ok_or_else(none)?;
        Ok((Value::Object(std::mem::take(&mut self.request)), receiving.finish(name).await?))
    }

    async fn text(&mut self, field: &mut multer::Field<'_>) -> Result<String, ApiError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.form.chunk(field).await? {
            self.around += chunk.len();
            if self.around > MAX_FIELD_BYTES {
                let detail = format!("the form's fields have more than {MAX_FIELD_BYTES} bytes besides its file");
                return Err(ApiError::InvalidParameter(detail));
            }
            // As text, and in what is asked for.
            self.admission.take(2 * chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| ApiError::InvalidParameter("a form field is not UTF-8".to_owned()))
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        if !self.fields.contains(&name) {
            return Err(ApiError::InvalidParameter(crate::http::query::unknown(name, self.fields)));
        }
        // Empty fields are those that a page left open.
        if value.is_empty() {
            return Ok(());
        }
        match self.request.insert(name.to_owned(), value.clone().into()) {
            Some(before) if before != value => Err(ApiError::InvalidParameter(format!(
                "`{name}` is `{}` in {} but `{}` before; give it once",
                excerpt(&value),
                Place::Form,
                excerpt(before.as_str().unwrap_or_default())
            ))),
            _ => Ok(()),
        }
    }
}
