//! The HTTP boundary's errors: the only place that gives a cause its status and code.
//!
//! Every match here is exhaustive, so that a new cause below `http` does not compile until it has a status.
//! [`ApiError`] says what went wrong; [`super::problem`] writes it as RFC 9457 `application/problem+json`.

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    code::Code,
    problem::{ImageProblem, MissingModel},
};
use crate::{
    datasets::{self, ContentsFault, Error as DatasetError, Excess, FolderFault},
    inference::{self, Error as EngineError},
};

/// Why a request is not answered; its message is the problem's `detail`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("there is nothing at `{path}`; `/docs` lists the routes")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// The route exists, for other methods.
    #[error("`{method}` is not allowed at `{path}`; the `Allow` header names what is")]
    MethodNotAllowed {
        /// The method used.
        method: String,
        /// The path asked for.
        path: String,
    },
    /// A path or query parameter, or a form field, that cannot be used.
    #[error("{0}")]
    InvalidParameter(String),
    /// A body that is not what its content type says.
    #[error("{0}")]
    MalformedBody(String),
    /// A body of a type that carries no images.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// No representation that the client accepts.
    #[error("{0}")]
    NotAcceptable(String),
    /// More bytes than `server.max_body_bytes`.
    #[error("the body is larger than {limit} bytes (`server.max_body_bytes`); send fewer or smaller images per request")]
    BodyTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// More images than `server.max_images`.
    #[error("the request holds more than {limit} images (`server.max_images`); split it")]
    TooManyImages {
        /// The bound.
        limit: usize,
    },
    /// More pixels than `server.max_request_pixels`, over all images.
    #[error("the images have {pixels} pixels together, more than {limit} (`server.max_request_pixels`); split the request")]
    TooManyPixels {
        /// Sum over the images' headers.
        pixels: u64,
        /// The bound.
        limit: u64,
    },
    /// A request without a single image.
    #[error("the request holds no image; {0}")]
    NoImages(&'static str),
    /// Images that cannot be used.
    #[error("{} cannot be used; `errors` names each", if .0.len() == 1 { "an image".to_owned() } else { format!("{} images", .0.len()) })]
    BadImages(Vec<ImageProblem>),
    /// The answer would be larger than `server.max_response_bytes`.
    #[error("{0}")]
    ResponseTooLarge(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {ms} ms (`server.body_timeout_ms`)")]
    BodyTimeout {
        /// The bound in milliseconds.
        ms: u128,
    },
    /// The client fell silent in the middle of an upload.
    #[error("no byte of the body arrived for {ms} ms (`datasets.idle_timeout_ms`)")]
    BodySilent {
        /// The bound in milliseconds.
        ms: u128,
    },
    /// The client stopped sending.
    #[error("the body ended early")]
    BodyInterrupted,
    /// Too many bytes of other requests and their answers are in memory.
    #[error("graft is holding as many bytes of requests and answers as it may (`server.max_buffered_bytes`); try again shortly")]
    Busy,
    /// No answer within `server.request_timeout_ms`.
    #[error("no answer within {ms} ms (`server.request_timeout_ms`); send fewer images or try again")]
    Timeout {
        /// The bound in milliseconds.
        ms: u128,
    },
    /// Configured models are not loaded and warm.
    #[error("{} of the configured models cannot answer yet; `missing` names each", .0.len())]
    NotReady(Vec<MissingModel>),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] inference::Error),
    /// The store of data sets refused or failed.
    #[error(transparent)]
    Dataset(#[from] datasets::Error),
    /// A defect or a failing machine; only the log says more.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A panic in a handler, as an error.
#[derive(Debug, thiserror::Error)]
#[error("panic: {0}")]
pub struct Panicked(pub String);

impl ApiError {
    /// An opaque 500 whose cause goes to the log.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// The engine's error, with images called by `names` instead of positions.
    pub fn from_engine(error: EngineError, names: &[String]) -> Self {
        match error {
            EngineError::BadImages(bad) => Self::BadImages(
                bad.into_iter()
                    .map(|(position, error)| {
                        let image = names.get(position).cloned().unwrap_or_else(|| position.to_string());
                        ImageProblem::new(image, &error)
                    })
                    .collect(),
            ),
            other => Self::Engine(other),
        }
    }

    /// The code, and with it the status.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound { .. } => Code::NotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::InvalidParameter(_) => Code::InvalidParameter,
            Self::MalformedBody(_) | Self::BodyInterrupted => Code::MalformedBody,
            Self::UnsupportedMediaType(_) => Code::UnsupportedMediaType,
            Self::NotAcceptable(_) => Code::NotAcceptable,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::TooManyImages { .. } => Code::TooManyImages,
            Self::TooManyPixels { .. } => Code::TooManyPixels,
            Self::NoImages(_) => Code::NoImages,
            Self::BadImages(_) => Code::BadImages,
            Self::ResponseTooLarge(_) => Code::ResponseTooLarge,
            Self::BodyTimeout { .. } | Self::BodySilent { .. } => Code::BodyTimeout,
            Self::Busy => Code::Busy,
            Self::Timeout { .. } => Code::Timeout,
            Self::NotReady(_) => Code::NotReady,
            Self::Engine(error) => engine_code(error),
            Self::Dataset(error) => dataset_code(error),
            Self::Internal(_) => Code::Internal,
        }
    }

    /// What the client is told; for a 500 nothing of the cause.
    pub fn detail(&self) -> String {
        match self.code() {
            Code::Internal => "graft failed to answer; its log tells why under this request id".to_owned(),
            _ => self.to_string(),
        }
    }
}

