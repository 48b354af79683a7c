//! The file of a graph's external data, read so that what is used is what was checked.
//!
//! Nothing of it is ever mapped into memory: others may write the file, and a page of a mapped file that was cut off is a crash.
//! Knows spans of bytes and their sums; which sum the whole must have is the caller's to say.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use prost::Message;
use sha2::{Digest, Sha256};

use super::{
    Error, Graph, LocationProblem, MAX_MODEL_BYTES, Span,
    external::{Source, external},
    proto::TensorProto,
    tensors::byte_len,
};

/// Folder and file that external data are said to be in that come by another way.
///
/// ONNX Runtime wants the file to exist even where it is given the values; what it reads there all the same is an error.
pub const NOWHERE: (&str, &str) = ("/dev", "null");

/// Bytes that are read at once.
const STEP: usize = 1 << 20;

type Sum = [u8; 32];

/// The SHA-256 of every tensor's bytes in a file that was read as a whole.
pub type Sums = HashMap<Span, Sum>;

/// A file of external data that was read as a whole, open: who removes or replaces it changes nothing, and who writes into it is
/// found out.
#[derive(Debug, Clone)]
pub struct Weights {
    file: Arc<File>,
    sums: Arc<Sums>,
}

impl Weights {
    /// The file at `path`, which had these sums: what is read of it must have them still.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, sums: Arc<Sums>) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?.into(), sums })
    }

    /// Reads all of `file` once and gives its SHA-256, and that of every tensor of `graph` in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sums(mut file: &File, graph: &Graph) -> io::Result<(Sum, Sums)> {
        let spans = graph.initializers().filter_map(|initializer| initializer.external);
        // By their start; those that have begun and not ended follow the reading.
        let mut waiting: BTreeMap<(u64, u64), Span> = spans.map(|span| ((span.offset, span.length), span)).collect();
        let mut open: Vec<(Span, Sha256)> = Vec::new();
        let (mut whole, mut sums, mut at) = (Sha256::new(), Sums::new(), 0);
        let mut buffer = vec![0; STEP];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            whole.update(&buffer[..read]);
            let end = at + read as u64;
            while let Some(first) = waiting.first_entry().filter(|first| first.key().0 < end) {
                open.push((first.remove(), Sha256::new()));
            }
            open.retain_mut(|(span, sum)| {
                let (first, last) = (span.offset.max(at), (span.offset.saturating_add(span.length)).min(end));
                if first < last {
                    sum.update(&buffer[(first - at) as usize..(last - at) as usize]);
                }
                let whole = span.offset.saturating_add(span.length) <= end;
                if whole {
                    sums.insert(*span, sum.clone().finalize().into());
                }
                !whole
            });
            at = end;
        }
        Ok((whole.finalize().into(), sums))
    }

    /// The bytes at `span`, of which the last are an error where any is not as it was.
    pub(super) fn read(&self, span: Span) -> Checked<'_> {
        Checked { weights: self, span, at: 0, sum: Sha256::new() }
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }
}

/// Says that the data of `tensor` are [`NOWHERE`], where they are external.
fn point_nowhere(tensor: &mut TensorProto) {
    for entry in tensor.external_data.iter_mut().filter(|entry| entry.key() == "location") {
        entry.value = Some(NOWHERE.1.to_owned());
    }
}

/// A reader of a tensor's bytes.
pub(super) struct Checked<'a> {
    weights: &'a Weights,
    span: Span,
    at: u64,
    sum: Sha256,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = (self.span.length - self.at).min(buffer.len() as u64) as usize;
        let read = self.weights.file.read_at(&mut buffer[..wanted], self.span.offset + self.at)?;
        if read == 0 {
            return Ok(0);
        }
        self.sum.update(&buffer[..read]);
        self.at += read as u64;
        let expected = self.weights.sums.get(&self.span);
        if self.at == self.span.length && expected.is_none_or(|sum| *sum != <Sum>::from(self.sum.clone().finalize())) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was changed after it was checked"));
        }
        Ok(read)
    }
}

/// How large a model in one file has become.
pub(super) struct Room(pub(super) u64);

impl Room {
    pub(super) fn left_by(graph: &Graph) -> Self {
        Self((graph.header.encoded_len() + graph.body.encoded_len()) as u64)
    }

    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Error> {
        // The slack covers the field's tag and length.
        self.0 = self.0.saturating_add(bytes).saturating_add(16);
        if self.0 > MAX_MODEL_BYTES { Err(Error::TooLarge { bytes: self.0 }) } else { Ok(()) }
    }
}

