//! External data: tensors in a file beside the graph, so that each can be read by itself and lent to several sessions.
//!
//! Locations in a model that somebody brought are untrusted: they may not lead out of its folder.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;

use super::{
    Error, Graph, LocationProblem,
    proto::{StringStringEntryProto, TensorProto},
    tensors::{self, EXTERNAL, byte_len, external_number},
    weights::{Folder, Room, Weights},
};

/// Tensors at least this long start on a page, so that other programs can map them.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Moves initializers and constants of at least `min_bytes` to `data`; all other tensors come into the graph itself.
    ///
    /// External data that the model already has are read from its folder, one tensor at a time.
    ///
    /// # Errors
    /// External data that are missing, too short or outside the model's folder; a write that fails.
    pub fn externalize<W: Write>(mut self, data: &mut ExternalData<W>, min_bytes: u64) -> Result<Self, Error> {
        self.lift_constants(min_bytes)?;
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
        self.visit(&mut |tensor| {
            detach(tensor);
            Ok(())
        })?;
        Ok(self)
    }

    /// The same model as one file: external data are read from the files in `dir`.
    ///
    /// # Errors
    /// As [`Self::externalize`], and when the model would be larger than one file can be.
    pub fn inline(mut self, dir: &Path) -> Result<Self, Error> {
        let source = Source { dir: Some(Folder::of(dir)) };
        let mut room = Room::left_by(&self);
        self.visit(&mut |tensor| source.bring_in(tensor, &mut room))?;
        self.dir = None;
        Ok(self)
    }
}

/// Reads the data of `tensor`, which lie in a file in `dir`, into it.
pub(super) fn bring_in(dir: Option<&Folder>, tensor: &mut TensorProto) -> Result<(), Error> {
    Source { dir: dir.cloned() }.bring_in(tensor, &mut Room(0))
}

pub(super) fn location_of(tensor: &TensorProto) -> &str {
    tensor.external_data.iter().find(|entry| entry.key() == "location").map_or("", |entry| entry.value())
}

pub(super) fn clear_data(tensor: &mut TensorProto) {
    let TensorProto { name, dims, data_type, doc_string, metadata_props, .. } = std::mem::take(tensor);
    *tensor = TensorProto { name, dims, data_type, doc_string, metadata_props, ..Default::default() };
}

/// Copies the data of `tensor`, which otherwise keep the whole file that they were read from in memory.
fn detach(tensor: &mut TensorProto) {
    if let Some(raw) = &mut tensor.raw_data {
        *raw = Bytes::copy_from_slice(raw);
    }
}

/// Where a model's own external data are.
pub(super) struct Source {
    pub(super) dir: Option<Folder>,
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
    pub(super) fn bring_in(&self, tensor: &mut TensorProto, room: &mut Room) -> Result<(), Error> {
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
    pub(super) fn open(&self, tensor: &TensorProto, length: u64) -> Result<Box<dyn Read + '_>, Error> {
        if let Some(weights) = self.weights() {
            let offset = external_number(tensor, "offset")?.unwrap_or(0);
            return Ok(Box::new(weights.read(Span { offset, length })));
        }
        let (path, offset) = self.locate(tensor, length)?;
        let open = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file.take(length)) as Box<dyn Read>)
        };
        open().map_err(|source| external(tensor, LocationProblem::Io(source)))
    }

    /// The file in which all data are, where it was checked.
    pub(super) fn weights(&self) -> Option<&Weights> {
        self.dir.as_ref()?.weights.as_ref()
    }

    /// The file that has the `length` bytes of `tensor`'s data, and where they start.
    pub(super) fn locate(&self, tensor: &TensorProto, length: u64) -> Result<(PathBuf, u64), Error> {
        let offset = external_number(tensor, "offset")?.unwrap_or(0);
        let locate = || {
            let dir = &self.dir.as_ref().ok_or(LocationProblem::NoFolder)?.path;
            let path = inside(dir, location_of(tensor))?;
            let found = fs::metadata(&path).map_err(LocationProblem::Io)?;
            if !found.is_file() {
                return Err(LocationProblem::NotAFile);
            }
            let expected = offset.saturating_add(length);
            if expected > found.len() {
                return Err(LocationProblem::TooShort { expected, found: found.len() });
            }
            Ok((path, offset))
        };
        locate().map_err(|problem| external(tensor, problem))
    }
}

pub(super) fn external(tensor: &TensorProto, source: LocationProblem) -> Error {
    Error::External { tensor: tensor.name().to_owned(), location: location_of(tensor).to_owned(), source }
}

