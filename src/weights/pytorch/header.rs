//! The header of a safetensors file, read within a bound: which tensors there are, and where.
//!
//! Knows no architecture.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use safetensors::tensor::Metadata;

use super::error::Error;

/// Largest header accepted; that of the largest architecture has some tens of kilobytes.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Longest name from a file that a message repeats.
const MAX_NAME: usize = 80;

/// Bytes of the length that a file begins with.
const LENGTH_BYTES: u64 = 8;

/// A tensor in the file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// In the format's words, such as `F32`.
    pub(super) dtype: String,
    /// Where its bytes begin in the file.
    pub(super) start: u64,
}

/// Everything that a file says of its tensors.
pub(super) struct Header {
    tensors: Vec<Stored>,
}

impl Header {
    /// Opens `path` and reads its header; the tensors that it describes fill the file to its end.
    pub(super) fn read(path: &Path) -> Result<(File, Self), Error> {
        let mut file = File::open(path)?;
        let found = file.metadata()?.len();
        let mut start = Vec::new();
        file.by_ref().take(16).read_to_end(&mut start)?;
        let length = match start.first_chunk::<8>() {
            Some(length) if start.get(8) == Some(&b'{') => u64::from_le_bytes(*length),
            _ => return Err(Error::NotSafetensors { found: looks_like(&start) }),
        };
        if length > MAX_HEADER_BYTES {
            return Err(Error::HeaderLength { length, most: MAX_HEADER_BYTES });
        }
        file.seek(SeekFrom::Start(LENGTH_BYTES))?;
        let mut header = Vec::new();
        file.by_ref().take(length).read_to_end(&mut header)?;
        if (header.len() as u64) < length {
            return Err(Error::Length { expected: LENGTH_BYTES + length, found });
        }
        let metadata: Metadata = serde_json::from_slice(&header)?;
        let data = LENGTH_BYTES + length;
        let expected = data.saturating_add(metadata.data_len() as u64);
        if expected != found {
            return Err(Error::Length { expected, found });
        }
        let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| Stored {
            name,
            shape: info.shape.clone(),
            dtype: format!("{:?}", info.dtype),
            start: data + info.data_offsets.0 as u64,
        };
        Ok((file, Self { tensors: metadata.tensors().into_iter().map(stored).collect() }))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.tensors.iter().find(|stored| stored.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|stored| stored.name.as_str())
    }
}

/// The start of a name that may be of any length, without control characters.
pub(super) fn shortened(name: &str) -> String {
    let start: String = name.chars().take(MAX_NAME).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if start.len() < name.len() && start.chars().count() == MAX_NAME { format!("{start}…") } else { start }
}

/// What a file that is not safetensors seems to be.
fn looks_like(start: &[u8]) -> String {
    let hex: Vec<String> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    if start.is_empty() {
        "an empty file; download or copy it again".to_owned()
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80, 0x02]) {
        "a PyTorch checkpoint, whose pickle could run anything; write its tensors with \
         `safetensors.torch.save_file(torch.load(FILE, weights_only=True), \"x.safetensors\")`"
            .to_owned()
    } else if start.starts_with(b"\x89HDF\r\n\x1a\n") {
        "an HDF5 file; call it `.h5` if it holds Keras weights".to_owned()
    } else if start.starts_with(b"version ") {
        "a Git LFS pointer; run `git lfs pull` to get the file itself".to_owned()
    } else {
        format!("a file that starts with {}", hex.join(" "))
    }
}
