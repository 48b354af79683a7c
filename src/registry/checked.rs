//! Whether a version's files are those that were published: their SHA-256, told once for files that have not changed.
//!
//! What was found is remembered in memory alone, where nobody else can write it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    ModelVersion,
    error::{At, Error},
    files::{GRAPH, METADATA, NOVELTY, WEIGHTS},
    scan::FileStamp,
};
use crate::graph::{self, Graph, MAX_MODEL_BYTES, Sums, Weights};

/// Versions that are remembered.
const MAX_REMEMBERED: usize = 1000;

/// The end of `metadata.json`: the sum of all before it.
const SEAL: &str = ",\n  \"sha256\": \"";
const SEAL_END: &str = "\"\n}";

/// SHA-256 of a version's small files, hexadecimal; versions of an earlier graft have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSums {
    /// Of `graph.onnx`.
    pub graph: String,
    /// Of `novelty.npy`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<String>,
}

impl FileSums {
    /// Those of the files in `dir`.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let sum = |name: &str| {
            let path = dir.join(name);
            File::open(&path).and_then(|file| sum(&file)).at("read", &path)
        };
        let novelty = dir.join(NOVELTY).exists().then(|| sum(NOVELTY)).transpose()?;
        Ok(Self { graph: sum(GRAPH)?, novelty })
    }
}

/// What is known of a version's weights, as long as the file has this stamp; locked while it is found out, which happens once.
type Known = Arc<Mutex<Option<(FileStamp, Result<Arc<Sums>, String>)>>>;

static KNOWN: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

impl ModelVersion {
    /// The graph, with weights of which every byte is as it was published; what is read of them later is compared again.
    ///
    /// The first time it reads the whole of `weights.bin`, some 1.5 GB a second; whoever asks meanwhile waits for that.
    ///
    /// # Errors
    /// [`Error::Damaged`] for files that are others; those of a file system that refuses, and of a graph that cannot be read.
    pub fn open(&self) -> Result<Graph, Error> {
        let graph = self.open_graph()?;
        let path = self.weights_path();
        let file = File::open(&path).at("read", &path)?;
        let stamp = FileStamp::of(&file.metadata().at("read", &path)?);
        let known = self.known();
        let mut known = lock_of(&known);
        let checked = match known.as_ref().filter(|(known, _)| *known == stamp) {
            Some((_, checked)) => checked.clone(),
            None => {
                let (sum, sums) = Weights::sums(&file, &graph).at("read", &path)?;
                let checked = same(WEIGHTS, &hex::encode(sum), &self.metadata.weights.sha256).map(|()| Arc::new(sums));
                *known = Some((stamp, checked.clone()));
                checked
            }
        };
        drop(known);
        let weights = Weights::open(&path, checked.map_err(|reason| self.damaged(reason))?).at("read", &path)?;
        Ok(graph.with_checked(weights))
    }

    /// The graph as it was published; its weights are not looked at.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_graph(&self) -> Result<Graph, Error> {
        let path = self.graph_path();
        let mut bytes = Vec::new();
        File::open(&path).and_then(|file| file.take(MAX_MODEL_BYTES).read_to_end(&mut bytes)).at("read", &path)?;
        if let Some(sums) = &self.sums {
            let found = hex::encode(Sha256::digest(&bytes));
            same(GRAPH, &found, &sums.graph).map_err(|reason| self.damaged(reason))?;
        }
        let graph = Graph::parse(bytes.into());
        graph.map(|graph| graph.beside(&self.dir)).map_err(|error| self.damaged(format!("`{GRAPH}` cannot be read: {error}")))
    }

    /// Checks every file, without anything that is remembered.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn verify(&self) -> Result<(), Error> {
        lock().remove(&self.dir);
        self.open()?;
        self.references().map(drop)
    }

    fn known(&self) -> Known {
        let mut known = lock();
        if known.len() >= MAX_REMEMBERED && !known.contains_key(&self.dir) {
            known.clear();
        }
        Arc::clone(known.entry(self.dir.clone()).or_default())
    }

    /// What it means that weights which had been checked cannot be read.
    pub fn unreadable(&self, source: graph::Error) -> Error {
        let causes = std::iter::successors(std::error::Error::source(&source), |error| error.source());
        let causes: String = causes.map(|cause| format!(": {cause}")).collect();
        self.damaged(format!("`{WEIGHTS}`: {source}{causes}"))
    }

    pub(super) fn damaged(&self, reason: String) -> Error {
        Error::Damaged { name: self.metadata.name.clone(), version: self.metadata.version, reason }
    }
}

