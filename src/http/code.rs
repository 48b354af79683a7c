//! The closed list of problem codes: what a client may branch on, each with its one status; and sets of them, for routes.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::message::spelled;

/// Declares the list: codes, each with its status in HTTP, and a short summary for people, the same for every occurrence.
macro_rules! list {
    ($($(#[$about:meta])+ $code:ident => $status:ident, $title:literal;)+) => {
        /// What went wrong, as a program reads it; clients may rely on this list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$about])+ $code,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// The HTTP status of its answers.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => StatusCode::$status,)+
                }
            }

            /// A short summary for people, the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$code => $title,)+
                }
            }
        }
    };
}

list! {
    /// No such route.
    NotFound => NOT_FOUND, "Not found";
    /// The route exists, for other methods.
    MethodNotAllowed => METHOD_NOT_ALLOWED, "Method not allowed";
    /// A request without TLS, where TLS is configured.
    TlsRequired => BAD_REQUEST, "TLS required";
    /// The request names its host not at all, twice, or as none can be called.
    InvalidHost => BAD_REQUEST, "Invalid host";
    /// The server is not known by the name in `Host`; see `server.hosts`.
    UnknownHost => MISDIRECTED_REQUEST, "Unknown host";
    /// A page of an origin that `server.cors_origins` does not list may change nothing.
    ForeignOrigin => FORBIDDEN, "Foreign origin";
    /// No model of that name; the detail names near ones.
    UnknownModel => NOT_FOUND, "Unknown model";
    /// The model has no such version.
    UnknownVersion => NOT_FOUND, "Unknown version";
    /// The model has no such layer; the detail names near ones.
    UnknownLayer => UNPROCESSABLE_ENTITY, "Unknown layer";
    /// A parameter is unknown, given twice, out of range or contradicts another.
    InvalidParameter => UNPROCESSABLE_ENTITY, "Invalid parameter";
    /// Classes asked of a model without a top.
    NoClasses => UNPROCESSABLE_ENTITY, "The model has no classes";
    /// The JSON or multipart body cannot be read, or ended early.
    MalformedBody => BAD_REQUEST, "Malformed body";
    /// The body's type is not one that the route takes, or its `Content-Encoding` is not decoded.
    UnsupportedMediaType => UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// No representation that `Accept` allows.
    NotAcceptable => NOT_ACCEPTABLE, "Not acceptable";
    /// More bytes than `server.max_body_bytes`, `datasets.max_upload_bytes` for archives, or `models.max_import_bytes` for imports.
    BodyTooLarge => PAYLOAD_TOO_LARGE, "Body too large";
    /// More images than `server.max_images`, or than the key may ask at once.
    TooManyImages => PAYLOAD_TOO_LARGE, "Too many images";
    /// More pixels, over all images, than `server.max_request_pixels`.
    TooManyPixels => PAYLOAD_TOO_LARGE, "Too many pixels";
    /// Not a single image.
    NoImages => UNPROCESSABLE_ENTITY, "No images";
    /// Images that cannot be used; `errors` names each.
    BadImages => UNPROCESSABLE_ENTITY, "Images that cannot be used";
    /// A value is NaN or infinite, or does not fit float16.
    NotFinite => UNPROCESSABLE_ENTITY, "Values that are not finite";
    /// The answer would be larger than `server.max_response_bytes`.
    ResponseTooLarge => UNPROCESSABLE_ENTITY, "The answer would be too large";
    /// No data set of that id.
    UnknownDataset => NOT_FOUND, "Unknown data set";
    /// A job uses the data set; the detail names it.
    DatasetInUse => CONFLICT, "Data set in use";
    /// The archive is broken, or holds what is never unpacked.
    BadArchive => UNPROCESSABLE_ENTITY, "Archive that cannot be used";
    /// The data set would be larger than `datasets.max_bytes`, `max_entries`, `max_pixels` or `max_ratio` allow.
    ArchiveTooLarge => PAYLOAD_TOO_LARGE, "Too much in the archive";
    /// Too few classes or images.
    BadDataset => UNPROCESSABLE_ENTITY, "Contents that are not a data set";
    /// The folder of the server may not be read.
    FolderRefused => FORBIDDEN, "Folder refused";
    /// No room for data sets (`datasets.max_store_bytes`), or the disk is full or read-only.
    StorageFull => INSUFFICIENT_STORAGE, "Storage full";
    /// Jobs cannot be kept: their file was removed, is damaged, or cannot be reached.
    JobsUnavailable => SERVICE_UNAVAILABLE, "Jobs cannot be kept";
    /// Untrained weights, which this configuration does not serve.
    UntrainedModel => FORBIDDEN, "Untrained model";
    /// The body's sender fell silent, or sent too slowly.
    BodyTimeout => REQUEST_TIMEOUT, "The body took too long";
    /// The model's queue of images, or the queue of jobs, is full; see `Retry-After`.
    QueueFull => SERVICE_UNAVAILABLE, "Queue full";
    /// Too many request bytes are buffered, or uploads in progress; see `Retry-After`.
    Busy => SERVICE_UNAVAILABLE, "Busy";
    /// No answer in time.
    Timeout => SERVICE_UNAVAILABLE, "The answer took too long";
    /// The model does not fit `models.max_loaded_bytes`.
    ModelTooLarge => SERVICE_UNAVAILABLE, "The model is too large to load";
    /// The server is going down.
    ShuttingDown => SERVICE_UNAVAILABLE, "Shutting down";
    /// Configured models are not loaded and warm; `missing` names each.
    NotReady => SERVICE_UNAVAILABLE, "Not ready";
    /// No job of that id.
    UnknownJob => NOT_FOUND, "Unknown job";
    /// The job has ended.
    JobFinished => CONFLICT, "The job has ended";
    /// The job cannot be done as asked; `problems` names every reason.
    InvalidRecipe => UNPROCESSABLE_ENTITY, "The job cannot be done as asked";
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused => UNPROCESSABLE_ENTITY, "Idempotency key used with another body";
    /// The first request with this `Idempotency-Key` is still being accepted.
    IdempotencyInProgress => CONFLICT, "Still being accepted";
    /// A job or the configuration needs the version, or it was chosen.
    VersionInUse => CONFLICT, "Version in use";
    /// It needs a key that is in force, and has none; see `WWW-Authenticate`.
    Unauthorized => UNAUTHORIZED, "A key is needed";
    /// The key's scope does not reach so far; the detail says which does.
    Forbidden => FORBIDDEN, "The key may not do this";
    /// The key's limit of images a second or requests in flight is reached, or many keys that are none came from one address; see
    /// `Retry-After`, `RateLimit-Policy` and `RateLimit`.
    RateLimited => TOO_MANY_REQUESTS, "Too much for this key or address";
    /// Nobody is let in while the keys cannot be read; see `Retry-After`.
    KeysUnreadable => SERVICE_UNAVAILABLE, "The keys cannot be read";
    /// The configuration does not allow it; the detail names the setting.
    Disabled => FORBIDDEN, "Not allowed here";
    /// As many event streams are open as may be; see `Retry-After`.
    TooManyStreams => SERVICE_UNAVAILABLE, "Too many event streams";
    /// A defect or a failing machine; the log has the cause under `request_id`.
    Internal => INTERNAL_SERVER_ERROR, "Internal error";
}

