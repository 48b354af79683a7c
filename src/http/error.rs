//! The HTTP boundary's errors: the only place that gives a cause its status and code.
//!
//! Every match here is exhaustive, so that a new cause below `http` does not compile until it has a status.
//! [`ApiError`] says what went wrong; [`super::problem`] writes it as RFC 9457 `application/problem+json`.

mod codes;

use std::sync::Arc;

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    access::{challenge, limits_of},
    code::Code,
    encoding,
    images::Caption,
    problem::{ImageProblem, MissingModel},
};
use crate::{
    access::Refused,
    datasets,
    inference::{self, Error as EngineError},
    jobs::{Error as JobsError, PlanError},
    message::{FieldProblem, Folders, excerpt},
    service::Error as ServiceError,
};

/// Why a request is not answered; its message is the problem's `detail`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No such route.
    #[error("there is nothing at `{}`; `/docs` lists the routes", excerpt(.path))]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// The route exists, for other methods.
    #[error("`{}` is not allowed at `{}`; {}", excerpt(.method), excerpt(.path), way_out(.path))]
    MethodNotAllowed {
        /// The method used.
        method: String,
        /// The path asked for.
        path: String,
    },
    /// A request without TLS, where TLS is configured.
    #[error("this port takes HTTPS alone (`server.tls_certificate`); ask `https://` instead of `http://`")]
    TlsRequired,
    /// A request that names its host not at all, twice, or as none can be called.
    #[error("the host of the request {0}; it is named once, in `Host`")]
    InvalidHost(&'static str),
    /// A request for another server, by its name.
    #[error("this server is not known as `{}`; ask for it by `localhost`, or add that name or address to `server.hosts` (`GRAFT__SERVER__HOSTS`; for docker compose `GRAFT_HOSTS`)", excerpt(.host))]
    UnknownHost {
        /// The name without its port.
        host: String,
    },
    /// A request that may change something, from a page elsewhere.
    #[error("a page of {} may change nothing here; an origin that may is listed in `server.cors_origins`", .origin.as_ref().map_or_else(|| "another origin".to_owned(), |origin| format!("`{}`", excerpt(origin))))]
    ForeignOrigin {
        /// Where the page is from, if the browser says so.
        origin: Option<String>,
    },
    /// A parameter of path, query or body, or a form field, that cannot be used.
    #[error("{0}")]
    InvalidParameter(String),
    /// A body that is not what its content type says.
    #[error("{0}")]
    MalformedBody(String),
    /// A body of a type that carries no images.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A body in an encoding that is not decoded.
    #[error("{0}")]
    UnsupportedEncoding(String),
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
    /// A request without a single image.
    #[error("the request holds no image; {0}")]
    NoImages(&'static str),
    /// Images that cannot be used.
    #[error("{} cannot be used; `errors` names each", if .0.len() == 1 { "an image".to_owned() } else { format!("{} images", .0.len()) })]
    BadImages(Vec<ImageProblem>),
    /// The answer would be larger than `server.max_response_bytes`.
    #[error("{0}")]
    ResponseTooLarge(String),
    /// The client fell silent in the middle of a body.
    #[error("no byte of the body arrived for {ms} ms (`{setting}`)")]
    BodySilent {
        /// The bound in milliseconds.
        ms: u128,
        /// Where it is configured.
        setting: &'static str,
    },
    /// The client sends a trickle.
    #[error("the body arrives more slowly than {bytes_per_second} bytes per second (`server.min_body_bytes_per_second`)")]
    BodyTooSlow {
        /// The bound.
        bytes_per_second: u64,
    },
    /// The client stopped sending.
    #[error("the body ended early")]
    BodyInterrupted,
    /// Too many bytes of other requests and their answers are in memory.
    #[error(
        "graft is holding as many bytes of requests and answers as it may{}; try again shortly",
        if *.of_client { " of one client (`server.max_client_percent`)" } else { " (`server.max_buffered_bytes`)" }
    )]
    Busy {
        /// Whether it is the client's share that is used up.
        of_client: bool,
    },
    /// Configured models are not loaded and warm.
    #[error("{} of the configured models cannot answer yet; `missing` names each", .0.len())]
    NotReady(Vec<MissingModel>),
    /// A JSON body that is larger than any that means something.
    #[error("the JSON body is larger than {limit} bytes")]
    JsonTooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// JSON that takes more memory to read than one client may ever have.
    #[error(
        "reading the JSON takes {needed} bytes of memory, and one client may have {limit} (`server.max_buffered_bytes`, \
         `server.max_client_percent`); send fewer images per request, base64 without escapes such as `\\/`, or \
         `multipart/form-data`"
    )]
    JsonNeverFits {
        /// Bytes of the body and of what is made of it.
        needed: u64,
        /// What one client may have while it is alone.
        limit: u64,
    },
    /// A job that cannot be done as asked.
    #[error("the request has {}; `problems` names each", if .0.len() == 1 { "a problem".to_owned() } else { format!("{} problems", .0.len()) })]
    InvalidRecipe(Vec<FieldProblem>),
    /// What the configuration does not allow.
    #[error("{0}")]
    Disabled(String),
    /// The service refused.
    #[error(transparent)]
    Service(ServiceError),
    /// Whoever asks is not let in, or not with as much.
    #[error(transparent)]
    Access(#[from] Refused),
    /// The job store refused or failed.
    #[error(transparent)]
    Jobs(#[from] JobsError),
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

    /// The engine's error, with images called by `captions` instead of positions.
    pub fn from_engine(error: EngineError, captions: &[Caption]) -> Self {
        match error {
            EngineError::BadImages(bad) => Self::BadImages(
                bad.into_iter()
                    .map(|(position, error)| {
                        let caption = captions.get(position).cloned();
                        caption.unwrap_or_else(|| Caption::new(position.to_string())).problem(&error)
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
            Self::TlsRequired => Code::TlsRequired,
            Self::InvalidHost(_) => Code::InvalidHost,
            Self::UnknownHost { .. } => Code::UnknownHost,
            Self::ForeignOrigin { .. } => Code::ForeignOrigin,
            Self::InvalidParameter(_) => Code::InvalidParameter,
            Self::MalformedBody(_) | Self::BodyInterrupted => Code::MalformedBody,
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding(_) => Code::UnsupportedMediaType,
            Self::NotAcceptable(_) => Code::NotAcceptable,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::TooManyImages { .. } => Code::TooManyImages,
            Self::NoImages(_) => Code::NoImages,
            Self::BadImages(_) => Code::BadImages,
            Self::ResponseTooLarge(_) => Code::ResponseTooLarge,
            Self::BodySilent { .. } | Self::BodyTooSlow { .. } => Code::BodyTimeout,
            Self::Busy { .. } => Code::Busy,
            Self::NotReady(_) => Code::NotReady,
            Self::JsonTooLarge { .. } | Self::JsonNeverFits { .. } => Code::BodyTooLarge,
            Self::InvalidRecipe(_) => Code::InvalidRecipe,
            Self::Disabled(_) => Code::Disabled,
            Self::Service(error) => codes::service_code(error),
            Self::Access(refused) => access_code(refused),
            Self::Jobs(error) => codes::jobs_code(error),
            Self::Engine(error) => codes::engine_code(error),
            Self::Dataset(error) => codes::dataset_code(error),
            Self::Internal(_) => Code::Internal,
        }
    }

    /// After how many seconds the same request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Access(refused) => refused.retry_after(),
            _ => self.code().is_temporary().then_some(1),
        }
    }

    /// What the client is told; for a 500 nothing of the cause.
    pub fn detail(&self) -> String {
        match self.code() {
            Code::Internal => "graft failed to answer; its log says why, under this request id".to_owned(),
            // No path of this machine, whoever made the error; who knows the folders by their settings says so before.
            _ => Folders::default().for_client(|| self.to_string()),
        }
    }
}

/// What is sent to `path` instead of another method, where many try one from a browser.
fn way_out(path: &str) -> &'static str {
    if !path.starts_with('/') {
        return "graft is no proxy; ask it for its own paths (`/docs` lists them)";
    }
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        [.., "predict" | "features"] => "send `POST` with a photo (`curl -F image=@photo.jpg`), or try it at `/docs`",
        ["models", _] => "`DELETE /models/NAME/versions/N` deletes a version, and the model goes with its last",
        ["jobs", _] => "`POST /jobs/finetune` and its like make a job, `POST /jobs/ID/cancel` stops one",
        ["jobs"] => "`POST /jobs/finetune` and its like make a job; `/docs` lists them",
        _ => "the `Allow` header names what is (`curl -i` shows it)",
    }
}