/// What is known to be wrong with the weights of the version in `dir`, if their file is still that.
pub(super) fn known_damage(dir: &Path, weights: FileStamp) -> Option<String> {
    let known = Arc::clone(lock().get(dir)?);
    // What is being found out is not known yet.
    let known = known.try_lock().ok()?;
    let (stamp, checked) = known.as_ref()?;
    checked.as_ref().err().filter(|_| *stamp == weights).map(|reason| format!("{reason}; {WAY_OUT}"))
}

/// What to do about damage.
pub(super) const WAY_OUT: &str = "it is not served: put the file back from a backup, or delete the version (`DELETE /models/NAME/versions/N`) and import or train it again";

/// `text`, the pretty JSON of an object, with its own sum as the last field.
pub(super) fn seal(text: &str) -> String {
    let open = text.strip_suffix("\n}").expect("it is a pretty object");
    format!("{open}{SEAL}{}{SEAL_END}", hex::encode(Sha256::digest(open)))
}

/// Checks the sum that [`seal`] wrote; text without one is taken as it is.
pub(super) fn check_seal(text: &[u8]) -> Result<(), String> {
    let length = SEAL.len() + 64 + SEAL_END.len();
    let Some((open, end)) = text.len().checked_sub(length).map(|at| text.split_at(at)) else { return Ok(()) };
    let Some(sum) = end.strip_prefix(SEAL.as_bytes()).and_then(|rest| rest.strip_suffix(SEAL_END.as_bytes())) else {
        return Ok(());
    };
    same(METADATA, &hex::encode(Sha256::digest(open)), &String::from_utf8_lossy(sum))
        .map_err(|reason| format!("{reason}; if it was edited on purpose, take its last field, `sha256`, out"))
}

/// Compares what was `found` of a file with what it should be.
pub(super) fn same(file: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("`{file}` is damaged: its SHA-256 is {found}, and that of what was published is {expected}"))
}

fn sum(mut file: &File) -> io::Result<String> {
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(sum.finalize())),
            read => sum.update(&buffer[..read]),
        }
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock() -> MutexGuard<'static, HashMap<PathBuf, Known>> {
    lock_of(&KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::testing::{WEIGHTS as CONTENTS, metadata, version};

    #[test]
    fn what_is_being_found_out_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/colours.onnx");
        std::fs::copy(graph, folder.path().join(GRAPH)).expect("it can be copied");
        std::fs::write(folder.path().join(WEIGHTS), CONTENTS).expect("it can be written");
        let version = ModelVersion { dir: folder.path().to_owned(), ..version(metadata("colours")) };
        let known = version.known();
        let mut finding = lock_of(&known);
        let [first, second] =
            [version.clone(), version.clone()].map(|version| std::thread::spawn(move || version.open().map(drop)));
        let stamp = FileStamp::of(&File::open(version.weights_path()).and_then(|file| file.metadata()).expect("it is there"));
        assert_eq!(known_damage(version.dir(), stamp), None, "a scan does not wait");
        *finding = Some((stamp, Err("found".to_owned())));
        drop(finding);
        for asked in [first, second] {
            let found = asked.join().expect("no panic");
            assert!(matches!(found, Err(Error::Damaged { reason, .. }) if reason == "found"), "neither has read it again");
        }
    }
}
