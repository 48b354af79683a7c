//! Checkpoints of a run: a state and named tensors, on disk whole or not at all, in the safetensors format.
//!
//! Knows neither what the tensors are nor what the state means; keeps the newest checkpoint and removes the others.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    message::ServerPath,
    registry::make_folder,
    tensor::{Dtype as Width, Tensor, little_endian},
};

const ENDING: &str = "safetensors";
/// Key of the file's metadata that holds the state as JSON.
const STATE: &str = "state";

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read or written.
    #[error("cannot {verb} {path}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file or folder.
        path: ServerPath,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A tensor holds NaN or infinity: nothing could go on from it.
    #[error("`{tensor}` holds NaN or infinity; a lower learning rate may help")]
    NotFinite {
        /// Its name.
        tensor: String,
    },
    /// The file is no checkpoint, or its state is that of another graft.
    #[error("{path} is not a checkpoint of this version of graft: {reason}")]
    Foreign {
        /// The file.
        path: ServerPath,
        /// What is wrong with it.
        reason: String,
    },
}

/// A state and named tensors, as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint<S> {
    /// Where the run was.
    pub state: S,
    /// What it had learnt, by name.
    pub tensors: HashMap<String, Tensor>,
}

/// The folder of a run's checkpoints.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    /// Number of the newest one, 0 without any.
    newest: u64,
}

impl Checkpoints {
    /// Opens the folder `dir`, making it when it is missing, and removes what a dead process left half-written.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        make_folder(dir).map_err(io_error("make", dir))?;
        let mut newest = 0;
        for entry in fs::read_dir(dir).map_err(io_error("read", dir))? {
            let path = entry.map_err(io_error("read", dir))?.path();
            match number(&path) {
                Some(number) => newest = newest.max(number),
                None => fs::remove_file(&path).map_err(io_error("remove", &path))?,
            }
        }
        Ok(Self { dir: dir.to_owned(), newest })
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read or is no checkpoint.
    pub fn newest<S: DeserializeOwned>(&self) -> Result<Option<Checkpoint<S>>, CheckpointError> {
        if self.newest == 0 {
            return Ok(None);
        }
        let path = self.path(self.newest);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        parse(&bytes).map(Some).map_err(|reason| CheckpointError::Foreign { path: path.into(), reason })
    }

    /// Writes the next checkpoint, waits until the disk has it, then removes the ones before.
    ///
    /// # Errors
    /// A tensor that is not finite, a file system that refuses; the checkpoint before is kept then.
    pub fn write<S: Serialize>(&mut self, state: &S, tensors: &[(&str, &Tensor)]) -> Result<(), CheckpointError> {
        let data = tensors.iter().map(|(name, tensor)| {
            little_endian(Width::F32, tensor.data()).map_err(|_| CheckpointError::NotFinite { tensor: (*name).to_owned() })
        });
        let data = data.collect::<Result<Vec<_>, _>>()?;
        let views = tensors.iter().zip(&data).map(|((name, tensor), data)| {
            let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), data);
            (*name, view.expect("the bytes are those of the tensor's shape"))
        });
        let state = serde_json::to_string(state).expect("a state is plain data");
        let bytes = safetensors::serialize(views, Some(HashMap::from([(STATE.to_owned(), state)])));
        let bytes = bytes.expect("names and shapes are those of tensors");
        self.publish(&bytes)
    }

    fn publish(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let (part, next) = (self.dir.join("part"), self.path(self.newest + 1));
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(io_error("write", &part)).inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &next).map_err(io_error("write", &next))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io_error("write", &self.dir))?;
        let before = self.path(self.newest);
        self.newest += 1;
        match fs::remove_file(&before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &before)(error)),
            _ => Ok(()),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.{ENDING}"))
    }
}

/// Number of the checkpoint at `path`; `None` for any other file.
fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?.strip_suffix('.')?;
    name.parse().ok()
}

fn parse<S: DeserializeOwned>(bytes: &[u8]) -> Result<Checkpoint<S>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let state = header.metadata().as_ref().and_then(|metadata| metadata.get(STATE)).ok_or("it has no state")?;
    let state = serde_json::from_str(state).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let floats = view.data().chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let tensor = Tensor::new(view.shape().to_vec(), floats.collect()).map_err(|error| error.to_string())?;
        Ok((name, tensor))
    });
    Ok(Checkpoint { state, tensors: tensors.collect::<Result<_, String>>()? })
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.into();
    move |source| CheckpointError::Io { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(vec![values.len()], values.to_vec()).expect("one dimension")
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("it is there");
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn the_newest_is_read_back_and_the_others_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut checkpoints = Checkpoints::open(folder.path()).expect("opened");
        assert_eq!(checkpoints.newest::<(u32, String)>().expect("read"), None);
        for step in 1..=3u32 {
            let weights = tensor(&[f32::from_bits(step), -0.0, f32::MIN_POSITIVE / 2.0]);
            checkpoints.write(&(step, "head".to_owned()), &[("dense/kernel", &weights)]).expect("written");
        }
        fs::write(folder.path().join("part"), b"cut off").expect("written");
        let checkpoints = Checkpoints::open(folder.path()).expect("opened");
        assert_eq!(names(folder.path()), ["3.safetensors"]);
        let found = checkpoints.newest::<(u32, String)>().expect("read").expect("there is one");
        assert_eq!(found.state, (3, "head".to_owned()));
        let bits: Vec<u32> = found.tensors["dense/kernel"].data().iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [3, (-0.0f32).to_bits(), (f32::MIN_POSITIVE / 2.0).to_bits()]);
    }

    #[test]
    fn what_is_not_finite_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut checkpoints = Checkpoints::open(folder.path()).expect("opened");
        checkpoints.write(&1, &[("w", &tensor(&[1.0]))]).expect("written");
        let error = checkpoints.write(&2, &[("w", &tensor(&[f32::NAN]))]).expect_err("not finite");
        assert!(error.to_string().contains("`w` holds NaN"), "{error}");
        assert_eq!(checkpoints.newest::<u32>().expect("read").expect("there is one").state, 1);
    }

    #[test]
    fn foreign_files_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("7.safetensors"), b"12345678{}").expect("written");
        let error = Checkpoints::open(folder.path()).expect("opened").newest::<u32>().expect_err("foreign");
        assert!(error.to_string().contains("7.safetensors is not a checkpoint"), "{error}");
    }
}
