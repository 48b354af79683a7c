//! Archives in: which kinds there are, and every entry of one handed to an [`Inbox`].
//!
//! Each format's file owns its traps; what an entry may be called and cost is the inbox's.

mod tar;
mod zip;

use std::{fmt, fs::File, io::BufReader, path::Path};

use flate2::bufread::MultiGzDecoder;

use super::{
    error::{At, Error},
    inbox::Inbox,
};

/// Larger than the default, because archives are read from front to back.
const BUFFER_BYTES: usize = 256 << 10;

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// zip, stored or deflated.
    Zip,
    /// tar.
    Tar,
    /// tar in gzip.
    TarGz,
}

impl ArchiveKind {
    /// The kind that a media type names, without parameters, in lower case.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            "application/zip" | "application/x-zip-compressed" => Some(Self::Zip),
            "application/x-tar" => Some(Self::Tar),
            "application/gzip" | "application/x-gzip" => Some(Self::TarGz),
            _ => None,
        }
    }
}

impl fmt::Display for ArchiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Zip => "zip archive",
            Self::Tar => "tar archive",
            Self::TarGz => "gzipped tar archive",
        })
    }
}

/// Hands every entry of the archive at `path` to `inbox`.
///
/// # Errors
/// The first entry that is refused, a broken archive, a bound that is exceeded.
pub(super) fn unpack(kind: ArchiveKind, path: &Path, inbox: &mut Inbox) -> Result<(), Error> {
    let open = || Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path).at("read", path)?));
    match kind {
        ArchiveKind::Zip => zip::unpack(open()?, open()?, inbox),
        ArchiveKind::Tar => tar::unpack(kind, open()?, inbox),
        ArchiveKind::TarGz => tar::unpack(kind, MultiGzDecoder::new(open()?), inbox),
    }
}
