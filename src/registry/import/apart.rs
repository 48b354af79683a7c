//! Reading foreign files in a process of its own, within limits: whatever they make ONNX Runtime or a parser do ends there.
//!
//! The child is graft itself (`graft examine`), reads an [`Examination`] from its input, and leaves a version in the making.
//! Nothing of the file is read here. Knows processes; knows no graph.

use std::{
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::{ImportError, OnnxSettings, Prepared, keras, onnx};
use crate::{
    graph::Graph,
    message::{Folders, Relayed},
    registry::{Metadata, Repository},
    runtime::{self, Runtime},
};

/// Address space of a child, and more for each byte of its files: a graph is there as a message, as tensors, and optimised.
const MEMORY_BYTES: u64 = 4 << 30;
const MEMORY_PER_BYTE: u64 = 8;

/// Largest file that a child writes, and more for each byte that it reads: weights may be packed, or shared by two tensors.
const WRITTEN_BYTES: u64 = 1 << 30;
const WRITTEN_PER_BYTE: u64 = 2;

/// Files that a child has open at once, libraries included.
const MAX_FILES: u64 = 256;

/// Largest answer of a child; metadata are bounded by it.
const MAX_ANSWER_BYTES: u64 = 32 << 20;

const POLL: Duration = Duration::from_millis(20);

static APART: OnceLock<Apart> = OnceLock::new();

/// How foreign files are examined.
#[derive(Debug, Clone)]
pub struct Apart {
    /// This graft, whatever takes its place on the disk meanwhile.
    pub program: PathBuf,
    /// Arguments that give a child the runtime's configuration.
    pub arguments: Vec<String>,
    /// How long one examination may take.
    pub limit: Duration,
}

impl Apart {
    /// From now on, foreign files are examined so; until then, and in programs that are not graft, in the process itself.
    pub fn apply(self) {
        APART.set(self).ok();
    }
}

/// What a child is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Examination {
    /// A folder of its own, which becomes a repository.
    folder: PathBuf,
    name: Option<String>,
    file: PathBuf,
    kind: Kind,
    seconds: u64,
    /// Whoever asks: without that process nobody wants the answer.
    parent: u32,
    /// What the reader of a refusal may know.
    folders: Folders,
}

/// What a file is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A user's graph.
    Onnx(OnnxSettings),
    /// Weights of an architecture.
    Weights {
        /// The architecture's name.
        architecture: String,
        /// Where they come from, as the version will say.
        source: String,
    },
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
    Refused(Relayed),
}

impl Examination {
    /// Puts this process within the limits, for good but for what the file's own size allows.
    ///
    /// # Errors
    /// When the system refuses, or nobody waits for an answer any more.
    pub fn confine(&self) -> io::Result<()> {
        end_with(self.parent)?;
        limit(Resource::Core, 0, 0)?;
        limit(Resource::Nofile, MAX_FILES, MAX_FILES)?;
        let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
        let seconds = self.seconds.saturating_mul(threads).max(1);
        limit(Resource::Cpu, seconds, seconds)?;
        allow(self.file_bytes(), false)
    }

    /// Imports the file into the folder, and leaves what was made there; graphs are run by `runtime`.
    pub fn run(&self, runtime: impl FnOnce() -> Result<Runtime, runtime::Error>) -> Examined {
        match self.prepare(runtime) {
            Ok(Prepared { staging, metadata }) => Examined::Version { folder: staging.keep(), metadata: Box::new(metadata) },
            Err(error) => Examined::Refused(Relayed::new(&self.folders, || {
                let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
            })),
        }
    }

    fn prepare(&self, runtime: impl FnOnce() -> Result<Runtime, runtime::Error>) -> Result<Prepared, ImportError> {
        let allow = |bytes| allow(bytes, true).map_err(|source| failed(&self.file, source));
        let repository = Repository::open(&self.folder)?;
        match &self.kind {
            Kind::Onnx(settings) => {
                allow(self.file_bytes().saturating_add(Graph::read(&self.file)?.external_bytes()))?;
                let runtime = runtime()?;
                onnx::prepare_here(&repository, &runtime, self.name.as_deref().unwrap_or_default(), &self.file, settings)
            }
            Kind::Weights { architecture, source } => {
                allow(self.file_bytes())?;
                keras::prepare_here(&repository, self.name.as_deref(), architecture, &self.file, source.clone())
            }
        }
    }

    fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }
}

/// Lets this process have what files of `bytes` in all need; `for_good` so that it cannot give itself more.
fn allow(bytes: u64, for_good: bool) -> io::Result<()> {
    // An address has 47 bits.
    const MOST: u64 = 1 << 46;
    for (resource, least, per_byte) in
        [(Resource::As, MEMORY_BYTES, MEMORY_PER_BYTE), (Resource::Fsize, WRITTEN_BYTES, WRITTEN_PER_BYTE)]
    {
        let current = bytes.saturating_mul(per_byte).saturating_add(least).min(MOST);
        limit(resource, current, if for_good { current } else { MOST })?;
    }
    Ok(())
}

/// Limits `resource` to `current`, which this process may raise up to `maximum`; what is less already stays.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Ok(setrlimit(resource, Rlimit { current: Some(current.min(most)), maximum: Some(maximum.min(most)) })?)
}

/// Ends this process when `parent` does.
#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have ended before that was said.
    let found = getppid().map(|found| found.as_raw_pid().unsigned_abs());
    if found == Some(parent) { Ok(()) } else { Err(io::Error::other("nobody waits for the answer any more")) }
}

/// Elsewhere it ends by its limits.
#[cfg(not(target_os = "linux"))]
fn end_with(_: u32) -> io::Result<()> {
    Ok(())
}

/// Imports `file` in a child, where there is one to be had; `None` where there is not.
pub(super) fn prepare(
    repository: &Repository,
    name: Option<&str>,
    file: &Path,
    kind: impl FnOnce() -> Kind,
    stop: &dyn Fn() -> bool,
) -> Option<Result<Prepared, ImportError>> {
    let apart = APART.get()?;
    Some(apart.prepare(repository, name, file, kind(), stop))
}

impl Apart {
    fn prepare(
        &self,
        repository: &Repository,
        name: Option<&str>,
        file: &Path,
        kind: Kind,
        stop: &dyn Fn() -> bool,
    ) -> Result<Prepared, ImportError> {
        let scratch = repository.stage(name.unwrap_or("unnamed"))?;
        let examination = Examination {
            folder: scratch.dir().join("examined"),
            name: name.map(str::to_owned),
            // The child starts in the same folder, and names it as whoever asks does.
            file: file.to_owned(),
            kind,
            seconds: self.limit.as_secs().max(1),
            parent: std::process::id(),
            folders: Folders::of_reader(),
        };
        match self.ask(&examination, stop)? {
            Examined::Refused(reason) => Err(ImportError::Refused(reason)),
            Examined::Version { folder, metadata } => {
                let staging = repository.stage(&metadata.name)?;
                staging.take_over(&folder)?;
                Ok(Prepared { staging, metadata: *metadata })
            }
        }
    }

    /// Starts a child and waits for its answer, its end, or the time.
    fn ask(&self, examination: &Examination, stop: &dyn Fn() -> bool) -> Result<Examined, ImportError> {
        let failed = |source| failed(&self.program, source);
        let started = Instant::now();
        let mut command = Command::new(&self.program);
        command.arg0("graft").args(&self.arguments).arg("examine").env("MALLOC_ARENA_MAX", "2");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut running = Running(spawned.map_err(failed)?);
        let question = serde_json::to_vec(examination).expect("an examination has string keys only");
        let mut input = running.0.stdin.take().expect("it is piped");
        let mut output = running.0.stdout.take().expect("it is piped");
        // On a thread of its own: a child that does not read would stop the clock.
        let reader = thread::spawn(move || {
            // A child that dies early says so by how it ends.
            let _ = input.write_all(&question);
            drop(input);
            let mut answer = Vec::new();
            output.by_ref().take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map(|_| answer)
        });
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
        answer.ok_or_else(|| ImportError::Died { how: ending(status) })
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
