//! Every cause with its status and code, and that only internal ones are opaque.

use std::time::Duration;

use axum::http::StatusCode;

use super::*;
use crate::{
    access::Scope,
    datasets::{ArchiveKind, ContentsFault, EntryFault, Error as DatasetError, Excess, FolderFault, LayoutFault},
    jobs,
    preprocess::{ChannelOrder, ImageError, IntegerType, PreprocessingError},
    runtime,
};

fn engine_errors() -> Vec<(EngineError, u16, Code)> {
    let model = || "vgg16".to_owned();
    let not_whole = || PreprocessingError::NotWhole { integer: IntegerType::Uint8 };
    let io = || std::io::Error::other("disk");
    let runtime_error = || runtime::Error::LibraryNotFound { searched: Vec::new() };
    let shape_error = crate::tensor::Tensor::new(vec![1], Vec::new()).expect_err("one element is missing");
    vec![
        (EngineError::UnknownModel { name: model(), nearest: Vec::new(), known: Default::default() }, 404, Code::UnknownModel),
        (EngineError::UnknownVersion { name: model(), version: 9, available: vec![1] }, 404, Code::UnknownVersion),
        (EngineError::ChoiceGone { name: model(), version: 9, available: vec![1] }, 404, Code::UnknownVersion),
        (
            EngineError::UnknownLayer {
                layer: "fc9".to_owned(),
                model: model(),
                holders: Default::default(),
                nearest: Vec::new(),
            },
            422,
            Code::UnknownLayer,
        ),
        (EngineError::TopK { model: model(), classes: 1 }, 422, Code::InvalidParameter),
        (EngineError::NotPoolable { layer: "fc2".to_owned(), shape: vec![2, 3, 3], model: model() }, 422, Code::InvalidParameter),
        (EngineError::Channels { model: model(), channels: 1, order: ChannelOrder::Bgr }, 422, Code::InvalidParameter),
        (EngineError::Preprocessing { model: model(), problem: not_whole() }, 422, Code::InvalidParameter),
        (EngineError::NoClasses { model: model() }, 422, Code::NoClasses),
        (EngineError::BadImages(vec![(0, ImageError::Empty)]), 422, Code::BadImages),
        (EngineError::NotFinite { layer: "fc2".to_owned(), image: 0, float16: true }, 422, Code::NotFinite),
        (EngineError::Untrained { model: model() }, 403, Code::UntrainedModel),
        (EngineError::QueueFull { model: model(), capacity: 1, of_client: false }, 503, Code::QueueFull),
        (EngineError::TooManyPixels { pixels: 2, limit: 1 }, 413, Code::TooManyPixels),
        (EngineError::HeavyImages { of_client: true }, 503, Code::Busy),
        (EngineError::Busy { of_client: true }, 503, Code::Busy),
        (EngineError::LargeInput { model: model(), bytes: 2, limit: 1 }, 413, Code::TooManyPixels),
        (EngineError::HeavyRequest { samples: 2, limit: 1 }, 413, Code::TooManyPixels),
        (EngineError::Late { ms: 1 }, 503, Code::Timeout),
        (EngineError::TooLargeToLoad { model: model(), bytes: 2, bound: 1 }, 503, Code::ModelTooLarge),
        (EngineError::ShuttingDown, 503, Code::ShuttingDown),
        (EngineError::Shared(Arc::new(EngineError::ShuttingDown)), 503, Code::ShuttingDown),
        (EngineError::Runtime { model: model(), source: Arc::new(runtime_error()) }, 500, Code::Internal),
        (EngineError::Runtime { model: model(), source: Arc::new(runtime::Error::Shape(shape_error)) }, 500, Code::Internal),
        (EngineError::Thread { model: model(), source: io() }, 500, Code::Internal),
        (EngineError::WorkerGone { model: model() }, 500, Code::Internal),
    ]
}

fn jobs_errors() -> Vec<(JobsError, u16, Code)> {
    let (id, key) = (|| "x".to_owned(), || "k".to_owned());
    vec![
        (JobsError::UnknownJob { id: id() }, 404, Code::UnknownJob),
        (JobsError::Finished { id: id(), state: jobs::State::Failed }, 409, Code::JobFinished),
        (JobsError::QueueFull { limit: 1, of_client: false }, 503, Code::QueueFull),
        (JobsError::KeyReused { key: key() }, 422, Code::IdempotencyKeyReused),
        (JobsError::KeyInProgress { key: key() }, 409, Code::IdempotencyInProgress),
        (JobsError::Folder { path: "x".into(), source: std::io::Error::other("disk") }, 500, Code::Internal),
        (JobsError::Gone, 503, Code::JobsUnavailable),
        (JobsError::Unavailable(sqlx::Error::PoolTimedOut), 503, Code::JobsUnavailable),
        (JobsError::Corrupt(sqlx::Error::PoolTimedOut), 503, Code::JobsUnavailable),
        (JobsError::Damaged { column: "recipe", source: None }, 500, Code::Internal),
        (JobsError::LeaseLost { id: id() }, 500, Code::Internal),
        (JobsError::Thread { id: id(), source: std::io::Error::other("limit") }, 500, Code::Internal),
    ]
}