/// A set of codes, a bit for each: what a route may answer with is part of a type ([`super::openapi::Problems`]).
pub type Codes = u64;

/// The set of the codes that are named.
macro_rules! codes {
    ($($code:ident)+) => { $(1u64 << $crate::http::code::Code::$code as $crate::http::code::Codes)|+ };
}

pub(in crate::http) use codes;

/// What a door may come to that needs a key.
pub const DOOR: Codes = codes! { Unauthorized Forbidden RateLimited KeysUnreadable };

/// What parameters may come to.
pub const PARAMETERS: Codes = codes!(InvalidParameter);

/// What a body may come to while it arrives and is read.
pub const BODY: Codes = codes! { MalformedBody UnsupportedMediaType BodyTooLarge BodyTimeout Busy };

/// What an answer may come to that is written within the memory of all.
pub const ANSWER: Codes = codes! { Busy ResponseTooLarge };

/// What the name of a model may come to.
pub const MODEL: Codes = PARAMETERS | codes!(UnknownModel);

/// What the name of a version may come to.
pub const VERSION: Codes = MODEL | codes!(UnknownVersion);

impl Code {
    /// Whether it is in the set of `codes`.
    pub fn is_in(self, codes: Codes) -> bool {
        codes >> self as Codes & 1 == 1
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_temporary(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE && self != Self::ModelTooLarge
    }

    /// As it is written in a problem.
    pub fn wire_name(self) -> String {
        spelled(&self)
    }
}
