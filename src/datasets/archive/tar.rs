//! tar, plain or unpacked from gzip on the way: one entry after another, front to back.
//!
//! Headers that the format lets grow without bound (long names, extended attributes, sparse maps) are bounded here.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use tar::{Archive, Entry, EntryType};

use super::ArchiveKind;
use crate::datasets::{
    entry_path::{fault_at, is_folder, shown},
    error::{EntryFault, Error},
    inbox::{Fault, Inbox},
    names::{NameEncoding, read_name},
};

/// Most bytes between the contents of two entries: headers and padding.
const MAX_HEADER_BYTES: u64 = 128 << 10;

/// Most bytes after the archive's end: padding to the size of a tape's record.
const MAX_TRAILER_BYTES: u64 = 1 << 20;

pub(super) fn unpack(kind: ArchiveKind, reader: impl Read, names: Option<NameEncoding>, inbox: &mut Inbox) -> Result<(), Error> {
    let broken = |source| Error::Broken { kind, source };
    let source = Source { reader, state: Rc::default() };
    let state = Rc::clone(&source.state);
    let mut archive = Archive::new(source);
    let mut entries = archive.entries().map_err(broken)?;
    loop {
        state.left.set(MAX_HEADER_BYTES);
        let next = entries.next();
        inbox.passed(MAX_HEADER_BYTES - state.left.get())?;
        let Some(entry) = next else { break };
        state.left.set(u64::MAX);
        self::entry(entry.map_err(broken)?, names, inbox, &broken)?;
    }
    if state.ended.get() {
        return Err(broken(truncated("it ends without its closing block")));
    }
    state.left.set(MAX_TRAILER_BYTES);
    check_rest(archive.into_inner()).map_err(broken)
}

fn entry(
    mut entry: Entry<'_, impl Read>,
    names: Option<NameEncoding>,
    inbox: &mut Inbox,
    broken: Fault<'_>,
) -> Result<(), Error> {
    let bytes = entry.path_bytes();
    let name = read_name(&bytes, names);
    let name = name.map_err(|fault| Error::Entry { path: shown(&String::from_utf8_lossy(&bytes)), fault })?;
    drop(bytes);
    match entry.header().entry_type() {
        // Before POSIX, a folder was a file whose name ends so.
        EntryType::Regular if is_folder(&name) => inbox.folder(&name),
        EntryType::Regular | EntryType::Continuous => inbox.file(&name, &mut entry, broken),
        EntryType::Directory => inbox.folder(&name),
        // What `git archive` says of the whole archive.
        EntryType::XGlobalHeader => inbox.remark(),
        // A second name of a photo, which lies before it in the archive.
        EntryType::Link => {
            let first = entry.link_name_bytes().and_then(|bytes| read_name(&bytes, names).ok());
            first.map_or_else(|| Err(fault_at(&name, EntryFault::Link)), |first| inbox.link(&name, &first))
        }
        EntryType::Symlink => Err(fault_at(&name, EntryFault::Link)),
        _ => Err(fault_at(&name, EntryFault::Special)),
    }
}

/// Reads on to the end, so that gzip's checksum is verified and nothing follows unseen.
fn check_rest(mut source: impl Read) -> io::Result<()> {
    let mut buffer = [0; 8 << 10];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(()),
            read if buffer[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "something follows its end")),
        }
    }
}

fn truncated(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

/// What is known of a [`Source`] while the archive owns it.
#[derive(Debug, Default)]
struct State {
    /// Bytes that may still be read before the next entry's contents.
    left: Cell<u64>,
    /// Whether the reader is at its end.
    ended: Cell<bool>,
}

/// A reader that stops when headers take more than they may.
struct Source<R> {
    reader: R,
    state: Rc<State>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.state.left.get();
        if left == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its headers or its padding take too many bytes"));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut buffer[..most])?;
        self.state.left.set(left - read as u64);
        self.state.ended.set(read == 0 && most > 0);
        Ok(read)
    }
}
