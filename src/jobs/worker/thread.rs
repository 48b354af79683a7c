//! The thread that a runner runs on.
//!
//! Catches its panic and lowers its priority; knows nothing of leases.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use serde_json::Value;
use tokio::sync::oneshot;

use super::line::Line;
use crate::jobs::{
    job::{Failure, Job},
    runner::Runner,
};

/// What a runner came to; a panic is a failure.
pub type Outcome = Result<Value, Failure>;

/// Runs `job` on a new thread whose priority is lower by `nice`; threads that it starts inherit that on Linux.
pub fn start(runner: Arc<dyn Runner>, job: Job, line: Line, nice: u8) -> io::Result<oneshot::Receiver<Outcome>> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().name("job".into()).spawn(move || {
        lower_priority(nice);
        let run = AssertUnwindSafe(|| runner.run(&job, &line));
        let outcome = catch_unwind(run).unwrap_or_else(|panic| Err(Failure::new("panic", text_of(&*panic))));
        // The outcome is there before the line ends, which is what its other end waits for.
        let _ = done.send(outcome);
        drop(line);
    })?;
    Ok(outcome)
}

/// Linux knows no lower priority.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

#[cfg(target_os = "linux")]
fn lower_priority(nice: u8) {
    use rustix::process::{getpriority_process, setpriority_process};
    // Linux has priorities per thread, and `None` means the calling one.
    let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, (own + i32::from(nice)).min(LOWEST)));
    if let Err(error) = lowered {
        tracing::warn!(%error, nice, "cannot lower the priority of a job; it competes with serving");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_: u8) {}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the job's code panicked: {}", text.unwrap_or("no reason given"))
}
