//! External data: tensors in a file beside the graph, so that sessions can share and map them.
//!
//! Locations in a model that somebody brought are untrusted: they may not lead out of its folder.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use super::{
    Error, Graph, LocationProblem, MAX_MODEL_BYTES,
    proto::{StringStringEntryProto, TensorProto},
    tensors::{self, EXTERNAL, byte_len, external_number},
};

/// Tensors at least this long start on a page, so that they can be mapped.
const LARGE: u64 = 1 << 20;
const PAGE: u64 = 4096;
const ALIGNMENT: u64 = 64;

/// A file of tensors in the making; offsets are multiples of 64, of 4096 for tensors of 1 MiB and more.
#[derive(Debug)]
pub struct ExternalData<W> {
    writer: W,
    location: String,
    length: u64,
}

/// A range of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl<W: Write> ExternalData<W> {
    /// Starts a file that graphs will call `location`, a file name without folders, such as `weights.bin`.
    pub fn new(writer: W, location: impl Into<String>) -> Self {
        Self { writer, location: location.into(), length: 0 }
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Flushes, and gives the writer and the number of bytes back.
    ///
    /// # Errors
    /// When flushing fails.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.writer.flush()?;
        Ok((self.writer, self.length))
    }

    /// Aligns, then lets `fill` write exactly `length` bytes.
    pub(super) fn append(&mut self, length: u64, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Span> {
        let alignment = if length >= LARGE { PAGE } else { ALIGNMENT };
        let offset = self.length.next_multiple_of(alignment);
        let padding = usize::try_from(offset - self.length).expect("padding is shorter than a page");
        self.writer.write_all(&[0; PAGE as usize][..padding])?;
        let mut counted = Counted { writer: &mut self.writer, written: 0 };
        fill(&mut counted)?;
        if counted.written != length {
            let message = format!("a tensor of {length} bytes was given {}", counted.written);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.length = offset + length;
        Ok(Span { offset, length })
    }

    /// Makes `tensor` refer to `span` of this file.
    pub(super) fn refer(&self, tensor: &mut TensorProto, span: Span) {
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        clear_data(tensor);
        tensor.data_location = Some(EXTERNAL);
        tensor.external_data = vec![
            entry("location", self.location.clone()),
            entry("offset", span.offset.to_string()),
            entry("length", span.length.to_string()),
        ];
    }
}

impl Graph {
    /// Moves initializers of at least `min_bytes` to `data`; all other tensors come into the graph itself.
    ///
    /// External data that the model already has are read from its folder, one tensor at a time.
    ///
    /// # Errors
    /// External data that are missing, too short or outside the model's folder; a write that fails.
    pub fn externalize<W: Write>(mut self, data: &mut ExternalData<W>, min_bytes: u64) -> Result<Self, Error> {
        let source = Source { dir: self.dir.take() };
        let mut initializers = std::mem::take(&mut self.body.initializer);
        let is_large = |tensor: &TensorProto| Ok(byte_len(tensor)?.is_some_and(|length| length >= min_bytes));
        let mut room = Room::left_by(&self);
        self.visit(&mut |tensor| source.bring_in(tensor, &mut room))?;
        for tensor in &mut initializers {
            if is_large(tensor)? {
                source.move_to(tensor, data)?;
            } else {
                source.bring_in(tensor, &mut room)?;
            }
        }
        self.body.initializer = initializers;
        Ok(self)
    }

    /// The same model as one file: external data are read from the files in `dir`.
    ///
    /// # Errors
    /// As [`Self::externalize`], and when the model would be larger than [`MAX_MODEL_BYTES`].
    pub fn inline(mut self, dir: &Path) -> Result<Self, Error> {
        let source = Source { dir: Some(dir.to_owned()) };
        let mut room = Room::left_by(&self);
        self.visit(&mut |tensor| source.bring_in(tensor, &mut room))?;
        self.dir = None;
        Ok(self)
    }
}

/// How large a model in one file has become.
struct Room(u64);

impl Room {
    fn left_by(graph: &Graph) -> Self {
        Self((graph.header.encoded_len() + graph.body.encoded_len()) as u64)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        // The slack covers the field's tag and length.
        self.0 = self.0.saturating_add(bytes).saturating_add(16);
        if self.0 > MAX_MODEL_BYTES { Err(Error::TooLarge { bytes: self.0 }) } else { Ok(()) }
    }
}

fn location_of(tensor: &TensorProto) -> &str {
    tensor.external_data.iter().find(|entry| entry.key() == "location").map_or("", |entry| entry.value())
}

fn clear_data(tensor: &mut TensorProto) {
    let TensorProto { name, dims, data_type, doc_string, metadata_props, .. } = std::mem::take(tensor);
    *tensor = TensorProto { name, dims, data_type, doc_string, metadata_props, ..Default::default() };
}

/// Where a model's own external data are.
struct Source {
    dir: Option<PathBuf>,
}

impl Source {
    /// Moves the data of `tensor` to the end of `data`; tensors that cannot be written as raw bytes stay.
    fn move_to<W: Write>(&self, tensor: &mut TensorProto, data: &mut ExternalData<W>) -> Result<(), Error> {
        let length = byte_len(tensor)?.unwrap_or(0);
        let span = if tensor.data_location() == EXTERNAL {
            let mut file = self.open(tensor, length)?;
            data.append(length, |out| io::copy(&mut file, out).map(drop))
        } else if let Some(raw) = tensors::raw(tensor) {
            data.append(raw.len() as u64, |out| out.write_all(&raw))
        } else {
            return Ok(());
        };
        data.refer(tensor, span.map_err(Error::Write)?);
        Ok(())
    }

    /// Reads the data of `tensor` into it when they lie in a file and there is room.
    fn bring_in(&self, tensor: &mut TensorProto, room: &mut Room) -> Result<(), Error> {
        if tensor.data_location() != EXTERNAL {
            return Ok(());
        }
        let length = byte_len(tensor)?.unwrap_or(0);
        room.take(length)?;
        let mut file = self.open(tensor, length)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let read = file.read_to_end(&mut bytes);
        let problem = match read {
            Ok(found) if found as u64 == length => {
                clear_data(tensor);
                tensor.raw_data = Some(Bytes::from(bytes));
                return Ok(());
            }
            Ok(found) => LocationProblem::TooShort { expected: length, found: found as u64 },
            Err(source) => LocationProblem::Io(source),
        };
        Err(external(tensor, problem))
    }

    /// The file of `tensor`'s data, at their start and ending at their end.
    fn open(&self, tensor: &TensorProto, length: u64) -> Result<io::Take<File>, Error> {
        let offset = external_number(tensor, "offset")?.unwrap_or(0);
        let open = || {
            let dir = self.dir.as_deref().ok_or(LocationProblem::NoFolder)?;
            let path = inside(dir, location_of(tensor))?;
            let found = fs::metadata(&path).map_err(LocationProblem::Io)?;
            if !found.is_file() {
                return Err(LocationProblem::NotAFile);
            }
            let expected = offset.saturating_add(length);
            if expected > found.len() {
                return Err(LocationProblem::TooShort { expected, found: found.len() });
            }
            let mut file = File::open(&path).map_err(LocationProblem::Io)?;
            file.seek(SeekFrom::Start(offset)).map_err(LocationProblem::Io)?;
            Ok(file.take(length))
        };
        open().map_err(|problem| external(tensor, problem))
    }
}

fn external(tensor: &TensorProto, source: LocationProblem) -> Error {
    Error::External { tensor: tensor.name().to_owned(), location: location_of(tensor).to_owned(), source }
}

/// The path of `location` in `dir`, links resolved, if it stays there.
fn inside(dir: &Path, location: &str) -> Result<PathBuf, LocationProblem> {
    let relative = Path::new(location);
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !relative.components().all(plain) {
        return Err(LocationProblem::Outside);
    }
    let dir = dir.canonicalize().map_err(LocationProblem::Io)?;
    let path = dir.join(relative).canonicalize().map_err(LocationProblem::Io)?;
    if path.starts_with(&dir) { Ok(path) } else { Err(LocationProblem::Outside) }
}

/// Counts what goes through.
struct Counted<'a, W> {
    writer: &'a mut W,
    written: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(buffer)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
