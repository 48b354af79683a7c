//! What commands build from the global flags: configuration, repository, engine.

use anyhow::{Context as _, anyhow, bail};

use super::{Global, answer};
use crate::{
    config::{self, Config},
    inference::{self, Engine, Settings},
    registry::{ModelVersion, Repository, Snapshot, named_model},
    runtime::Runtime,
};

impl Global {
    /// The configuration with these flags, and `more` settings that a command's own flags stand for.
    pub(super) fn config(&self, more: &[(&str, Option<String>)]) -> anyhow::Result<Config> {
        let mut overrides = Vec::new();
        for setting in &self.settings {
            let Some((key, value)) = setting.split_once('=') else {
                bail!("`--set {setting}` has no `=`; write `--set section.key=value`");
            };
            overrides.push((key.to_owned(), value.to_owned()));
        }
        let models_dir = self.models_dir.as_ref().map(|dir| dir.display().to_string());
        let flags = [("models.dir", models_dir)];
        let flags = flags.iter().chain(more).filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?)));
        overrides.extend(flags);
        let mut sources = config::Sources { overrides, ..config::Sources::from_process() };
        if self.config_dir.is_some() {
            sources.config_dir.clone_from(&self.config_dir);
        }
        sources.notes().iter().for_each(|note| answer::note(format_args!("{note}")));
        Ok(config::load(&sources)?)
    }

    /// The model repository.
    pub(super) fn repository(&self) -> anyhow::Result<Repository> {
        open(&self.config(&[])?)
    }
}

/// The repository of `config`; says where it is when that is not where new installations have it.
pub(super) fn open(config: &Config) -> anyhow::Result<Repository> {
    config.models.former_dir_note().iter().for_each(|note| answer::note(format_args!("{note}")));
    let dir = &config.models.dir;
    if !dir.exists() {
        answer::note(format_args!("creating an empty model repository at {} (`--models-dir` names another)", dir.display()));
    }
    Repository::open(&config.models.dir)
        .with_context(|| format!("the model repository {} cannot be used", config.models.dir.display()))
}

/// An engine over `repository`, for commands that answer without a server.
pub(super) fn engine(config: &Config, repository: Repository) -> anyhow::Result<Engine> {
    let runtime = Runtime::open(&config.runtime)?;
    Ok(Engine::new(runtime, repository, Settings::of(config))?)
}

/// Threads that may block, besides those of the lanes of work, which go by the processors: each of them is soon free again.
const BLOCKING_THREADS: usize = 64;

/// How long such a thread waits for work before it ends: every piece wakes another of them, so that with a second those of a burst
/// stayed for as long as thirty pieces came in a second.
const IDLE: std::time::Duration = std::time::Duration::from_millis(200);

/// A tokio runtime for one command, which at its end does not wait for work that nobody wants any more.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS + 4 * processors)
        .thread_keep_alive(IDLE)
        .build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    Ok(result)
}

/// A version in `snapshot`, the stable one without `version`.
///
/// # Errors
/// No such model or version, with how to see what there is and to bring what is not.
pub(super) fn find(snapshot: &Snapshot, name: &str, version: Option<u32>) -> anyhow::Result<ModelVersion> {
    inference::find(snapshot, name, version)
        .map_err(|error| anyhow!("{error} (`graft models` lists what is there, `graft pull --list` what can be downloaded)"))
}

/// `NAME` or `NAME@VERSION`.
pub(super) fn model_and_version(model: &str) -> anyhow::Result<(String, Option<u32>)> {
    let (name, version) = named_model(model).map_err(|error| anyhow!("the model {error}"))?;
    Ok((name.to_owned(), version))
}