fn engine_code(error: &EngineError) -> Code {
    match error {
        EngineError::UnknownModel { .. } => Code::UnknownModel,
        EngineError::UnknownVersion { .. } => Code::UnknownVersion,
        EngineError::UnknownLayer { .. } => Code::UnknownLayer,
        EngineError::TopK { .. } => Code::InvalidParameter,
        EngineError::NoClasses { .. } => Code::NoClasses,
        EngineError::BadImages(_) => Code::BadImages,
        EngineError::NotFinite { .. } => Code::NotFinite,
        EngineError::Untrained { .. } => Code::UntrainedModel,
        EngineError::QueueFull { .. } => Code::QueueFull,
        EngineError::TooLargeToLoad { .. } => Code::ModelTooLarge,
        EngineError::ShuttingDown => Code::ShuttingDown,
        EngineError::Shared(error) => engine_code(error),
        EngineError::Registry(_)
        | EngineError::Graph { .. }
        | EngineError::Runtime { .. }
        | EngineError::Thread { .. }
        | EngineError::WorkerGone { .. } => Code::Internal,
    }
}

fn dataset_code(error: &DatasetError) -> Code {
    match error {
        DatasetError::Unknown { .. } => Code::UnknownDataset,
        DatasetError::InUse { .. } => Code::DatasetInUse,
        DatasetError::TooManyUploads { .. } => Code::Busy,
        DatasetError::UploadTooLarge { .. } => Code::BodyTooLarge,
        DatasetError::TooLarge(Excess::Bytes { .. } | Excess::Entries { .. } | Excess::Ratio { .. }) => Code::ArchiveTooLarge,
        DatasetError::QuotaExceeded { .. } | DatasetError::DiskFull(_) => Code::StorageFull,
        DatasetError::Broken { .. } | DatasetError::Entry { .. } => Code::BadArchive,
        DatasetError::Contents(ContentsFault::TooFewClasses(_) | ContentsFault::TooFewImages { .. }) => Code::BadDataset,
        DatasetError::NoRoot | DatasetError::Folder { fault: FolderFault::Outside, .. } => Code::FolderRefused,
        DatasetError::Folder { fault: FolderFault::NotAFolder | FolderFault::Unreadable(_), .. } => Code::BadDataset,
        // Its reader has left.
        DatasetError::Cancelled => Code::MalformedBody,
        DatasetError::Corrupt { .. } | DatasetError::Io { .. } | DatasetError::CutShort(_) => Code::Internal,
    }
}

