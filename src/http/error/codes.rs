//! The code of every error below `http`: exhaustive, so that a new cause does not compile until it has one.

use std::io::ErrorKind;

use crate::{
    datasets::{ContentsFault, Error as DatasetError, Excess, FolderFault, LayoutFault},
    http::code::Code,
    inference::Error as EngineError,
    jobs::{Error as JobsError, PlanError},
    registry::Error as RegistryError,
    service::Error as ServiceError,
};

pub(super) fn service_code(error: &ServiceError) -> Code {
    match error {
        ServiceError::NoJobs => Code::NotFound,
        ServiceError::TooManyPlans | ServiceError::StoreBusy | ServiceError::TooManyDownloads | ServiceError::Memory(_) => {
            Code::Busy
        }
        ServiceError::LatePlan { .. } => Code::Timeout,
        ServiceError::TooManyStreams { .. } => Code::TooManyStreams,
        ServiceError::DatasetInUse { .. } => Code::DatasetInUse,
        ServiceError::VersionInUse(_) => Code::VersionInUse,
        ServiceError::Plan(PlanError::Invalid(_)) => Code::InvalidRecipe,
        ServiceError::Plan(PlanError::Failed(_)) => Code::Internal,
        ServiceError::Jobs(error) => jobs_code(error),
        ServiceError::Engine(error) => engine_code(error),
        ServiceError::Datasets(error) => dataset_code(error),
        ServiceError::ShuttingDown => Code::ShuttingDown,
    }
}

pub(super) fn engine_code(error: &EngineError) -> Code {
    match error {
        EngineError::UnknownModel { .. } => Code::UnknownModel,
        EngineError::UnknownVersion { .. }
        | EngineError::ChoiceGone { .. }
        | EngineError::Registry(RegistryError::Damaged { .. }) => Code::UnknownVersion,
        EngineError::UnknownLayer { .. } => Code::UnknownLayer,
        EngineError::TopK { .. }
        | EngineError::NotPoolable { .. }
        | EngineError::Channels { .. }
        | EngineError::Preprocessing { .. } => Code::InvalidParameter,
        EngineError::NoClasses { .. } => Code::NoClasses,
        EngineError::BadImages(_) => Code::BadImages,
        EngineError::NotFinite { .. } => Code::NotFinite,
        EngineError::Untrained { .. } => Code::UntrainedModel,
        EngineError::QueueFull { .. } => Code::QueueFull,
        EngineError::TooManyPixels { .. } | EngineError::HeavyRequest { .. } | EngineError::LargeInput { .. } => {
            Code::TooManyPixels
        }
        EngineError::HeavyImages { .. } | EngineError::Busy { .. } => Code::Busy,
        EngineError::Late { .. } => Code::Timeout,
        EngineError::TooLargeToLoad { .. } => Code::ModelTooLarge,
        EngineError::ShuttingDown => Code::ShuttingDown,
        EngineError::Shared(error) => engine_code(error),
        EngineError::Registry(_) if is_of_the_disk(error) => Code::StorageFull,
        EngineError::Registry(_)
        | EngineError::Graph { .. }
        | EngineError::Runtime { .. }
        | EngineError::Thread { .. }
        | EngineError::WorkerGone { .. } => Code::Internal,
    }
}

/// Whether the system refuses to write behind `error`: a disk that is full or read-only.
fn is_of_the_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let refuses = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
    };
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.downcast_ref().is_some_and(refuses))
}

pub(super) fn jobs_code(error: &JobsError) -> Code {
    match error {
        JobsError::UnknownJob { .. } => Code::UnknownJob,
        JobsError::Finished { .. } => Code::JobFinished,
        JobsError::QueueFull { .. } => Code::QueueFull,
        JobsError::KeyReused { .. } => Code::IdempotencyKeyReused,
        JobsError::KeyInProgress { .. } => Code::IdempotencyInProgress,
        JobsError::DiskFull(_) => Code::StorageFull,
        JobsError::Folder { .. } if is_of_the_disk(error) => Code::StorageFull,
        JobsError::InUse { .. } | JobsError::Last { .. } => Code::VersionInUse,
        JobsError::Removed { .. } => Code::InvalidRecipe,
        JobsError::FileTooLarge { .. } => Code::BodyTooLarge,
        JobsError::TooManyFiles { .. } => Code::Busy,
        JobsError::Gone | JobsError::Corrupt(_) | JobsError::Unavailable(_) => Code::JobsUnavailable,
        JobsError::Folder { .. }
        | JobsError::Broken { .. }
        | JobsError::Open { .. }
        | JobsError::Migrate { .. }
        | JobsError::Store(_)
        | JobsError::Damaged { .. }
        | JobsError::LeaseLost { .. }
        | JobsError::Thread { .. } => Code::Internal,
    }
}

pub(super) fn dataset_code(error: &DatasetError) -> Code {
    match error {
        DatasetError::Unknown { .. } => Code::UnknownDataset,
        DatasetError::TooManyUploads { .. } => Code::Busy,
        DatasetError::UploadTooLarge { .. } => Code::BodyTooLarge,
        DatasetError::TooLarge(Excess::Bytes { .. } | Excess::Entries { .. } | Excess::Pixels { .. } | Excess::Ratio { .. }) => {
            Code::ArchiveTooLarge
        }
        DatasetError::QuotaExceeded { .. } | DatasetError::DiskFull(_) => Code::StorageFull,
        DatasetError::Mislabelled { .. }
        | DatasetError::UnknownArchive
        | DatasetError::SingleFile
        | DatasetError::Gzipped { .. }
        | DatasetError::ForeignArchive { .. }
        | DatasetError::ArchivePart
        | DatasetError::Broken { .. }
        | DatasetError::Entry { .. } => Code::BadArchive,
        DatasetError::Contents(
            ContentsFault::TooFewClasses { .. }
            | ContentsFault::TooFewImages { .. }
            | ContentsFault::NoTraining { .. }
            | ContentsFault::Layout(
                LayoutFault::TwoReadings { .. }
                | LayoutFault::NoClasses { .. }
                | LayoutFault::SameFolders { .. }
                | LayoutFault::BareSplits { .. }
                | LayoutFault::SeveralSets { .. }
                | LayoutFault::NoSplits { .. },
            ),
        ) => Code::BadDataset,
        DatasetError::NoRoot | DatasetError::Folder { fault: FolderFault::Outside, .. } => Code::FolderRefused,
        DatasetError::Folder { fault: FolderFault::NotAFolder | FolderFault::Unreadable(_), .. } => Code::BadDataset,
        // Its reader has left.
        DatasetError::Cancelled => Code::MalformedBody,
        DatasetError::Io { .. } if is_of_the_disk(error) => Code::StorageFull,
        DatasetError::Corrupt { .. } | DatasetError::Io { .. } | DatasetError::CutShort(_) => Code::Internal,
    }
}
