//! zip: the central directory entry by entry, and each entry's contents.
//!
//! The directory is never held in memory whole: a small archive can declare, or hold, a great many entries.

use std::io::{Read, Seek};

use zip::{
    CompressionMethod, ZipReadOptions,
    read::{Config, ZipFileEntry},
    result::ZipError,
    unstable::{format::flags::ZipFlags, read::ZipIterable},
};

use super::{ArchiveKind, directory::Directory};
use crate::datasets::{
    entry_path::{fault_at, is_folder, shown},
    error::{EntryFault, Error},
    inbox::Inbox,
    names::{NameEncoding, read_foreign_name, read_name},
};

/// Bits of a Unix mode that tell files from folders, links and devices.
const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Reads the directory through `directory` and contents through `contents`, two readers of the same archive.
pub(super) fn unpack<R: Read + Seek>(
    directory: R,
    mut contents: R,
    names: Option<NameEncoding>,
    inbox: &mut Inbox,
) -> Result<(), Error> {
    let mut archive = ZipIterable::try_new(Directory::new(directory), Config::default()).map_err(broken)?;
    for entry in archive.files().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = name(&entry, names)?;
        check(&entry).map_err(|fault| fault_at(&name, fault))?;
        // Of the name as text: in Shift JIS half of a letter may be a backslash.
        if is_folder(&name) {
            inbox.folder(&name)?;
            continue;
        }
        let mut file = entry.with_reader(&mut contents, ZipReadOptions::new()).map_err(broken)?;
        inbox.file(&name, &mut file, &|source| broken(source.into()))?;
    }
    Ok(())
}

/// The entry's name. Where a flag or Info-ZIP's field (0x7075) says that it is UTF-8, it is. Else `names` says what it is, and
/// without `names` it is UTF-8 if it can be: many tools do not set the flag. Code page 437, which the format means then, is
/// hardly ever what they wrote.
fn name(entry: &ZipFileEntry<'_>, names: Option<NameEncoding>) -> Result<String, Error> {
    let bytes = entry.name_raw();
    let is_utf8 = entry.flags().matching(ZipFlags::LanguageEncoding);
    let name = if is_utf8 { read_name(bytes, names) } else { read_foreign_name(bytes, names) };
    name.map_err(|fault| Error::Entry { path: shown(&String::from_utf8_lossy(bytes)), fault })
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
        CompressionMethod::Stored | CompressionMethod::Deflated | CompressionMethod::Deflate64 => Ok(()),
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