/// The path of `location` in `dir`, links resolved, if it stays there.
pub(super) fn inside(dir: &Path, location: &str) -> Result<PathBuf, LocationProblem> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use prost::Message;

    use super::{ExternalData, Graph, LocationProblem, Span};
    use crate::graph::{
        Error,
        fixture::{classifier, model, node, tensor, zeros},
        proto::{StringStringEntryProto, TensorProto},
    };

    fn entries(location: &str, offset: &str, length: &str) -> Vec<StringStringEntryProto> {
        let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) };
        vec![entry("location", location), entry("offset", offset), entry("length", length)]
    }

    #[test]
    fn large_tensors_move_out_and_back() {
        let mut body = classifier();
        body.initializer.push(TensorProto { float_data: vec![1.5; 300], raw_data: None, ..zeros("typed", &[300]) });
        body.initializer.push(zeros("mappable", &[512, 512]));
        let mut constant = node("Constant", "", "lifted");
        constant.attribute.push(tensor("value", zeros("", &[20])));
        body.node.insert(0, constant);
        let graph = Graph::parse(model(body).encode_to_vec().into()).expect("a valid model");

        let mut data = ExternalData::new(Vec::new(), "weights.bin");
        let outside = graph.externalize(&mut data, 32).expect("a vector takes everything");
        let spans: Vec<_> =
            outside.initializers().filter_map(|tensor| Some((tensor.name.to_owned(), tensor.external?))).collect();
        let span = |name: &str, offset, length| (name.to_owned(), Span { offset, length });
        assert_eq!(
            spans,
            [span("w2", 0, 32), span("typed", 64, 1200), span("mappable", 4096, 1 << 20), span("lifted", 4096 + (1 << 20), 80)]
        );
        assert!(outside.initializer_data("w1").is_some_and(|data| data.len() == 24), "small tensors stay");
        assert_eq!(outside.initializer_data("w2"), None);
        let stays = outside.body.initializer.iter().filter_map(|tensor| tensor.raw_data.as_ref());
        assert!(stays.clone().count() == 2 && stays.clone().all(bytes::Bytes::is_unique), "nothing holds the file that was read");

        let dir = tempfile::tempdir().expect("a folder");
        let (bytes, length) = data.finish().expect("a vector needs no flush");
        assert_eq!(bytes.len() as u64, length);
        fs::write(dir.path().join("weights.bin"), bytes).expect("a file");
        fs::write(dir.path().join("graph.onnx"), outside.to_bytes()).expect("a file");
        let read = Graph::read(&dir.path().join("graph.onnx")).expect("what was written");
        let inside = read.clone().inline(dir.path()).expect("the data are there");
        assert_eq!(inside.initializer_data("typed").as_deref(), Some(1.5_f32.to_le_bytes().repeat(300).as_slice()));
        assert_eq!(inside.initializers().map(|tensor| tensor.bytes).sum::<u64>(), 24 + 32 + 20 + 1200 + (1 << 20) + 80);
        assert!(inside.initializers().all(|tensor| tensor.external.is_none()));

        let mut again = ExternalData::new(Vec::new(), "weights.bin");
        assert_eq!(read.externalize(&mut again, 32).expect("the model's own file").to_bytes(), outside.to_bytes());
    }

    #[test]
    fn locations_stay_in_the_models_folder() {
        let outer = tempfile::tempdir().expect("a folder");
        let dir = outer.path().join("model");
        fs::create_dir_all(dir.join("sub")).expect("a folder");
        for name in ["secret.bin", "model/weights.bin", "model/sub/weights.bin"] {
            fs::write(outer.path().join(name), [7; 40]).expect("a file");
        }
        std::os::unix::fs::symlink(outer.path().join("secret.bin"), dir.join("link.bin")).expect("a link");
        let check = |location: &str, offset: &str, expected: &str| {
            let mut body = classifier();
            body.initializer[0].raw_data = None;
            body.initializer[0].data_location = Some(1);
            body.initializer[0].external_data = entries(location, offset, "24");
            fs::write(dir.join("graph.onnx"), model(body).encode_to_vec()).expect("a file");
            let graph = Graph::read(&dir.join("graph.onnx")).expect("a valid graph");
            for min_bytes in [1, 1000] {
                let mut data = ExternalData::new(Vec::new(), "weights.bin");
                let moved = graph.clone().externalize(&mut data, min_bytes);
                let found = match moved {
                    Ok(_) => "fine",
                    Err(Error::External { source: LocationProblem::Outside, .. }) => "outside",
                    Err(Error::External { source: LocationProblem::NotAFile, .. }) => "no file",
                    Err(Error::External { source: LocationProblem::TooShort { .. }, .. }) => "short",
                    Err(Error::External { source: LocationProblem::Io(_), .. }) => "missing",
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(found, expected, "{location} at {offset}, {min_bytes}");
            }
        };
        let absolute = outer.path().join("secret.bin");
        check("weights.bin", "16", "fine");
        check("sub/weights.bin", "0", "fine");
        check("./weights.bin", "0", "fine");
        check("weights.bin", "17", "short");
        check("weights.bin", "18446744073709551615", "short");
        check("../secret.bin", "0", "outside");
        check("sub/../weights.bin", "0", "outside");
        check("link.bin", "0", "outside");
        check(&absolute.display().to_string(), "0", "outside");
        check("", "0", "outside");
        check("sub", "0", "no file");
        check("absent.bin", "0", "missing");
    }

    #[test]
    fn a_model_without_a_folder_has_no_external_data() {
        let mut body = classifier();
        body.initializer[0].raw_data = None;
        body.initializer[0].data_location = Some(1);
        body.initializer[0].external_data = entries("weights.bin", "0", "24");
        let graph = Graph::parse(model(body.clone()).encode_to_vec().into()).expect("a valid graph");
        let error = graph.externalize(&mut ExternalData::new(Vec::new(), "weights.bin"), 1).expect_err("no folder");
        assert!(matches!(error, Error::External { source: LocationProblem::NoFolder, .. }), "{error}");

        body.initializer[0].external_data = entries("weights.bin", "-1", "24");
        let parsed = Graph::parse(model(body.clone()).encode_to_vec().into());
        let graph = parsed.expect("offsets are read when they are needed");
        assert!(matches!(graph.inline(".".as_ref()), Err(Error::Tensor { .. })));

        body.initializer[0].external_data = entries("weights.bin", "0", "23");
        assert!(Graph::parse(model(body).encode_to_vec().into()).is_err(), "a length that does not fit the shape");
    }
}
