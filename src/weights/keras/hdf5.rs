//! The HDF5 reader behind a guard: errors name the object, damage never panics, and little is held in memory.

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem, group::Group, superblock::HDF5_MAGIC};

use super::error::Error;

/// Bytes decoded at once; a tensor is read in slices of about this size.
const SLICE_BYTES: usize = 16 << 20;

/// Largest chunk and largest object header accepted; what Keras and h5py write is far smaller.
const MAX_CHUNK_BYTES: usize = 256 << 20;
const MAX_HEADER_BYTES: usize = 16 << 20;

/// An open HDF5 file.
pub(super) struct Hdf5 {
    file: Hdf5File,
}

/// A tensor in the file, whose header has been read.
pub(super) struct Stored {
    /// Path in the file.
    pub(super) path: String,
    /// Dimensions, outermost first.
    pub(super) shape: Vec<u64>,
    /// What its elements are, in numpy's words.
    pub(super) dtype: String,
    dataset: Dataset,
}

impl Hdf5 {
    /// Opens `path`, which must be a whole HDF5 file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut head = Vec::new();
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        file.take(512).read_to_end(&mut head)?;
        if !head.starts_with(&HDF5_MAGIC) {
            return Err(Error::NotHdf5 { found: looks_like(&head) });
        }
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(2 * SLICE_BYTES)
            .with_max_chunk_bytes(MAX_CHUNK_BYTES)
            .with_max_object_header_bytes(MAX_HEADER_BYTES);
        let file = guard("the superblock", || Hdf5File::open_with_options(path, options))?;
        let expected = file.superblock().eof_address;
        if expected != u64::MAX && expected > length {
            return Err(Error::Truncated { expected, found: length });
        }
        Ok(Self { file })
    }

    /// Names of a group's groups and datasets.
    pub(super) fn members(&self, path: &str) -> Result<(Vec<String>, Vec<String>), Error> {
        let group = self.group(path)?;
        guard(path, || group.member_names())
    }

    /// A list of strings that Keras keeps in a group's attribute: in one piece, or as `name0`, `name1`, …
    /// where it would be too long; `None` where there is neither.
    pub(super) fn strings(&self, path: &str, name: &str) -> Result<Option<Vec<String>>, Error> {
        let group = self.group(path)?;
        let attributes = guard(path, || group.attributes())?;
        let read = |name: &str| -> Result<Option<Vec<String>>, Error> {
            let Some(attribute) = attributes.iter().find(|attribute| attribute.name == name) else { return Ok(None) };
            let at = format!("{path} (attribute `{name}`)");
            // An empty list is stored as no float64s.
            if guard(&at, || attribute.num_elements())? == 0 {
                return Ok(Some(Vec::new()));
            }
            guard(&at, || attribute.read_strings()).map(Some)
        };
        if let Some(whole) = read(name)? {
            return Ok(Some(whole));
        }
        let mut pieces = None;
        for piece in 0.. {
            match read(&format!("{name}{piece}"))? {
                Some(strings) => pieces.get_or_insert_with(Vec::new).extend(strings),
                None => break,
            }
        }
        Ok(pieces)
    }

    /// The header of a tensor.
    pub(super) fn tensor(&self, path: &str) -> Result<Stored, Error> {
        let dataset = guard(path, || self.file.dataset(path)).map_err(missing)?;
        Ok(Stored { path: path.to_owned(), shape: dataset.shape().to_vec(), dtype: type_name(dataset.dtype()), dataset })
    }

    fn group(&self, path: &str) -> Result<Group, Error> {
        guard(path, || self.file.group(path)).map_err(missing)
    }
}

impl Stored {
    /// All elements in C order; `elements` is what [`Self::shape`] has been checked to hold.
    pub(super) fn read(&self, elements: usize) -> Result<Vec<f32>, Error> {
        let mut data = Vec::with_capacity(elements);
        let Some((&rows, inner)) = self.shape.split_first() else { return Ok(data) };
        let row_bytes = inner.iter().product::<u64>().saturating_mul(4).max(1);
        let rows_at_once = (SLICE_BYTES as u64 / row_bytes).max(1);
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + rows_at_once);
            let mut selection = SliceInfo::all(self.shape.len());
            selection.selections[0] = SliceInfoElem::Slice { start, end, step: 1 };
            let slice = guard(&self.path, || self.dataset.read_slice::<f32>(&selection))?;
            match slice.as_slice() {
                Some(contiguous) => data.extend_from_slice(contiguous),
                None => data.extend(slice.iter()),
            }
            start = end;
        }
        Ok(data)
    }
}

/// Runs the reader; a panic of it on damaged input becomes an error.
fn guard<T>(at: &str, read: impl FnOnce() -> hdf5_reader::error::Result<T>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Hdf5 { at: at.to_owned(), source }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Error::Damaged { at: at.to_owned(), reason: text.unwrap_or("the reader panicked").to_owned() })
        }
    }
}

/// "Not found" as the reader says it, as our own.
fn missing(error: Error) -> Error {
    use hdf5_reader::error::Error as Hdf5Error;
    let Error::Hdf5 { at, source } = error else { return error };
    let mut cause = &source;
    while let Hdf5Error::Context { source, .. } = cause {
        cause = source;
    }
    match cause {
        Hdf5Error::GroupNotFound(_) | Hdf5Error::DatasetNotFound(_) => Error::Missing { path: at, for_layer: None },
        _ => Error::Hdf5 { at, source },
    }
}

fn type_name(datatype: &Datatype) -> String {
    match datatype {
        Datatype::FloatingPoint { size, .. } => format!("float{}", u32::from(*size) * 8),
        Datatype::FixedPoint { size, signed: true, .. } => format!("int{}", u32::from(*size) * 8),
        Datatype::FixedPoint { size, signed: false, .. } => format!("uint{}", u32::from(*size) * 8),
        Datatype::String { .. } => "strings".to_owned(),
        _ => "another type".to_owned(),
    }
}

/// What a file that is not HDF5 seems to be.
fn looks_like(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    let start: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if head.is_empty() {
        "an empty file; download or copy it again".to_owned()
    } else if head.starts_with(b"PK\x03\x04") {
        "a zip archive, such as a `.keras` file; load it in Keras and write `model.save_weights(\"x.weights.h5\")`".to_owned()
    } else if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        "an HTML or XML page, such as a login or an error page; download the file itself".to_owned()
    } else if text.starts_with("version https://git-lfs") {
        "a Git LFS pointer; run `git lfs pull` to get the file itself".to_owned()
    } else if head.starts_with(&[0x1f, 0x8b]) {
        "gzip data; unpack it first".to_owned()
    } else if let [0x08, 1..=0x20, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] = head {
        // An ONNX file begins with its format's version and the tag of another field of `ModelProto`.
        "what may be an ONNX model; import it with `graft import FILE.onnx --name NAME`".to_owned()
    } else {
        format!("a file that starts with {}", start.join(" "))
    }
}