/// A model's folder, and where its one file of data was checked, that file.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) weights: Option<Weights>,
}

impl Folder {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), weights: None }
    }
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Graph {
    /// The model, whose external data are in the files of the folder `dir`.
    pub fn beside(mut self, dir: &Path) -> Self {
        self.dir = Some(Folder::of(dir));
        self
    }

    /// The model, all of whose external data are in `weights`.
    pub fn with_checked(mut self, weights: Weights) -> Self {
        let path = self.dir.take().map(|dir| dir.path).unwrap_or_default();
        self.dir = Some(Folder { path, weights: Some(weights) });
        self
    }

    /// The model with its external data in it, but for initializers that `lent` says come by another way: these point [`NOWHERE`].
    ///
    /// # Errors
    /// As [`Self::inline`].
    pub fn in_memory(mut self, lent: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let source = Source { dir: self.dir.clone() };
        let mut room = Room::left_by(&self);
        let mut initializers = std::mem::take(&mut self.body.initializer);
        for tensor in &mut initializers {
            if lent(tensor.name()) {
                point_nowhere(tensor);
            } else {
                source.bring_in(tensor, &mut room)?;
            }
        }
        self.visit(&mut |tensor| source.bring_in(tensor, &mut room))?;
        self.body.initializer = initializers;
        Ok(self)
    }

    /// The bytes of the initializer `name`, to be read; they are as they should be once the last has been read.
    ///
    /// # Errors
    /// No such initializer, or data that cannot be opened.
    pub fn read_initializer(&self, name: &str, mut read: impl FnMut(&mut dyn Read) -> io::Result<()>) -> Result<(), Error> {
        let tensor = self.initializer(name)?;
        let source = Source { dir: self.dir.clone() };
        let mut data = source.open(tensor, byte_len(tensor)?.unwrap_or(0))?;
        read(&mut data).map_err(|error| external(tensor, LocationProblem::Io(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use super::*;
    use crate::graph::{
        ExternalData,
        fixture::{classifier, model, zeros},
    };

    /// A graph whose tensors of 24 bytes and more lie in the file beside it.
    fn split(dir: &Path) -> (Graph, PathBuf) {
        let mut body = classifier();
        body.initializer.push(zeros("large", &[512, 1024]));
        body.initializer.push(zeros("small", &[3, 5]));
        let graph = Graph::parse(model(body).encode_to_vec().into()).expect("a valid model");
        let path = dir.join("weights.bin");
        let mut data = ExternalData::new(fs::File::create(&path).expect("a file"), "weights.bin");
        let graph = graph.externalize(&mut data, 24).expect("a file takes everything");
        data.finish().expect("written");
        (graph, path)
    }

    #[test]
    fn what_is_used_is_what_was_checked() {
        let dir = tempfile::tempdir().expect("a folder");
        let (graph, path) = split(dir.path());
        let (whole, sums) = Weights::sums(&File::open(&path).expect("a file"), &graph).expect("readable");
        assert_eq!(whole, <Sum>::from(Sha256::digest(fs::read(&path).expect("readable"))));
        let weights = Weights::open(&path, sums.into()).expect("a file");
        let graph = graph.with_checked(weights);
        let lent = |name: &str| name == "large";
        let with = graph.clone().in_memory(lent).expect("nothing has changed");
        assert!(with.initializers().all(|tensor| tensor.external.is_some() == lent(tensor.name)));

        let large = graph.initializers().find(|tensor| tensor.name == "large").and_then(|tensor| tensor.external);
        let large = large.expect("it lies in the file");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("writable");
        file.write_all_at(&[1], large.offset + 12345).expect("written");
        assert!(graph.clone().in_memory(lent).is_ok(), "the others are as they were");
        let error = graph.clone().in_memory(|_| false).expect_err("one byte has changed");
        let mut causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        assert!(causes.any(|cause| cause.to_string().contains("changed after")), "{error}");

        fs::remove_file(&path).expect("removed");
        assert!(graph.clone().in_memory(lent).is_ok(), "who has it open can still read it");
        file.set_len(large.offset).expect("cut off");
        assert!(graph.stored("large").is_err(), "an error, and no signal");
    }
}
