//! RFC 9457 problem documents: the body of every answer that is an error.
//!
//! Owns the closed list of codes and the JSON; which cause has which code is [`super::error`]'s.

use std::{error::Error, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use crate::preprocess::ImageError;

/// Media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, as a program reads it; clients may rely on this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 404: no such route.
    NotFound,
    /// 405: the route exists, for other methods.
    MethodNotAllowed,
    /// 404: no model of that name; the detail names near ones.
    UnknownModel,
    /// 404: the model has no such version.
    UnknownVersion,
    /// 422: the model has no such layer; the detail names near ones.
    UnknownLayer,
    /// 422: a parameter is unknown, given twice, out of range or contradicts another.
    InvalidParameter,
    /// 422: classes asked of a model without a top.
    NoClasses,
    /// 400: the JSON or multipart body cannot be read, or ended early.
    MalformedBody,
    /// 415: the body's type carries no images.
    UnsupportedMediaType,
    /// 406: no representation that `Accept` allows.
    NotAcceptable,
    /// 413: more bytes than `server.max_body_bytes`.
    BodyTooLarge,
    /// 413: more images than `server.max_images`.
    TooManyImages,
    /// 413: more pixels, over all images, than `server.max_request_pixels`.
    TooManyPixels,
    /// 422: not a single image.
    NoImages,
    /// 422: images that cannot be used; `errors` names each.
    BadImages,
    /// 422: a value is NaN or infinite, or does not fit float16.
    NotFinite,
    /// 422: the answer would be larger than `server.max_response_bytes`.
    ResponseTooLarge,
    /// 403: untrained weights, which this configuration does not serve.
    UntrainedModel,
    /// 408: the body did not arrive in time.
    BodyTimeout,
    /// 503: the model's queue is full; see `Retry-After`.
    QueueFull,
    /// 503: too many request bytes are buffered; see `Retry-After`.
    Busy,
    /// 503: no answer in time.
    Timeout,
    /// 503: the model does not fit `models.max_loaded_bytes`.
    ModelTooLarge,
    /// 503: the server is going down.
    ShuttingDown,
    /// 503: configured models are not loaded and warm; `missing` names each.
    NotReady,
    /// 500: a defect or a failing machine; the log has the cause under `request_id`.
    Internal,
}

impl Code {
    /// A short human-readable summary, the same for every occurrence.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::UnknownModel => "Unknown model",
            Self::UnknownVersion => "Unknown version",
            Self::UnknownLayer => "Unknown layer",
            Self::InvalidParameter => "Invalid parameter",
            Self::NoClasses => "The model has no classes",
            Self::MalformedBody => "Malformed body",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::NotAcceptable => "Not acceptable",
            Self::BodyTooLarge => "Body too large",
            Self::TooManyImages => "Too many images",
            Self::TooManyPixels => "Too many pixels",
            Self::NoImages => "No images",
            Self::BadImages => "Images that cannot be used",
            Self::NotFinite => "Values that are not finite",
            Self::ResponseTooLarge => "The answer would be too large",
            Self::UntrainedModel => "Untrained model",
            Self::BodyTimeout => "The body took too long",
            Self::QueueFull => "Queue full",
            Self::Busy => "Busy",
            Self::Timeout => "The answer took too long",
            Self::ModelTooLarge => "The model is too large to load",
            Self::ShuttingDown => "Shutting down",
            Self::NotReady => "Not ready",
            Self::Internal => "Internal error",
        }
    }
}

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
}

impl Problem {
    /// The document for `error`.
    pub fn new(error: &ApiError, request_id: &str, instance: &str) -> Self {
        let (status, code) = error.classify();
        let (errors, missing) = match error {
            ApiError::BadImages(errors) => (errors.clone(), Vec::new()),
            ApiError::NotReady(missing) => (Vec::new(), missing.clone()),
            _ => (Vec::new(), Vec::new()),
        };
        Self {
            kind: "about:blank",
            title: code.title(),
            status: status.as_u16(),
            detail: error.detail(),
            instance: instance.to_owned(),
            code,
            request_id: request_id.to_owned(),
            errors,
            missing,
        }
    }
}

/// Writes the body of a response that carries an [`ApiError`], and logs a 500 with its causes; others pass through.
pub fn complete(mut response: Response, request_id: &str, instance: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() else {
        return response;
    };
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id, path = instance, error = chain(&error), "request failed");
    }
    let problem = Problem::new(&error, request_id, instance);
    let body = serde_json::to_vec(&problem).expect("a problem holds only strings and numbers");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    *response.body_mut() = Body::from(body);
    response
}

fn chain(error: &ApiError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
