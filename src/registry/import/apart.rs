//! Examining a foreign graph in a process of its own, within limits: whatever the graph makes ONNX Runtime do ends there.
//!
//! The child is graft itself (`graft examine`), reads an [`Examination`] from its input, and leaves a version in the making. Knows
//! processes; knows no graph.

use std::{
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

use super::{ImportError, OnnxSettings, Prepared, onnx};
use crate::{
    graph::Graph,
    registry::{Metadata, Repository},
    runtime::Runtime,
};

/// Address space of a child, and more for each byte of weights: the graph is there as a message, as tensors, and optimised.
const MEMORY_BYTES: u64 = 4 << 30;
const MEMORY_PER_BYTE: u64 = 8;

/// Largest answer of a child; metadata are bounded by it.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

const POLL: Duration = Duration::from_millis(20);

static APART: OnceLock<Apart> = OnceLock::new();

/// How foreign graphs are examined.
#[derive(Debug, Clone)]
pub struct Apart {
    /// This graft.
    pub program: PathBuf,
    /// Arguments that give a child the runtime's configuration.
    pub arguments: Vec<String>,
    /// How long one examination may take.
    pub limit: Duration,
}

impl Apart {
    /// From now on, foreign graphs are examined so; until then, and in programs that are not graft, in the process itself.
    pub fn apply(self) {
        APART.set(self).ok();
    }
}

/// What a child is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Examination {
    /// A folder of its own, which becomes a repository.
    folder: PathBuf,
    name: String,
    file: PathBuf,
    settings: OnnxSettings,
    memory_bytes: u64,
    seconds: u64,
}

/// What a child answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Examined {
    /// The folder with the files, and what they say of themselves.
    Version {
        /// The folder.
        folder: PathBuf,
        /// The metadata.
        metadata: Box<Metadata>,
    },
    /// Why it was refused.
    Refused(String),
}

impl Examination {
    /// Puts this process within the limits, for good.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn confine(&self) -> io::Result<()> {
        let limit = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        set_parent_process_death_signal(Some(Signal::KILL))?;
        limit(Resource::Core, 0)?;
        limit(Resource::As, self.memory_bytes)?;
        let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
        Ok(limit(Resource::Cpu, self.seconds.saturating_mul(threads).max(1))?)
    }

    /// Imports the file into the folder, and leaves what was made there.
    pub fn run(&self, runtime: &Runtime) -> Examined {
        let prepared = Repository::open(&self.folder)
            .map_err(ImportError::from)
            .and_then(|repository| onnx::prepare_here(&repository, runtime, &self.name, &self.file, &self.settings));
        match prepared {
            Ok(Prepared { staging, metadata }) => Examined::Version { folder: staging.keep(), metadata: Box::new(metadata) },
            Err(error) => {
                let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                Examined::Refused(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
            }
        }
    }
}

/// Imports `file` in a child, where there is one to be had; `None` where there is not.
pub(super) fn prepare(
    repository: &Repository,
    name: &str,
    file: &Path,
    settings: &OnnxSettings,
    stop: &dyn Fn() -> bool,
) -> Option<Result<Prepared, ImportError>> {
    let apart = APART.get()?;
    Some(apart.prepare(repository, name, file, settings, stop))
}

impl Apart {
    fn prepare(
        &self,
        repository: &Repository,
        name: &str,
        file: &Path,
        settings: &OnnxSettings,
        stop: &dyn Fn() -> bool,
    ) -> Result<Prepared, ImportError> {
        // Reading is bounded by the file; what is no graph at all is refused here, as ever.
        let graph = Graph::read(file)?;
        let stored = graph.initializers().map(|initializer| initializer.bytes).fold(0, u64::saturating_add);
        drop(graph);
        let staging = repository.stage(name)?;
        let examination = Examination {
            folder: staging.dir().join("examined"),
            name: name.to_owned(),
            file: std::path::absolute(file).map_err(|source| failed(file, source))?,
            settings: settings.clone(),
            memory_bytes: stored.saturating_mul(MEMORY_PER_BYTE).saturating_add(MEMORY_BYTES).min(1 << 46),
            seconds: self.limit.as_secs().max(1),
        };
        match self.ask(&examination, stop)? {
            Examined::Refused(reason) => Err(ImportError::Refused { reason }),
            Examined::Version { folder, metadata } => {
                staging.take_over(&folder)?;
                std::fs::remove_dir_all(&examination.folder).map_err(|source| failed(&examination.folder, source))?;
                Ok(Prepared { staging, metadata: *metadata })
            }
        }
    }

    /// Starts a child and waits for its answer, its end, or the time.
    fn ask(&self, examination: &Examination, stop: &dyn Fn() -> bool) -> Result<Examined, ImportError> {
        let failed = |source| failed(&self.program, source);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("examine").env("MALLOC_ARENA_MAX", "2");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut running = Running(spawned.map_err(failed)?);
        let question = serde_json::to_vec(examination).expect("an examination has string keys only");
        // A child that dies early says so by how it ends.
        let _ = running.0.stdin.take().expect("it is piped").write_all(&question);
        let mut output = running.0.stdout.take().expect("it is piped");
        let reader = thread::spawn(move || {
            let mut answer = Vec::new();
            output.by_ref().take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map(|_| answer)
        });
        let started = Instant::now();
        let status = loop {
            if let Some(status) = running.0.try_wait().map_err(failed)? {
                break status;
            }
            if stop() {
                return Err(ImportError::Stopped);
            }
            if started.elapsed() > self.limit {
                return Err(ImportError::TooSlow { limit: self.limit });
            }
            thread::sleep(POLL);
        };
        let answer = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed)?;
        let answer = serde_json::from_slice(&answer).ok().filter(|_| status.success());
        answer.ok_or_else(|| ImportError::Died { how: ending(status), bytes: examination.memory_bytes })
    }
}

/// A child that does not outlive its parent's interest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit status {code}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

fn failed(path: &Path, source: io::Error) -> ImportError {
    ImportError::File { path: path.into(), source }
}

/// Reads what a child is asked.
///
/// # Errors
/// Input that is no [`Examination`].
pub fn read_examination(input: impl Read) -> io::Result<Examination> {
    Ok(serde_json::from_reader(input)?)
}