/// Carries the error to [`super::problem::complete`], which knows the request id and writes the body.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code();
        let mut response = code.status().into_response();
        if code.is_temporary() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::{
        datasets::{ArchiveKind, EntryFault},
        preprocess::ImageError,
        runtime,
    };

    fn engine_errors() -> Vec<(EngineError, u16, Code)> {
        let model = || "vgg16".to_owned();
        let io = || std::io::Error::other("disk");
        let runtime_error = || runtime::Error::LibraryNotFound { searched: Vec::new() };
        let shape_error = crate::tensor::Tensor::new(vec![1], Vec::new()).expect_err("one element is missing");
        vec![
            (EngineError::UnknownModel { name: model(), nearest: Vec::new(), known: Vec::new() }, 404, Code::UnknownModel),
            (EngineError::UnknownVersion { name: model(), version: 9, available: vec![1] }, 404, Code::UnknownVersion),
            (EngineError::UnknownLayer { layer: "fc9".to_owned(), model: model(), nearest: Vec::new() }, 422, Code::UnknownLayer),
            (EngineError::TopK { top_k: 0, model: model(), classes: 1 }, 422, Code::InvalidParameter),
            (EngineError::NoClasses { model: model() }, 422, Code::NoClasses),
            (EngineError::BadImages(vec![(0, ImageError::Empty)]), 422, Code::BadImages),
            (EngineError::NotFinite { layer: "fc2".to_owned(), image: 0, float16: true }, 422, Code::NotFinite),
            (EngineError::Untrained { model: model() }, 403, Code::UntrainedModel),
            (EngineError::QueueFull { model: model(), capacity: 1 }, 503, Code::QueueFull),
            (EngineError::TooLargeToLoad { model: model(), bytes: 2, bound: 1 }, 503, Code::ModelTooLarge),
            (EngineError::ShuttingDown, 503, Code::ShuttingDown),
            (EngineError::Shared(Arc::new(EngineError::ShuttingDown)), 503, Code::ShuttingDown),
            (EngineError::Runtime { model: model(), source: Arc::new(runtime_error()) }, 500, Code::Internal),
            (EngineError::Runtime { model: model(), source: Arc::new(runtime::Error::Shape(shape_error)) }, 500, Code::Internal),
            (EngineError::Thread { model: model(), source: io() }, 500, Code::Internal),
            (EngineError::WorkerGone { model: model() }, 500, Code::Internal),
        ]
    }

    fn dataset_errors() -> Vec<(DatasetError, u16, Code)> {
        let text = || "x".to_owned();
        let io = || std::io::Error::other("disk");
        let folder = |fault| DatasetError::Folder { path: text(), fault };
        vec![
            (DatasetError::Unknown { id: text() }, 404, Code::UnknownDataset),
            (DatasetError::InUse { id: text(), job: text() }, 409, Code::DatasetInUse),
            (DatasetError::TooManyUploads { limit: 1 }, 503, Code::Busy),
            (DatasetError::UploadTooLarge { limit: 1 }, 413, Code::BodyTooLarge),
            (DatasetError::TooLarge(Excess::Bytes { limit: 1 }), 413, Code::ArchiveTooLarge),
            (DatasetError::TooLarge(Excess::Entries { limit: 1 }), 413, Code::ArchiveTooLarge),
            (DatasetError::TooLarge(Excess::Ratio { limit: 1 }), 413, Code::ArchiveTooLarge),
            (DatasetError::QuotaExceeded { limit: 1 }, 507, Code::StorageFull),
            (DatasetError::DiskFull(io()), 507, Code::StorageFull),
            (DatasetError::Broken { kind: ArchiveKind::Zip, source: io() }, 422, Code::BadArchive),
            (DatasetError::Entry { path: text(), fault: EntryFault::Link }, 422, Code::BadArchive),
            (DatasetError::Contents(ContentsFault::TooFewClasses(Vec::new())), 422, Code::BadDataset),
            (DatasetError::Contents(ContentsFault::TooFewImages { name: text(), usable: 1, skipped: 0 }), 422, Code::BadDataset),
            (DatasetError::NoRoot, 403, Code::FolderRefused),
            (folder(FolderFault::Outside), 403, Code::FolderRefused),
            (folder(FolderFault::NotAFolder), 422, Code::BadDataset),
            (folder(FolderFault::Unreadable(io())), 422, Code::BadDataset),
            (DatasetError::Cancelled, 400, Code::MalformedBody),
            (DatasetError::Corrupt { path: text().into(), detail: text() }, 500, Code::Internal),
            (DatasetError::Io { action: "read", path: text().into(), source: io() }, 500, Code::Internal),
        ]
    }

    fn own_errors() -> Vec<(ApiError, u16, Code)> {
        let text = || "x".to_owned();
        vec![
            (ApiError::NotFound { path: text() }, 404, Code::NotFound),
            (ApiError::MethodNotAllowed { method: text(), path: text() }, 405, Code::MethodNotAllowed),
            (ApiError::InvalidParameter(text()), 422, Code::InvalidParameter),
            (ApiError::MalformedBody(text()), 400, Code::MalformedBody),
            (ApiError::UnsupportedMediaType(text()), 415, Code::UnsupportedMediaType),
            (ApiError::NotAcceptable(text()), 406, Code::NotAcceptable),
            (ApiError::BodyTooLarge { limit: 1 }, 413, Code::BodyTooLarge),
            (ApiError::TooManyImages { limit: 1 }, 413, Code::TooManyImages),
            (ApiError::TooManyPixels { pixels: 2, limit: 1 }, 413, Code::TooManyPixels),
            (ApiError::NoImages("x"), 422, Code::NoImages),
            (ApiError::BadImages(Vec::new()), 422, Code::BadImages),
            (ApiError::ResponseTooLarge(text()), 422, Code::ResponseTooLarge),
            (ApiError::BodyTimeout { ms: 1 }, 408, Code::BodyTimeout),
            (ApiError::BodySilent { ms: 1 }, 408, Code::BodyTimeout),
            (ApiError::BodyInterrupted, 400, Code::MalformedBody),
            (ApiError::Busy, 503, Code::Busy),
            (ApiError::Timeout { ms: 1 }, 503, Code::Timeout),
            (ApiError::NotReady(Vec::new()), 503, Code::NotReady),
            (ApiError::internal("secret"), 500, Code::Internal),
        ]
    }

    #[test]
    fn every_cause_has_its_status() {
        let engine = engine_errors().into_iter().map(|(error, status, code)| (ApiError::from_engine(error, &[]), status, code));
        let dataset = dataset_errors().into_iter().map(|(error, status, code)| (ApiError::from(error), status, code));
        let mut seen = Vec::new();
        for (error, status, code) in own_errors().into_iter().chain(engine).chain(dataset) {
            assert_eq!((error.code(), error.code().status().as_u16()), (code, status), "{error:?}");
            let response = error.into_response();
            assert_eq!(response.status().as_u16(), status);
            let waits = status == 503 && code != Code::ModelTooLarge;
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), waits, "{code:?}");
            seen.push(code);
        }
        for code in Code::ALL {
            assert!(seen.contains(&code), "no cause has {code:?}");
        }
    }

    #[test]
    fn only_internal_errors_are_opaque() {
        for (error, ..) in own_errors() {
            let opaque = !error.detail().contains(&error.to_string());
            assert_eq!(opaque, error.code().status() == StatusCode::INTERNAL_SERVER_ERROR, "{error:?}");
        }
        let error = ApiError::internal("secret");
        assert!(!error.detail().contains("secret"));
    }

    #[test]
    fn bad_images_are_called_by_name() {
        let bad = EngineError::BadImages(vec![(0, ImageError::Empty), (1, ImageError::Empty)]);
        let ApiError::BadImages(problems) = ApiError::from_engine(bad, &["a.jpg".to_owned(), "1".to_owned()]) else {
            panic!("bad images stay bad images");
        };
        assert_eq!(problems.iter().map(|problem| problem.image.as_str()).collect::<Vec<_>>(), ["a.jpg", "1"]);
        assert_eq!(problems[0].code, "empty");
    }
}
