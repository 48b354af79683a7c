//! Why a published file could not be brought, and what to do instead.
//!
//! Every message says where the file can be put by hand, or how to go on.

use std::{io, path::PathBuf};

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address does not end in a file name.
    #[error("`{url}` does not name a file; give the address of the folder that holds `ARCHITECTURE/FILE.h5` as base")]
    BadUrl {
        /// The address.
        url: String,
    },
    /// The host cannot be reached, or does not speak HTTP as expected.
    #[error(
        "cannot reach {url}; get the file another way, put it at {} and run the same command again, \
         or run `graft import {architecture} FILE`", target.display()
    )]
    Unreachable {
        /// The address.
        url: String,
        /// Where the file would have come to lie.
        target: PathBuf,
        /// What `graft import` calls it.
        architecture: String,
        /// What went wrong.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The host has no such file.
    #[error(
        "{url} is not there (404); check the base address, or get the file another way and run `graft import {architecture} FILE`"
    )]
    NotFound {
        /// The address.
        url: String,
        /// What `graft import` calls it.
        architecture: String,
    },
    /// The host refuses, or is broken, after some attempts.
    #[error(
        "{url} answered with status {status}; try again later, or get the file another way and run `graft import {architecture} FILE`"
    )]
    Status {
        /// The address.
        url: String,
        /// HTTP status.
        status: u16,
        /// What `graft import` calls it.
        architecture: String,
    },
    /// The transfer kept breaking.
    #[error("the download of {url} broke off after {done} bytes, {attempts} times; run the same command again to resume it")]
    Interrupted {
        /// The address.
        url: String,
        /// Bytes that are kept beside the destination.
        done: u64,
        /// How often it was tried without getting on.
        attempts: u32,
        /// What went wrong last.
        #[source]
        source: io::Error,
    },
    /// The file is larger than it may be.
    #[error("{url} is larger than {max_bytes} bytes; that is not the file expected")]
    TooLarge {
        /// The address.
        url: String,
        /// The bound.
        max_bytes: u64,
    },
    /// The bytes are not those expected.
    #[error("{url} has MD5 {found}, expected {expected}; nothing was kept; check the base address, and any proxy in between")]
    Checksum {
        /// The address.
        url: String,
        /// Published sum.
        expected: String,
        /// Sum of what came.
        found: String,
    },
    /// No space for the file.
    #[error("no space left for {}; free some and run the same command again", path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process is at it.
    #[error("{} is being downloaded by another process", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
}

impl Error {
    /// A file system error at `path`.
    pub(super) fn write(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Write { path, source },
        }
    }
}
