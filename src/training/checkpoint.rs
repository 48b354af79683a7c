//! Checkpoints of a run: a state and named tensors, on disk whole or not at all, in the safetensors format.
//!
//! Knows neither what the tensors are nor what the state means; keeps the newest checkpoint and removes the others. Every file has its
//! writer's number in its name, so that a writer that was replaced disturbs none of the next one's.

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
/// Of what is being written.
const PART: &str = "part";
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
    /// A later writer has been here.
    #[error("another worker goes on from the checkpoints in {path}")]
    Superseded {
        /// The folder.
        path: ServerPath,
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

/// The folder of a run's checkpoints, in the hands of one of its writers.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    /// Greater than those of all writers before.
    writer: u64,
    /// Number of the newest one, 0 without any.
    newest: u64,
}

/// What a file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    writer: u64,
    /// `None` while it is being written.
    number: Option<u64>,
}

impl Checkpoints {
    /// Opens the folder `dir` for the writer `writer`, making it when it is missing: the newest checkpoint becomes this writer's own,
    /// and what writers before it left besides goes.
    ///
    /// # Errors
    /// [`CheckpointError::Superseded`] when a writer with a greater number was here; [`CheckpointError::Io`].
    pub fn open(dir: &Path, writer: u64) -> Result<Self, CheckpointError> {
        make_folder(dir).map_err(io_error("make", dir))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).map_err(io_error("read", dir))? {
            let path = entry.map_err(io_error("read", dir))?.path();
            found.push((Name::of(&path), path));
        }
        if found.iter().any(|(name, _)| name.is_some_and(|name| name.writer > writer)) {
            return Err(CheckpointError::Superseded { path: dir.into() });
        }
        let whole = found.iter().filter_map(|(name, _)| name.filter(|name| name.number.is_some()));
        let newest = whole.max();
        for (name, path) in &found {
            if *name != newest || newest.is_none() {
                remove(path)?;
            }
        }
        let checkpoints = Self { dir: dir.to_owned(), writer, newest: newest.and_then(|name| name.number).unwrap_or(0) };
        if let Some((_, path)) = found.iter().find(|(name, _)| name.is_some() && *name == newest) {
            let own = checkpoints.path(checkpoints.newest);
            if *path != own {
                fs::rename(path, &own).map_err(io_error("rename", path))?;
                checkpoints.sync()?;
            }
        }
        Ok(checkpoints)
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
        let (part, next) = (self.dir.join(format!("{}.{PART}", self.writer)), self.path(self.newest + 1));
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(io_error("write", &part)).inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &next).map_err(io_error("write", &next)).inspect_err(|_| drop(fs::remove_file(&part)))?;
        self.sync()?;
        let before = self.path(self.newest);
        self.newest += 1;
        remove(&before)
    }

    fn sync(&self) -> Result<(), CheckpointError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io_error("write", &self.dir))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}-{number}.{ENDING}", self.writer))
    }
}

impl Name {
    /// What the name of the file at `path` says; `None` for foreign files. An earlier graft's say no writer.
    fn of(path: &Path) -> Option<Self> {
        let (name, ending) = path.file_name()?.to_str()?.rsplit_once('.')?;
        let number = |text: &str| text.parse::<u64>().ok();
        match (ending, name.split_once('-')) {
            (ENDING, Some((writer, count))) => Some(Self { writer: number(writer)?, number: Some(number(count)?) }),
            (ENDING, None) => Some(Self { writer: 0, number: Some(number(name)?) }),
            (PART, None) => Some(Self { writer: number(name)?, number: None }),
            _ => None,
        }
    }
}

fn remove(path: &Path) -> Result<(), CheckpointError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
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
        let mut checkpoints = Checkpoints::open(folder.path(), 1).expect("opened");
        assert_eq!(checkpoints.newest::<(u32, String)>().expect("read"), None);
        for step in 1..=3u32 {
            let weights = tensor(&[f32::from_bits(step), -0.0, f32::MIN_POSITIVE / 2.0]);
            checkpoints.write(&(step, "head".to_owned()), &[("dense/kernel", &weights)]).expect("written");
        }
        fs::write(folder.path().join("part"), b"cut off").expect("written");
        fs::write(folder.path().join("1.part"), b"cut off").expect("written");
        let checkpoints = Checkpoints::open(folder.path(), 1).expect("opened");
        assert_eq!(names(folder.path()), ["1-3.safetensors"]);
        let found = checkpoints.newest::<(u32, String)>().expect("read").expect("there is one");
        assert_eq!(found.state, (3, "head".to_owned()));
        let bits: Vec<u32> = found.tensors["dense/kernel"].data().iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [3, (-0.0f32).to_bits(), (f32::MIN_POSITIVE / 2.0).to_bits()]);
    }

    #[test]
    fn the_next_writer_takes_the_newest_over_and_the_one_before_disturbs_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let open = |writer| Checkpoints::open(folder.path(), writer);
        let state = |writer| open(writer).and_then(|found| found.newest::<u32>()).expect("read").map(|found| found.state);
        let mut stale = open(3).expect("opened");
        stale.write(&1, &[]).expect("written");
        // As an earlier graft called it, and of an earlier writer.
        fs::copy(folder.path().join("3-1.safetensors"), folder.path().join("9.safetensors")).expect("copied");
        let mut next = open(5).expect("opened");
        assert_eq!(names(folder.path()), ["5-1.safetensors"]);
        stale.write(&2, &[]).expect("it may do that");
        next.write(&3, &[]).expect("written");
        assert_eq!(state(5), Some(3));
        stale.write(&4, &[]).expect("it may do that");
        assert_eq!(state(7), Some(3), "a stale writer's is not read, however many it wrote");
        assert!(matches!(open(5), Err(CheckpointError::Superseded { .. })));
        assert_eq!(names(folder.path()), ["7-2.safetensors"]);
    }

    #[test]
    fn what_is_not_finite_leaves_the_one_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut checkpoints = Checkpoints::open(folder.path(), 1).expect("opened");
        checkpoints.write(&1, &[("w", &tensor(&[1.0]))]).expect("written");
        let error = checkpoints.write(&2, &[("w", &tensor(&[f32::NAN]))]).expect_err("not finite");
        assert!(error.to_string().contains("`w` holds NaN"), "{error}");
        assert_eq!(checkpoints.newest::<u32>().expect("read").expect("there is one").state, 1);
    }

    #[test]
    fn foreign_files_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("7.safetensors"), b"12345678{}").expect("written");
        let error = Checkpoints::open(folder.path(), 1).expect("opened").newest::<u32>().expect_err("foreign");
        assert!(error.to_string().contains("7.safetensors is not a checkpoint"), "{error}");
    }
}
