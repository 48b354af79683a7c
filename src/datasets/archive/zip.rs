//! zip: the central directory entry by entry, and each entry's contents.
//!
//! The directory is never held in memory whole: a small archive can declare, or hold, a great many entries.

use std::{
    borrow::Cow,
    io::{Read, Seek},
};

use zip::{
    CompressionMethod, ZipReadOptions,
    read::{Config, ZipFileEntry},
    result::ZipError,
    unstable::read::ZipIterable,
};

use super::ArchiveKind;
use crate::datasets::{
    entry_path::fault_at,
    error::{EntryFault, Error},
    inbox::Inbox,
};

/// Bits of a Unix mode that tell files from folders, links and devices.
const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Reads the directory through `directory` and contents through `contents`, two readers of the same archive.
pub(super) fn unpack<R: Read + Seek>(directory: R, mut contents: R, inbox: &mut Inbox) -> Result<(), Error> {
    let mut archive = ZipIterable::try_new(directory, Config::default()).map_err(broken)?;
    for entry in archive.files().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = name(&entry)?.into_owned();
        check(&entry).map_err(|fault| fault_at(&name, fault))?;
        if entry.is_dir() {
            inbox.folder(&name)?;
            continue;
        }
        let mut file = entry.with_reader(&mut contents, ZipReadOptions::new()).map_err(broken)?;
        inbox.file(&name, &mut file, &|source| broken(source.into()))?;
    }
    Ok(())
}

/// The entry's name: UTF-8 whenever it is that, for many tools do not set the flag that says so; else code page 437.
fn name<'a>(entry: &'a ZipFileEntry<'_>) -> Result<Cow<'a, str>, Error> {
    match std::str::from_utf8(entry.name_raw()) {
        Ok(name) => Ok(name.into()),
        Err(_) => entry.name().map_err(broken),
    }
}

fn check(entry: &ZipFileEntry<'_>) -> Result<(), EntryFault> {
    if entry.encrypted() {
        return Err(EntryFault::Encrypted);
    }
    match entry.unix_mode().map_or(0, |mode| mode & TYPE_MASK) {
        0 | REGULAR | FOLDER if !entry.is_symlink() => {}
        0o120_000 => return Err(EntryFault::Link),
        _ => return Err(EntryFault::Special),
    }
    match entry.compression() {
        CompressionMethod::Stored | CompressionMethod::Deflated => Ok(()),
        other => Err(EntryFault::Compression(other.to_string())),
    }
}

fn broken(error: ZipError) -> Error {
    let source = match error {
        ZipError::Io(source) => source,
        other => other.into(),
    };
    Error::Broken { kind: ArchiveKind::Zip, source }
}
