//! The first directory of a TIFF or BigTIFF: tags as numbers, read where they lie.
//!
//! Nothing is allocated for a tag, and none reaches beyond the file; knows no pixels.

use super::refuse;
use crate::preprocess::ImageError;

/// The entries of the first directory.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    entries: &'a [u8],
    /// Whether numbers have their low byte first.
    pub little: bool,
    big: bool,
}

impl<'a> Directory<'a> {
    /// The first directory of `bytes`, whose signature has been checked.
    pub fn first(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let little = bytes.starts_with(b"II");
        let big = bytes.get(2..4).is_some_and(|version| version.contains(&43));
        let mut directory = Self { bytes, entries: &[], little, big };
        directory.entries = directory.find().ok_or_else(|| refuse("its directory is cut short"))?;
        Ok(directory)
    }

    fn find(&self) -> Option<&'a [u8]> {
        let word = if self.big { 8 } else { 4 };
        let rest = self.bytes.get(usize::try_from(self.number(self.bytes.get(word..2 * word)?)).ok()?..)?;
        let (count, rest) = rest.split_at_checked(if self.big { 8 } else { 2 })?;
        rest.get(..usize::try_from(self.number(count)).ok()?.checked_mul(self.entry())?)
    }

    fn entry(&self) -> usize {
        if self.big { 20 } else { 12 }
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.little { bytes.iter().rev().fold(0, append) } else { bytes.iter().fold(0, append) }
    }

    /// The values of `tag`; none when it is missing.
    pub fn values(&self, tag: u16) -> Result<Values<'a>, ImageError> {
        let entries = self.entries.chunks_exact(self.entry());
        let Some(entry) = entries.rev().find(|entry| self.number(&entry[..2]) == u64::from(tag)) else {
            return Ok(Values { directory: *self, data: &[], size: 1 });
        };
        let size = match self.number(&entry[2..4]) {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 13 => 4,
            16..=18 => 8,
            kind => return Err(refuse(format!("tag {tag} is of kind {kind}, which is no whole number"))),
        };
        let (count, value) = entry[4..].split_at((self.entry() - 4) / 2);
        let length = usize::try_from(self.number(count)).ok().and_then(|count| count.checked_mul(size));
        let data = length.and_then(|length| {
            let start = if length <= value.len() { return value.get(..length) } else { self.number(value) };
            self.bytes.get(usize::try_from(start).ok()?..)?.get(..length)
        });
        let data = data.ok_or_else(|| refuse(format!("tag {tag} lies outside of the file")))?;
        Ok(Values { directory: *self, data, size })
    }

    /// The first value of `tag`, or `default`.
    pub fn value(&self, tag: u16, default: u32) -> Result<u32, ImageError> {
        let value = self.values(tag)?.iter().next().unwrap_or(default.into());
        u32::try_from(value).map_err(|_| refuse(format!("tag {tag} is {value}")))
    }
}

/// The values of one tag.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    directory: Directory<'a>,
    /// As they are stored.
    pub data: &'a [u8],
    size: usize,
}

impl<'a> Values<'a> {
    /// Each as a number without sign.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let directory = self.directory;
        self.data.chunks_exact(self.size).map(move |value| directory.number(value))
    }

    /// The one at `index`.
    pub fn get(&self, index: usize) -> Option<u64> {
        let value = self.data.get(index.checked_mul(self.size)?..)?.get(..self.size)?;
        Some(self.directory.number(value))
    }
}