/// Each part's own error where it is one's.
impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Engine(error) => Self::Engine(error),
            ServiceError::Jobs(error) => Self::Jobs(error),
            ServiceError::Datasets(error) => Self::Dataset(error),
            ServiceError::Plan(PlanError::Invalid(problems)) => Self::InvalidRecipe(problems),
            ServiceError::Plan(PlanError::Failed(source)) => Self::Internal(source),
            ServiceError::Memory(exceeded) => exceeded.into(),
            other => Self::Service(other),
        }
    }
}

fn access_code(refused: &Refused) -> Code {
    match refused {
        Refused::Missing | Refused::Malformed(_) | Refused::Unknown | Refused::Expired { .. } | Refused::Lost => {
            Code::Unauthorized
        }
        Refused::Scope { .. } => Code::Forbidden,
        Refused::Images { .. } | Refused::InFlight { .. } | Refused::Guesses { .. } => Code::RateLimited,
        Refused::TooManyImages { .. } => Code::TooManyImages,
        Refused::Unreadable => Code::KeysUnreadable,
    }
}

/// Carries the error to [`super::problem`], which knows the request id and writes the body.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code();
        let mut response = code.status().into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Self::Access(refused) = &self {
            response.headers_mut().extend(challenge(refused).map(|value| (header::WWW_AUTHENTICATE, value)));
            limits_of(response.headers_mut(), refused);
        }
        if matches!(self, Self::UnsupportedEncoding(_)) {
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests;
