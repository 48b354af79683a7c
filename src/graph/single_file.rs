//! A model as one file, read piece by piece: external data flow from their files and are never all in memory.
//!
//! Protobuf lets fields come in any order, so the weights go last, each behind a header whose length is known before.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use prost::Message;

use super::{
    Error, Graph, LocationProblem,
    external::{Source, clear_data, external},
    proto::TensorProto,
    tensors::{EXTERNAL, byte_len, external_number},
    weights::{Room, Weights},
};

/// Keys of length-delimited fields: number and wire type 2.
const MODEL_GRAPH: u8 = 7 << 3 | 2;
const GRAPH_INITIALIZER: u8 = 5 << 3 | 2;
const TENSOR_RAW_DATA: u8 = 9 << 3 | 2;

/// The bytes of an `.onnx` file without external data; its files stay open, so that it can be read to its end.
#[derive(Debug)]
pub struct SingleFile {
    pieces: std::vec::IntoIter<Piece>,
    current: Piece,
    length: u64,
}

/// Bytes in memory, then bytes of a file.
#[derive(Debug, Default)]
struct Piece {
    head: io::Cursor<Vec<u8>>,
    data: Option<Data>,
}

#[derive(Debug)]
struct Data {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Graph {
    /// The model as one file, to be read; external data are taken from the folder that it was read from.
    ///
    /// # Errors
    /// External data that are missing, too short or outside the folder; [`Error::TooLarge`] beyond what one file holds.
    pub fn into_single_file(mut self) -> Result<SingleFile, Error> {
        let source = Source { dir: self.dir.take() };
        let initializers = std::mem::take(&mut self.body.initializer);
        let mut room = Room::left_by(&self);
        self.visit(&mut |tensor| source.bring_in(tensor, &mut room))?;
        let mut files = HashMap::new();
        let mut pieces = Vec::with_capacity(initializers.len() + 1);
        let mut weights = 0;
        for tensor in initializers {
            let piece = initializer(tensor, &source, &mut files)?;
            room.take(piece.length())?;
            weights += piece.length();
            pieces.push(piece);
        }
        let rest = self.body.encode_to_vec();
        let mut head = self.header.encode_to_vec();
        field(&mut head, MODEL_GRAPH, rest.len() as u64 + weights);
        head.extend(rest);
        let first = Piece { head: io::Cursor::new(head), data: None };
        let length = first.length() + weights;
        Ok(SingleFile { pieces: pieces.into_iter(), current: first, length })
    }
}

impl SingleFile {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Read for SingleFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.next() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
    }
}

impl Piece {
    fn length(&self) -> u64 {
        self.head.get_ref().len() as u64 + self.data.as_ref().map_or(0, |data| data.left)
    }
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(buffer)?;
        let Some(data) = self.data.as_mut().filter(|data| read == 0 && data.left > 0) else { return Ok(read) };
        let wanted = buffer.len().min(usize::try_from(data.left).unwrap_or(usize::MAX));
        let read = data.file.read_at(&mut buffer[..wanted], data.offset)?;
        if read == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a weight file became shorter while it was read"));
        }
        data.offset += read as u64;
        data.left -= read as u64;
        Ok(read)
    }
}

/// An initializer of the graph: its message up to its data, and where those are.
fn initializer(mut tensor: TensorProto, source: &Source, files: &mut HashMap<PathBuf, Arc<File>>) -> Result<Piece, Error> {
    let mut head = Vec::new();
    if tensor.data_location() != EXTERNAL {
        field(&mut head, GRAPH_INITIALIZER, tensor.encoded_len() as u64);
        head.extend(tensor.encode_to_vec());
        return Ok(Piece { head: io::Cursor::new(head), data: None });
    }
    let length = byte_len(&tensor)?.unwrap_or(0);
    let checked = source.weights().map(Weights::file);
    let (path, offset) = match checked {
        Some(_) => (PathBuf::new(), external_number(&tensor, "offset")?.unwrap_or(0)),
        None => source.locate(&tensor, length)?,
    };
    let file = match checked.or(files.get(&path)) {
        Some(file) => Arc::clone(file),
        None => {
            let file = File::open(&path).map_err(|error| external(&tensor, LocationProblem::Io(error)))?;
            Arc::clone(files.entry(path).or_insert(Arc::new(file)))
        }
    };
    clear_data(&mut tensor);
    let mut message = tensor.encode_to_vec();
    field(&mut message, TENSOR_RAW_DATA, length);
    field(&mut head, GRAPH_INITIALIZER, message.len() as u64 + length);
    head.extend(message);
    Ok(Piece { head: io::Cursor::new(head), data: Some(Data { file, offset, left: length }) })
}

/// Appends the key and the length of a field.
fn field(bytes: &mut Vec<u8>, key: u8, length: u64) {
    bytes.push(key);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    prost::encode_length_delimiter(length, bytes).expect("a vector takes everything");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::graph::{
        ExternalData,
        fixture::{classifier, model, node, tensor, zeros},
    };

    /// Reads at most three bytes at a time.
    fn read(mut file: SingleFile) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 3]);
        loop {
            let read = file.read(&mut buffer).expect("the files are there");
            if read == 0 {
                return bytes;
            }
            bytes.extend_from_slice(&buffer[..read]);
        }
    }

    #[test]
    fn one_file_holds_the_same_model_as_two() {
        let mut body = classifier();
        let mut constant = node("Constant", "", "kept");
        constant.attribute.push(tensor("value", zeros("", &[2])));
        body.node.insert(0, constant);
        let graph = Graph::parse(model(body).encode_to_vec().into()).expect("a valid model");
        let dir = tempfile::tempdir().expect("a folder");
        for min_bytes in [1, 25, 1000] {
            let mut data = ExternalData::new(Vec::new(), "weights.bin");
            let outside = graph.clone().externalize(&mut data, min_bytes).expect("a vector takes everything");
            fs::write(dir.path().join("weights.bin"), data.finish().expect("no flush").0).expect("a file");
            fs::write(dir.path().join("graph.onnx"), outside.to_bytes()).expect("a file");
            let file = || Graph::read(&dir.path().join("graph.onnx")).expect("what was written").into_single_file();
            let inside = outside.inline(dir.path()).expect("the data are there");
            let opened = file().expect("the data are there");
            let length = opened.length();
            // Files that are open can be read after the version is removed.
            fs::remove_file(dir.path().join("weights.bin")).expect("it is there");
            let bytes = read(opened);
            assert_eq!(bytes.len() as u64, length);
            assert_eq!(Graph::parse(bytes.into()).expect("one model"), inside, "{min_bytes}");
            assert_eq!(file().is_ok(), min_bytes == 1000, "missing data are found before the first byte");
        }
    }

    #[test]
    fn data_that_vanish_are_an_error_and_not_an_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let graph = Graph::parse(model(classifier()).encode_to_vec().into()).expect("a valid model");
        let mut data = ExternalData::new(Vec::new(), "weights.bin");
        let outside = graph.externalize(&mut data, 1).expect("a vector takes everything");
        fs::write(dir.path().join("weights.bin"), data.finish().expect("no flush").0).expect("a file");
        fs::write(dir.path().join("graph.onnx"), outside.to_bytes()).expect("a file");
        let graph = Graph::read(&dir.path().join("graph.onnx")).expect("what was written");
        let mut file = graph.into_single_file().expect("the data are there");
        fs::OpenOptions::new().write(true).truncate(true).open(dir.path().join("weights.bin")).expect("it is there");
        let error = file.read_to_end(&mut Vec::new()).expect_err("the data are gone");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