fn dataset_errors() -> Vec<(DatasetError, u16, Code)> {
    let text = || "x".to_owned();
    let io = || std::io::Error::other("disk");
    let folder = |fault| DatasetError::Folder { path: text(), fault };
    let several = LayoutFault::SeveralSets { folders: Vec::new(), splits: None, classes: text() };
    vec![
        (DatasetError::Unknown { id: text() }, 404, Code::UnknownDataset),
        (DatasetError::TooManyUploads { limit: 1, of_client: false }, 503, Code::Busy),
        (DatasetError::UploadTooLarge { limit: 1 }, 413, Code::BodyTooLarge),
        (DatasetError::TooLarge(Excess::Bytes { limit: 1 }), 413, Code::ArchiveTooLarge),
        (DatasetError::TooLarge(Excess::Entries { limit: 1 }), 413, Code::ArchiveTooLarge),
        (DatasetError::TooLarge(Excess::Pixels { limit: 1 }), 413, Code::ArchiveTooLarge),
        (DatasetError::TooLarge(Excess::Ratio { limit: 1 }), 413, Code::ArchiveTooLarge),
        (DatasetError::QuotaExceeded { limit: 1 }, 507, Code::StorageFull),
        (DatasetError::DiskFull(io()), 507, Code::StorageFull),
        (DatasetError::UnknownArchive, 422, Code::BadArchive),
        (DatasetError::SingleFile, 422, Code::BadArchive),
        (DatasetError::Gzipped { kind: ArchiveKind::Zip }, 422, Code::BadArchive),
        (DatasetError::ForeignArchive { kind: "7z" }, 422, Code::BadArchive),
        (DatasetError::ArchivePart, 422, Code::BadArchive),
        (
            DatasetError::Mislabelled {
                kind: ArchiveKind::Zip,
                found: ArchiveKind::Tar,
                source: Box::new(DatasetError::UnknownArchive),
            },
            422,
            Code::BadArchive,
        ),
        (DatasetError::Contents(ContentsFault::NoTraining { images: 1 }), 422, Code::BadDataset),
        (
            DatasetError::Contents(ContentsFault::Layout(LayoutFault::TwoReadings { splits: text(), classes: text() })),
            422,
            Code::BadDataset,
        ),
        (
            DatasetError::Contents(ContentsFault::Layout(LayoutFault::BareSplits { folders: Vec::new(), classes: text() })),
            422,
            Code::BadDataset,
        ),
        (DatasetError::Contents(ContentsFault::Layout(several)), 422, Code::BadDataset),
        (DatasetError::Contents(ContentsFault::Layout(LayoutFault::NoSplits { classes: text() })), 422, Code::BadDataset),
        (DatasetError::Broken { kind: ArchiveKind::Zip, source: io() }, 422, Code::BadArchive),
        (DatasetError::Entry { path: text(), fault: EntryFault::Link }, 422, Code::BadArchive),
        (DatasetError::Contents(ContentsFault::TooFewClasses { classes: Vec::new(), archive: None }), 422, Code::BadDataset),
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
    let key = || "ci".parse().expect("a name");
    let text = || "x".to_owned();
    vec![
        (ApiError::NotFound { path: text() }, 404, Code::NotFound),
        (ApiError::MethodNotAllowed { method: text(), path: text() }, 405, Code::MethodNotAllowed),
        (ApiError::TlsRequired, 400, Code::TlsRequired),
        (ApiError::InvalidHost("x"), 400, Code::InvalidHost),
        (ApiError::UnknownHost { host: text() }, 421, Code::UnknownHost),
        (ApiError::ForeignOrigin { origin: None }, 403, Code::ForeignOrigin),
        (ApiError::InvalidParameter(text()), 422, Code::InvalidParameter),
        (ApiError::MalformedBody(text()), 400, Code::MalformedBody),
        (ApiError::UnsupportedMediaType(text()), 415, Code::UnsupportedMediaType),
        (ApiError::UnsupportedEncoding(text()), 415, Code::UnsupportedMediaType),
        (ApiError::NotAcceptable(text()), 406, Code::NotAcceptable),
        (ApiError::BodyTooLarge { limit: 1 }, 413, Code::BodyTooLarge),
        (ApiError::TooManyImages { limit: 1 }, 413, Code::TooManyImages),
        (ApiError::NoImages("x"), 422, Code::NoImages),
        (ApiError::BadImages(Vec::new()), 422, Code::BadImages),
        (ApiError::ResponseTooLarge(text()), 422, Code::ResponseTooLarge),
        (ApiError::BodySilent { ms: 1, setting: "x" }, 408, Code::BodyTimeout),
        (ApiError::BodyTooSlow { bytes_per_second: 1 }, 408, Code::BodyTimeout),
        (ApiError::BodyInterrupted, 400, Code::MalformedBody),
        (ApiError::Busy { of_client: false }, 503, Code::Busy),
        (ApiError::NotReady(Vec::new()), 503, Code::NotReady),
        (ApiError::JsonTooLarge { limit: 1 }, 413, Code::BodyTooLarge),
        (ApiError::JsonNeverFits { needed: 2, limit: 1 }, 413, Code::BodyTooLarge),
        (ServiceError::TooManyDownloads.into(), 503, Code::Busy),
        (ServiceError::TooManyPlans.into(), 503, Code::Busy),
        (ServiceError::StoreBusy.into(), 503, Code::Busy),
        (ServiceError::Memory(crate::work::Exceeded::Client).into(), 503, Code::Busy),
        (ServiceError::LatePlan { ms: 1 }.into(), 503, Code::Timeout),
        (ServiceError::ShuttingDown.into(), 503, Code::ShuttingDown),
        (ServiceError::from(PlanError::Invalid(Vec::new())).into(), 422, Code::InvalidRecipe),
        (ServiceError::from(PlanError::Failed("secret".into())).into(), 500, Code::Internal),
        (ServiceError::NoJobs.into(), 404, Code::NotFound),
        (ApiError::Disabled(text()), 403, Code::Disabled),
        (ServiceError::VersionInUse(text()).into(), 409, Code::VersionInUse),
        (ServiceError::DatasetInUse { id: text(), job: text() }.into(), 409, Code::DatasetInUse),
        (ServiceError::TooManyStreams { limit: 1, of_client: false }.into(), 503, Code::TooManyStreams),
        (Refused::Missing.into(), 401, Code::Unauthorized),
        (Refused::Malformed("there are two keys").into(), 401, Code::Unauthorized),
        (Refused::Unknown.into(), 401, Code::Unauthorized),
        (Refused::Lost.into(), 401, Code::Unauthorized),
        (Refused::Expired { name: key() }.into(), 401, Code::Unauthorized),
        (Refused::Scope { name: key(), has: Scope::Predict, needs: Scope::Admin }.into(), 403, Code::Forbidden),
        (Refused::Images { name: key(), per_second: 1, images: 2, wait: Duration::from_secs(1) }.into(), 429, Code::RateLimited),
        (Refused::InFlight { name: key(), limit: 1, room: None }.into(), 429, Code::RateLimited),
        (Refused::Guesses { wait: Duration::from_secs(1) }.into(), 429, Code::RateLimited),
        (Refused::TooManyImages { name: key(), images: 2, burst: 1 }.into(), 413, Code::TooManyImages),
        (Refused::Unreadable.into(), 503, Code::KeysUnreadable),
        (ApiError::internal("secret"), 500, Code::Internal),
    ]
}

#[test]
fn every_cause_has_its_status() {
    let engine = engine_errors().into_iter().map(|(error, status, code)| (ApiError::from_engine(error, &[]), status, code));
    let dataset = dataset_errors().into_iter().map(|(error, status, code)| (ApiError::from(error), status, code));
    let mut seen = Vec::new();
    let jobs = jobs_errors().into_iter().map(|(error, status, code)| (ApiError::Jobs(error), status, code));
    for (error, status, code) in own_errors().into_iter().chain(engine).chain(dataset).chain(jobs) {
        assert_eq!((error.code(), error.code().status().as_u16()), (code, status), "{error:?}");
        let response = error.into_response();
        assert_eq!(response.status().as_u16(), status);
        let waits = status == 429 || (status == 503 && code != Code::ModelTooLarge);
        assert_eq!(response.headers().contains_key(header::RETRY_AFTER), waits, "{code:?}");
        seen.push(code);
    }
    for code in Code::ALL {
        assert!(seen.contains(code), "no cause has {code:?}");
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
    let ApiError::BadImages(problems) = ApiError::from_engine(bad, &["a.jpg", "1"].map(Caption::new)) else {
        panic!("bad images stay bad images");
    };
    assert_eq!(problems.iter().map(|problem| problem.image.as_str()).collect::<Vec<_>>(), ["a.jpg", "1"]);
    assert_eq!(problems[0].code, "empty");
}

#[test]
fn no_client_reads_a_path_of_this_machine() {
    let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
    let path = "/srv/graft/datasets/7";
    let errors: [ApiError; 2] = [
        DatasetError::Io { action: "write", path: path.into(), source: full() }.into(),
        JobsError::Folder { path: path.into(), source: full() }.into(),
    ];
    for error in errors {
        assert!(error.to_string().contains(path), "whoever runs graft reads it: {error}");
        assert!(!error.detail().contains("/srv"), "{}", error.detail());
    }
}
