//! Archives in: which kinds there are, and every entry of one handed to an [`Inbox`].
//!
//! Each format's file owns its traps; what an entry may be called and cost is the inbox's.

mod directory;
mod gzip;
mod tar;
mod zip;

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use gzip::Gunzip;

use super::{
    bounds::Cancel,
    error::{At, Error},
    inbox::Inbox,
    names::NameEncoding,
};
use crate::preprocess::is_image;

/// Larger than the default, because archives are read from front to back.
const BUFFER_BYTES: usize = 256 << 10;

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveKind {
    /// zip; stored, or compressed with deflate or deflate64.
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

    /// The kind whose marks the first bytes of a file have.
    fn of_bytes(first: &[u8]) -> Option<Self> {
        match first {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Self::Zip),
            [0x1F, 0x8B, ..] => Some(Self::TarGz),
            _ => is_tar(first).then_some(Self::Tar),
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

/// Bytes from the start of an archive that say what it is.
pub(super) const MARK_BYTES: usize = 512;

/// The marks of archives and compressed files that are not read.
const FOREIGN: [(&[u8], &str); 7] = [
    (b"7z\xBC\xAF\x27\x1C", "7z"),
    (b"Rar!\x1A\x07", "RAR"),
    (b"BZh", "bzip2"),
    (b"\xFD7zXZ\0", "xz"),
    (b"\x28\xB5\x2F\xFD", "Zstandard"),
    (b"\x04\x22\x4D\x18", "lz4"),
    (b"MSCF", "cabinet"),
];

/// The kind of archive that begins with `first`; `None` where that does not say.
///
/// # Errors
/// [`Error::ForeignArchive`] and [`Error::SingleFile`]. A tar archive is neither, though it begins with a name that is anything.
pub(super) fn kind_of(first: &[u8]) -> Result<Option<ArchiveKind>, Error> {
    let known = ArchiveKind::of_bytes(first);
    let foreign = FOREIGN.iter().find(|(mark, _)| first.starts_with(mark));
    match foreign {
        _ if known.is_some() => Ok(known),
        Some((_, kind)) => Err(Error::ForeignArchive { kind }),
        None if is_image(first) => Err(Error::SingleFile),
        None => Ok(None),
    }
}

/// Refuses gzip that says at once that it holds something else than a tar archive.
fn check_gzip(path: &Path, cancel: &Cancel) -> Result<(), Error> {
    let mut first = Vec::new();
    let reader = Gunzip::new(BufReader::new(File::open(path).at("read", path)?), cancel.clone());
    let read = reader.take(MARK_BYTES as u64).read_to_end(&mut first);
    cancel.check()?;
    // Damaged, or a tar archive of nothing: the reader of tar tells.
    if read.is_err() || first.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    match kind_of(&first)? {
        Some(ArchiveKind::Tar) => Ok(()),
        Some(kind) => Err(Error::Gzipped { kind }),
        None => Err(Error::UnknownArchive),
    }
}

/// Hands every entry of the archive at `path` to `inbox`. Its first bytes say what it is; where they do not, it is what it was
/// `said` to be.
///
/// # Errors
/// The first entry that is refused, a broken archive, a bound that is exceeded.
pub(super) fn unpack(
    said: Option<ArchiveKind>,
    path: &Path,
    names: Option<NameEncoding>,
    inbox: &mut Inbox,
) -> Result<(), Error> {
    let mut file = File::open(path).at("read", path)?;
    let mut first = Vec::new();
    Read::by_ref(&mut file).take(MARK_BYTES as u64).read_to_end(&mut first).at("read", path)?;
    let found = kind_of(&first)?;
    if is_part(&mut file, &first).at("read", path)? {
        return Err(Error::ArchivePart);
    }
    let kind = found.or(said).ok_or(Error::UnknownArchive)?;
    if kind == ArchiveKind::TarGz {
        check_gzip(path, inbox.cancel())?;
    }
    // The readers are others' code: what they cannot cope with is a broken archive, not a broken server.
    let unpacked = catch_unwind(AssertUnwindSafe(|| unpack_kind(kind, path, names, inbox)));
    let unpacked = unpacked.unwrap_or_else(|_| {
        let source = io::Error::new(io::ErrorKind::InvalidData, "its reader cannot cope with it");
        Err(Error::Broken { kind, source })
    });
    if unpacked.is_err() {
        // What a reader says that was told to end is nothing about the archive.
        inbox.cancel().check()?;
    }
    match (unpacked, said, found) {
        (Err(error @ Error::Broken { .. }), Some(kind), Some(found)) if kind != found => {
            Err(Error::Mislabelled { kind, found, source: Box::new(error) })
        }
        (unpacked, ..) => unpacked,
    }
}

fn unpack_kind(kind: ArchiveKind, path: &Path, names: Option<NameEncoding>, inbox: &mut Inbox) -> Result<(), Error> {
    let open = || Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path).at("read", path)?));
    let reader: BufReader<File> = open()?;
    match kind {
        ArchiveKind::Zip => zip::unpack(reader, open()?, names, inbox),
        ArchiveKind::Tar => tar::unpack(kind, reader, names, inbox),
        ArchiveKind::TarGz => tar::unpack(kind, Gunzip::new(reader, inbox.cancel().clone()), names, inbox),
    }
}

/// Whether `file` is one of several that a zip archive was split into: the mark of the first, or the last one's number, which is
/// not 0 (APPNOTE 4.3.16, 8.5.3).
fn is_part(file: &mut File, first: &[u8]) -> io::Result<bool> {
    const END_BYTES: u64 = 22;
    let bytes = file.metadata()?.len();
    if first.starts_with(b"PK\x07\x08") || bytes < END_BYTES {
        return Ok(first.starts_with(b"PK\x07\x08"));
    }
    let mut end = [0; END_BYTES as usize];
    file.seek(SeekFrom::Start(bytes - END_BYTES))?;
    file.read_exact(&mut end)?;
    // 0xFFFF says that a later format has the number.
    Ok(matches!(end, [b'P', b'K', 5, 6, low, high, ..] if ![0, u16::MAX].contains(&u16::from_le_bytes([low, high]))))
}

/// Whether `header` is one of a tar archive: all of it or, before POSIX, its checksum alone says so.
fn is_tar(header: &[u8]) -> bool {
    let Some(field) = header.get(148..156).filter(|_| header.len() == MARK_BYTES) else { return false };
    let digits: String = field.iter().map(|&byte| char::from(byte)).filter(char::is_ascii_digit).collect();
    let rest = header[..148].iter().chain(&header[156..]);
    let sum = rest.map(|&byte| u32::from(byte)).sum::<u32>() + 8 * u32::from(b' ');
    header.get(257..262) == Some(b"ustar") || u32::from_str_radix(&digits, 8) == Ok(sum)
}
