//! RFC 9457 problem documents: the body of every answer that is an error.
//!
//! Owns the JSON; which cause has which code is [`super::error`]'s, which code has which status [`super::code`]'s.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{code::Code, error::ApiError, observe, request_id::RequestId, request_log};
use crate::{
    message::{FieldProblem, excerpt},
    preprocess::ImageError,
    telemetry::chain,
};

/// Media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An image that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImageProblem {
    /// The name given, else the position from 0.
    #[schema(example = "holiday.jpg")]
    pub image: String,
    /// What is wrong with it, as a program reads it.
    #[schema(example = "truncated")]
    pub code: &'static str,
    /// What is wrong with it, in words.
    #[schema(example = "the image is truncated")]
    pub detail: String,
}

impl ImageProblem {
    /// `error` of the image called `image`.
    pub fn new(image: String, error: &ImageError) -> Self {
        Self { image, code: error.code(), detail: error.to_string() }
    }

    /// With an excerpt of a long name, as an error has it.
    fn shortened(&self) -> Self {
        Self { image: excerpt(&self.image).to_string(), ..self.clone() }
    }
}

/// A configured model that cannot answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MissingModel {
    /// Its name.
    #[schema(example = "vgg16")]
    pub model: String,
    /// Why it cannot answer.
    #[schema(example = "loading")]
    pub reason: String,
}

/// The body of every error, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` is what tells problems apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The same for every problem of this code.
    #[schema(example = "Unknown layer")]
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What happened this time, and the way out.
    #[schema(example = "unknown layer `fc9` for vgg16; did you mean `fc1`, `fc2`?")]
    pub detail: String,
    /// The path asked for.
    #[schema(example = "/features")]
    pub instance: String,
    /// What went wrong, as a program reads it.
    #[schema(example = "unknown_layer")]
    pub code: Code,
    /// The `X-Request-Id` of this answer; the log has it too.
    #[schema(example = "019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10")]
    pub request_id: String,
    /// Every image that cannot be used; with `bad_images` alone.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: Vec<ImageProblem>,
    /// Every configured model that cannot answer yet; with `not_ready` alone.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub missing: Vec<MissingModel>,
    /// Everything in a request for a job that cannot be done; with `invalid_recipe` alone.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Vec<FieldProblem>,
}

/// As much of a path as a document repeats, in bytes; paths are ASCII.
const MAX_INSTANCE: usize = 120;

impl Problem {
    /// The document for `error`.
    pub fn new(error: &ApiError, request_id: &str, instance: &str) -> Self {
        let code = error.code();
        let (mut errors, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        match error {
            ApiError::BadImages(bad) => errors = bad.iter().map(ImageProblem::shortened).collect(),
            ApiError::NotReady(models) => missing.clone_from(models),
            ApiError::InvalidRecipe(fields) => problems.clone_from(fields),
            _ => {}
        }
        Self {
            kind: "about:blank",
            title: code.title(),
            status: code.status().as_u16(),
            detail: error.detail(),
            instance: instance.get(..MAX_INSTANCE).unwrap_or(instance).to_owned(),
            code,
            request_id: request_id.to_owned(),
            errors,
            missing,
            problems,
        }
    }
}

/// Middleware: writes the body of an answer that is an error.
pub async fn written(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let instance = request.uri().path().to_owned();
    let response = next.run(request).await;
    let id = id.as_ref().and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    complete(response, id, &instance)
}

/// Writes the body of a response that carries an [`ApiError`], and logs a 500 with its causes; others pass through.
fn complete(mut response: Response, request_id: &str, instance: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() else {
        return response;
    };
    let code = error.code();
    // Nobody reads the refusal of a body that was cut off, and nothing was wrong with it.
    if !request_log::client_has_left() {
        observe::count_refusal(code);
        request_log::note(|facts| facts.code = Some(code));
    }
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id, path = instance, error = chain(&*error), "request failed");
    }
    let problem = Problem::new(&error, request_id, instance);
    let body = serde_json::to_vec(&problem).expect("a problem holds only strings and numbers");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    *response.body_mut() = Body::from(body);
    response
}
