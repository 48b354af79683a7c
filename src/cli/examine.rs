//! `graft examine`: examines a foreign file for another graft, within limits; nobody calls it by hand.

use std::{io, path::Path, process::ExitCode};

use clap::Args;

use super::Global;
use crate::{
    config::Config,
    registry::{Apart, read_examination},
    runtime::{Runtime, locate},
};

/// Examine a foreign file for another graft.
#[derive(Debug, Args)]
pub(super) struct Examine {}

impl Examine {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<ExitCode> {
        let examination = read_examination(io::stdin().lock())?;
        examination.confine()?;
        let config = global.config(&[])?;
        let examined = examination.run(|| Runtime::open(&config.runtime));
        serde_json::to_writer(io::stdout().lock(), &examined)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Lets foreign files be examined by children of this process, which is graft.
pub(super) fn examine_apart(config: &Config) {
    // It stays what it is when the binary is replaced or removed.
    let itself = Path::new("/proc/self/exe");
    let program = if itself.exists() { Ok(itself.to_owned()) } else { std::env::current_exe() };
    let Ok(program) = program else { return };
    let mut arguments = vec![format!("runtime.max_run_bytes={}", config.runtime.max_run_bytes), "runtime.threads=2".to_owned()];
    // A binary that was removed finds no library beside itself.
    let library = locate(config.runtime.library.as_deref());
    arguments.extend(library.iter().map(|library| format!("runtime.library={}", library.display())));
    let arguments = arguments.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect();
    Apart { program, arguments, limit: config.models.import_timeout }.apply();
}
