//! Why a job cannot be accepted, found, changed or stored.
//!
//! Names causes; knows no status codes.

use std::{io, path::PathBuf};

use super::{damage, kind::Resource, state::State};
use crate::message::{ServerPath, excerpt};

/// What SQLite says of a full disk, of files that are damaged or none of its, and of those that it cannot reach now: busy, locked,
/// read-only, failing, not to be opened (<https://sqlite.org/rescode.html>).
const SQLITE_READ_ONLY: u32 = 8;
const SQLITE_FULL: u32 = 13;
const SQLITE_DAMAGED: [u32; 2] = [11, 26];
const SQLITE_UNAVAILABLE: [u32; 5] = [5, 6, 8, 10, 14];

/// Why a job cannot be accepted, found, changed or stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the store cannot be made or synced.
    #[error("cannot use the folder `{path}` for jobs; give this user permission on it or choose another with `data.dir`")]
    Folder {
        /// The folder.
        path: ServerPath,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store cannot be opened or brought to this version's form.
    #[error("cannot open the job store `{path}`")]
    Open {
        /// The file.
        path: ServerPath,
        /// What SQLite said.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// The store was written by a newer graft, or its form is damaged.
    #[error("the job store `{path}` cannot be migrated; use the graft that wrote it or move the file away")]
    Migrate {
        /// The file.
        path: ServerPath,
        /// Which migration failed.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// The store's file is damaged; seen at start.
    #[error(
        "the job store `{path}` is damaged; put a copy of it back, or move it away to start without jobs and without API keys: if there were \
         some, nobody is let in until there is one (`graft keys create`); data sets and models stay"
    )]
    Broken {
        /// The file.
        path: ServerPath,
        /// What SQLite said.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// The store's file was removed or replaced while it was open: what is written to it is lost.
    #[error(
        "the file of the jobs was removed or replaced while graft runs, so that no job can be kept; put it back and restart graft"
    )]
    Gone,
    /// The store's file is damaged.
    #[error(
        "the file of the jobs is damaged, so that no job can be kept; stop graft and put a copy of it back (moved away, it takes the API keys with it)"
    )]
    Corrupt(#[source] sqlx::Error),
    /// The store cannot be reached now.
    #[error("the file of the jobs cannot be read or written now; the log says why, and graft goes on trying")]
    Unavailable(#[source] sqlx::Error),
    /// The disk has no room for what was to be kept.
    #[error("the disk that holds the jobs is full; free some space in the folder of `data.dir`")]
    DiskFull(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the job store failed")]
    Store(#[source] sqlx::Error),
    /// A stored value cannot be read back.
    #[error("the job store holds `{column}` that cannot be read")]
    Damaged {
        /// Which column.
        column: &'static str,
        /// What is wrong with it, if it is JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// No job of that id.
    #[error("there is no job `{}`; `GET /jobs` lists those that are kept (`jobs.max_finished`)", excerpt(.id))]
    UnknownJob {
        /// What was asked for.
        id: String,
    },
    /// The job has ended already.
    #[error("job `{id}` has already {}{}", if *.state == State::Cancelled { "been " } else { "" }, .state.name())]
    Finished {
        /// The job.
        id: String,
        /// How it ended.
        state: State,
    },
    /// As many jobs wait as may.
    #[error(
        "{limit} jobs are already waiting{}; try again when one has ended, or cancel one",
        if *.of_client { ", the share of one client (`server.max_client_percent`)" } else { " (`jobs.max_queued`)" }
    )]
    QueueFull {
        /// The bound.
        limit: u32,
        /// Whether it is the client's share that is used up.
        of_client: bool,
    },
    /// The idempotency key came with another body before.
    #[error("the `Idempotency-Key` `{}` was used with another body; use a new key for a new job", excerpt(.key))]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The first request of that key is still being looked at.
    #[error("the request with `Idempotency-Key` `{}` is still being accepted; try again shortly", excerpt(.key))]
    KeyInProgress {
        /// The key.
        key: String,
    },
    /// The job belongs to another worker now, or has ended.
    #[error("job `{id}` is no longer this worker's")]
    LeaseLost {
        /// The job.
        id: String,
    },
    /// An unfinished job needs it.
    #[error("job `{job}` uses it; wait for its end or cancel it")]
    InUse {
        /// What was to be removed.
        resource: Resource,
        /// The job.
        job: String,
    },
    /// It is all that is left of what must not go.
    #[error("nothing else would be left")]
    Last {
        /// What was to be removed.
        resource: Resource,
    },
    /// What a job would use is being removed.
    #[error("{resource} was removed while the job was being planned; submit it again with another")]
    Removed {
        /// What the job would use.
        resource: Resource,
    },
    /// A file is larger than those that are taken.
    #[error("the file is larger than {limit} bytes (`{setting}`)")]
    FileTooLarge {
        /// The bound.
        limit: u64,
        /// Where it is configured.
        setting: &'static str,
    },
    /// As many files as may be are received, or wait with their jobs.
    #[error(
        "{limit} files are being received or wait for their jobs{}; try again when one of these has ended",
        if *.of_client { ", the share of one client (`server.max_client_percent`)" } else { "" }
    )]
    TooManyFiles {
        /// The bound.
        limit: u64,
        /// Whether it is the client's share that is used up.
        of_client: bool,
    },
    /// No thread for the job.
    #[error("cannot start a thread for job `{id}`")]
    Thread {
        /// The job.
        id: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Why the file at `path` cannot be opened.
    pub(super) fn open(path: PathBuf, source: sqlx::Error) -> Self {
        match Self::from(source) {
            Self::Corrupt(source) => Self::Broken { path: path.into(), source: source.into() },
            Self::DiskFull(source) | Self::Unavailable(source) | Self::Store(source) => {
                Self::Open { path: path.into(), source: source.into() }
            }
            other => other,
        }
    }
}

/// Damage is noted: a store is not trusted from then on until all of its file is found sound.
impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        if primary_code(&source) == Some(SQLITE_READ_ONLY) {
            damage::note_read_only();
        }
        let error = Self::named(source);
        if matches!(error, Self::Corrupt(_)) {
            damage::note();
        }
        error
    }
}

impl Error {
    fn named(source: sqlx::Error) -> Self {
        match primary_code(&source) {
            Some(SQLITE_FULL) => Self::DiskFull(source),
            Some(code) if SQLITE_DAMAGED.contains(&code) => Self::Corrupt(source),
            Some(code) if SQLITE_UNAVAILABLE.contains(&code) => Self::Unavailable(source),
            // What a look at the whole file found.
            None if matches!(source, sqlx::Error::Protocol(_)) => Self::Corrupt(source),
            None if matches!(source, sqlx::Error::PoolTimedOut | sqlx::Error::Io(_)) => Self::Unavailable(source),
            _ => Self::Store(source),
        }
    }
}

/// SQLite's code without what extends it.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
