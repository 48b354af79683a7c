//! Archives in: which kinds there are, and every entry of one handed to an [`Inbox`].
//!
//! Each format's file owns its traps; what an entry may be called and cost is the inbox's.

mod tar;
mod zip;

use std::{
    fmt,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

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

    /// The media type that says so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zip => "application/zip",
            Self::Tar => "application/x-tar",
            Self::TarGz => "application/gzip",
        }
    }

    /// The kind whose marks the first bytes of a file have.
    fn of_bytes(first: &[u8]) -> Option<Self> {
        match first {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Self::Zip),
            [0x1F, 0x8B, ..] => Some(Self::TarGz),
            _ => (first.get(257..262) == Some(b"ustar")).then_some(Self::Tar),
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

/// Hands every entry of the archive at `path` to `inbox`; without `kind` its first bytes say what it is.
///
/// # Errors
/// The first entry that is refused, a broken archive, a bound that is exceeded.
pub(super) fn unpack(kind: Option<ArchiveKind>, path: &Path, inbox: &mut Inbox) -> Result<(), Error> {
    let open = || Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path).at("read", path)?));
    let mut reader: BufReader<File> = open()?;
    let found = ArchiveKind::of_bytes(reader.fill_buf().at("read", path)?);
    let kind = match (kind, found) {
        (Some(kind), Some(found)) if kind != found => return Err(Error::Mislabelled { kind, found }),
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) => return Err(Error::UnknownArchive),
    };
    match kind {
        ArchiveKind::Zip => zip::unpack(reader, open()?, inbox),
        ArchiveKind::Tar => tar::unpack(kind, reader, inbox),
        ArchiveKind::TarGz => tar::unpack(kind, MultiGzDecoder::new(reader), inbox),
    }
}
