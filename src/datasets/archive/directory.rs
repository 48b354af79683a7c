//! A zip's central directory without the extra fields that nothing is read from: where these are damaged, they refuse no archive.
//!
//! Knows where extra fields are in an entry (APPNOTE 4.3.12, 4.5); what an entry means is the `zip` crate's.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};

/// Bytes of an entry before its name.
const HEADER_BYTES: usize = 46;

/// Bytes of a field before its data: what it is, and how many bytes of data.
const FIELD_BYTES: usize = 4;

/// Sizes of large files; without it, a damaged one included, such an entry cannot be read.
const ZIP64: u16 = 0x0001;

/// The name in UTF-8, behind a version and the checksum of the plain name.
const UNICODE_PATH: u16 = 0x7075;
const UNICODE_PATH_BYTES: usize = 5;

/// A field of nobody.
const UNKNOWN: [u8; 2] = [0xFF; 2];

/// A reader of an archive, which gives every entry of the directory that it is set to with its other extra fields renamed.
#[derive(Debug)]
pub(super) struct Directory<R> {
    reader: R,
    /// Where `reader` is.
    position: u64,
    /// The entry before that, while it is being given.
    entry: Cursor<Vec<u8>>,
}

impl<R: Read + Seek> Directory<R> {
    /// `reader` at its start.
    pub fn new(reader: R) -> Self {
        Self { reader, position: 0, entry: Cursor::default() }
    }

    /// Reads on by `bytes`, or to the end.
    fn extend(&mut self, entry: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
        self.position += Read::by_ref(&mut self.reader).take(bytes as u64).read_to_end(entry)? as u64;
        Ok(())
    }

    /// Reads the entry that begins here, if one does.
    fn read_entry(&mut self) -> io::Result<()> {
        let mut entry = Vec::new();
        self.extend(&mut entry, HEADER_BYTES)?;
        if entry.len() == HEADER_BYTES && entry.starts_with(b"PK\x01\x02") {
            let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]])));
            self.extend(&mut entry, name + extra + comment)?;
            let start = HEADER_BYTES + name;
            if let Some(fields) = entry.get_mut(start..start + extra) {
                rename_fields(fields);
            }
        }
        self.entry = Cursor::new(entry);
        Ok(())
    }

    fn left(&self) -> u64 {
        self.entry.get_ref().len() as u64 - self.entry.position()
    }
}

impl<R: Read + Seek> Read for Directory<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left() > 0 {
            return self.entry.read(buffer);
        }
        let read = self.reader.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for Directory<R> {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let target = match target {
            SeekFrom::Current(by) => {
                let here = self.position - self.left();
                SeekFrom::Start(here.checked_add_signed(by).ok_or(ErrorKind::InvalidInput)?)
            }
            other => other,
        };
        // From one entry to the next there is nowhere to go, and what the reader holds in advance stays.
        if target != SeekFrom::Start(self.position) {
            self.position = self.reader.seek(target)?;
        }
        let start = self.position;
        self.read_entry()?;
        Ok(start)
    }
}

/// Renames all `fields` but whole ones that are read.
fn rename_fields(mut fields: &mut [u8]) {
    while let Some(&[id_low, id_high, low, high]) = fields.first_chunk::<FIELD_BYTES>() {
        let id = u16::from_le_bytes([id_low, id_high]);
        let bytes = usize::from(u16::from_le_bytes([low, high])).min(fields.len() - FIELD_BYTES);
        let is_whole = bytes == usize::from(u16::from_le_bytes([low, high]));
        if id != ZIP64 && !(id == UNICODE_PATH && is_whole && bytes >= UNICODE_PATH_BYTES) {
            fields[..2].copy_from_slice(&UNKNOWN);
            // Both are less than 64 KiB.
            fields[2..FIELD_BYTES].copy_from_slice(&(bytes as u16).to_le_bytes());
        }
        fields = &mut fields[FIELD_BYTES + bytes..];
    }
    fields.fill(UNKNOWN[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[u8], expected: &[u8]) {
        let mut renamed = fields.to_vec();
        rename_fields(&mut renamed);
        assert_eq!(renamed, expected, "{fields:x?}");
    }

    #[test]
    fn whole_fields_that_are_read_stay() {
        let path = b"\x75\x70\x06\0\x01\x01\x02\x03\x04x";
        check(path, path);
        check(b"\x01\0\x02\0ab", b"\x01\0\x02\0ab");
        check(b"\x01\0\x09\0ab", b"\x01\0\x09\0ab");
        check(b"", b"");
    }

    #[test]
    fn damaged_fields_and_those_of_others_are_nobodys() {
        check(b"\x75\x70\x04\0abcd", b"\xff\xff\x04\0abcd");
        check(b"\x75\x70\0\0\x01\0\0\0", b"\xff\xff\0\0\x01\0\0\0");
        check(b"\x75\x70\x09\0\x01abcdef", b"\xff\xff\x07\0\x01abcdef");
        check(b"\x55\x54\x01\0a\x75\x70", b"\xff\xff\x01\0a\xff\xff");
    }

    #[test]
    fn what_is_read_is_what_the_archive_holds_elsewhere() {
        let mut entry = [0; HEADER_BYTES];
        entry[..4].copy_from_slice(b"PK\x01\x02");
        (entry[28], entry[30], entry[32]) = (1, 4, 2);
        let archive = [b"before".as_slice(), &entry, b"n\x55\x54\0\0cc", b"behind"].concat();
        let mut directory = Directory::new(Cursor::new(&archive));
        let mut all = Vec::new();
        directory.read_to_end(&mut all).unwrap();
        assert_eq!(all, archive);
        assert_eq!(directory.seek(SeekFrom::Start(6)).unwrap(), 6);
        let mut found = [0; HEADER_BYTES];
        directory.read_exact(&mut found).unwrap();
        assert_eq!((found, directory.stream_position().unwrap()), (entry, 52));
        all.clear();
        directory.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"n\x55\x54\0\0ccbehind", "in the middle of an entry none begins");
        directory.seek(SeekFrom::End(-59)).unwrap();
        all.clear();
        directory.read_to_end(&mut all).unwrap();
        assert_eq!(all[HEADER_BYTES..], *b"n\xff\xff\0\0ccbehind");
    }
}
