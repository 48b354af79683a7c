//! `graft examine`: examines a foreign graph for another graft, within limits; nobody calls it by hand.

use std::{io, process::ExitCode};

use clap::Args;

use super::Global;
use crate::{
    config::Config,
    registry::{Apart, read_examination},
    runtime::Runtime,
};

/// Examine a foreign graph for another graft.
#[derive(Debug, Args)]
pub(super) struct Examine {}

impl Examine {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        let examination = read_examination(io::stdin().lock())?;
        examination.confine()?;
        let config = global.config(&[])?;
        let runtime = Runtime::open(&config.runtime)?;
        serde_json::to_writer(io::stdout().lock(), &examination.run(&runtime))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets foreign graphs be examined by children of this process, which is graft.
pub(super) fn examine_apart(config: &Config) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = vec![format!("runtime.max_run_bytes={}", config.runtime.max_run_bytes), "runtime.threads=2".to_owned()];
    arguments.extend(config.runtime.library.iter().map(|library| format!("runtime.library={}", library.display())));
    let arguments = arguments.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
    Apart { program, arguments, limit: config.models.import_timeout }.apply();
}
