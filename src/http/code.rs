//! The closed list of problem codes: what a client may branch on, each with its one status.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, as a program reads it; clients may rely on this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No such route.
    NotFound,
    /// The route exists, for other methods.
    MethodNotAllowed,
    /// No model of that name; the detail names near ones.
    UnknownModel,
    /// The model has no such version.
    UnknownVersion,
    /// The model has no such layer; the detail names near ones.
    UnknownLayer,
    /// A parameter is unknown, given twice, out of range or contradicts another.
    InvalidParameter,
    /// Classes asked of a model without a top.
    NoClasses,
    /// The JSON or multipart body cannot be read, or ended early.
    MalformedBody,
    /// The body's type is not one that the route takes, or its `Content-Encoding` is not decoded.
    UnsupportedMediaType,
    /// No representation that `Accept` allows.
    NotAcceptable,
    /// More bytes than `server.max_body_bytes`, or `datasets.max_upload_bytes` for archives.
    BodyTooLarge,
    /// More images than `server.max_images`.
    TooManyImages,
    /// More pixels, over all images, than `server.max_request_pixels`.
    TooManyPixels,
    /// Not a single image.
    NoImages,
    /// Images that cannot be used; `errors` names each.
    BadImages,
    /// A value is NaN or infinite, or does not fit float16.
    NotFinite,
    /// The answer would be larger than `server.max_response_bytes`.
    ResponseTooLarge,
    /// No data set of that id.
    UnknownDataset,
    /// A job uses the data set; the detail names it.
    DatasetInUse,
    /// The archive is broken, or holds what is never unpacked.
    BadArchive,
    /// The data set would be larger than `datasets.max_bytes`, `max_entries`, `max_pixels` or `max_ratio` allow.
    ArchiveTooLarge,
    /// Too few classes or images.
    BadDataset,
    /// The folder of the server may not be read.
    FolderRefused,
    /// No room for data sets (`datasets.max_store_bytes`), or none for jobs: the disk is full.
    StorageFull,
    /// Untrained weights, which this configuration does not serve.
    UntrainedModel,
    /// The body's sender fell silent, or sent too slowly.
    BodyTimeout,
    /// The model's queue of images, or the queue of jobs, is full; see `Retry-After`.
    QueueFull,
    /// Too many request bytes are buffered, or uploads in progress; see `Retry-After`.
    Busy,
    /// No answer in time.
    Timeout,
    /// The model does not fit `models.max_loaded_bytes`.
    ModelTooLarge,
    /// The server is going down.
    ShuttingDown,
    /// Configured models are not loaded and warm; `missing` names each.
    NotReady,
    /// No job of that id.
    UnknownJob,
    /// The job has ended.
    JobFinished,
    /// The job cannot be done as asked; `problems` names every reason.
    InvalidRecipe,
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused,
    /// The first request with this `Idempotency-Key` is still being accepted.
    IdempotencyInProgress,
    /// A job or the configuration needs the version.
    VersionInUse,
    /// The configuration does not allow it; the detail names the setting.
    Disabled,
    /// As many event streams are open as may be; see `Retry-After`.
    TooManyStreams,
    /// A defect or a failing machine; the log has the cause under `request_id`.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 41] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnknownModel,
        Self::UnknownVersion,
        Self::UnknownLayer,
        Self::InvalidParameter,
        Self::NoClasses,
        Self::MalformedBody,
        Self::UnsupportedMediaType,
        Self::NotAcceptable,
        Self::BodyTooLarge,
        Self::TooManyImages,
        Self::TooManyPixels,
        Self::NoImages,
        Self::BadImages,
        Self::NotFinite,
        Self::ResponseTooLarge,
        Self::UnknownDataset,
        Self::DatasetInUse,
        Self::BadArchive,
        Self::ArchiveTooLarge,
        Self::BadDataset,
        Self::FolderRefused,
        Self::StorageFull,
        Self::UntrainedModel,
        Self::BodyTimeout,
        Self::QueueFull,
        Self::Busy,
        Self::Timeout,
        Self::ModelTooLarge,
        Self::ShuttingDown,
        Self::NotReady,
        Self::UnknownJob,
        Self::JobFinished,
        Self::InvalidRecipe,
        Self::IdempotencyKeyReused,
        Self::IdempotencyInProgress,
        Self::VersionInUse,
        Self::Disabled,
        Self::TooManyStreams,
        Self::Internal,
    ];

    /// The HTTP status of its answers.
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedBody => StatusCode::BAD_REQUEST,
            Self::UntrainedModel | Self::FolderRefused | Self::Disabled => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownModel | Self::UnknownVersion | Self::UnknownDataset | Self::UnknownJob => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::DatasetInUse | Self::JobFinished | Self::IdempotencyInProgress | Self::VersionInUse => StatusCode::CONFLICT,
            Self::BodyTooLarge | Self::TooManyImages | Self::TooManyPixels | Self::ArchiveTooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownLayer
            | Self::InvalidParameter
            | Self::NoClasses
            | Self::NoImages
            | Self::BadImages
            | Self::NotFinite
            | Self::ResponseTooLarge
            | Self::BadArchive
            | Self::BadDataset
            | Self::InvalidRecipe
            | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::QueueFull
            | Self::Busy
            | Self::Timeout
            | Self::ModelTooLarge
            | Self::ShuttingDown
            | Self::NotReady
            | Self::TooManyStreams => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A short summary for people, the same for every occurrence.
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
            Self::UnknownDataset => "Unknown data set",
            Self::DatasetInUse => "Data set in use",
            Self::BadArchive => "Archive that cannot be used",
            Self::ArchiveTooLarge => "Too much in the archive",
            Self::BadDataset => "Contents that are not a data set",
            Self::FolderRefused => "Folder refused",
            Self::StorageFull => "Storage full",
            Self::UntrainedModel => "Untrained model",
            Self::BodyTimeout => "The body took too long",
            Self::QueueFull => "Queue full",
            Self::Busy => "Busy",
            Self::Timeout => "The answer took too long",
            Self::ModelTooLarge => "The model is too large to load",
            Self::ShuttingDown => "Shutting down",
            Self::NotReady => "Not ready",
            Self::UnknownJob => "Unknown job",
            Self::JobFinished => "The job has ended",
            Self::InvalidRecipe => "Invalid recipe",
            Self::IdempotencyKeyReused => "Idempotency key used with another body",
            Self::IdempotencyInProgress => "Still being accepted",
            Self::VersionInUse => "Version in use",
            Self::Disabled => "Not allowed here",
            Self::TooManyStreams => "Too many event streams",
            Self::Internal => "Internal error",
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_temporary(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE && self != Self::ModelTooLarge
    }

    /// As it is written in a problem.
    pub fn wire_name(self) -> String {
        let value = serde_json::to_value(self).expect("a unit variant is a string");
        value.as_str().expect("a unit variant is a string").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn the_list_is_whole() {
        let schema = serde_json::to_value(Code::schema()).expect("a schema is JSON");
        let listed: Vec<serde_json::Value> = Code::ALL.iter().map(|code| code.wire_name().into()).collect();
        assert_eq!(schema["enum"], serde_json::Value::from(listed));
    }
}
