//! Why the service does not do what it is asked for.

use crate::{
    datasets, inference,
    jobs::{self, PlanError},
    message::excerpt,
    work::Exceeded,
};

/// What keeps the service from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process that keeps no jobs, or accepts none.
    #[error("this server does not accept jobs")]
    NoJobs,
    /// As many jobs are being planned as may.
    #[error("as many jobs and dry runs are being planned as may, of all or of this client; try again shortly")]
    TooManyPlans,
    /// Planning a job took too long.
    #[error("the job was not planned within {ms} ms (`server.request_timeout_ms`), since the machine is busy; try again")]
    LatePlan {
        /// The bound in milliseconds.
        ms: u128,
    },
    /// As much is being looked up, chosen and deleted as may.
    #[error(
        "as many lists, details, choices and deletions are at work or wait as may, of all or of this client; try again shortly"
    )]
    StoreBusy,
    /// As many models are being downloaded as may.
    #[error("as many models are being downloaded as may, of all or of this client; try again shortly")]
    TooManyDownloads,
    /// As many event streams as may be open are.
    #[error(
        "{limit} event streams are open{}; try again shortly, or poll the job itself",
        if *.of_client { ", the share of one client (`server.max_client_percent`)" } else { " (`jobs.max_streams`)" }
    )]
    TooManyStreams {
        /// The bound.
        limit: u64,
        /// Whether it is the client's share that is used up.
        of_client: bool,
    },
    /// A data set that must stay.
    #[error("data set `{}` is used by job `{job}`; wait for its end or cancel it", excerpt(.id))]
    DatasetInUse {
        /// The data set.
        id: String,
        /// The job.
        job: String,
    },
    /// A version that must stay.
    #[error("{0}")]
    VersionInUse(String),
    /// No memory is left for it.
    #[error("no memory is left for it{}", if *.0 == Exceeded::Client { " of this client" } else { "" })]
    Memory(Exceeded),
    /// A job that cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The job store refused or failed.
    #[error(transparent)]
    Jobs(#[from] jobs::Error),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] inference::Error),
    /// The store of data sets refused or failed.
    #[error(transparent)]
    Datasets(#[from] datasets::Error),
    /// The process ends.
    #[error("graft is shutting down")]
    ShuttingDown,
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::Memory(exceeded)
    }
}
