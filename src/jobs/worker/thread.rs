//! The thread that a job runs on.
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
use crate::{
    jobs::{
        job::{Failure, Job},
        kind::AnyKind,
    },
    work::lower_priority,
};

/// What a job came to; a panic is a failure.
pub type Outcome = Result<Value, Failure>;

/// Runs `job` on a new thread whose priority is lower by `nice`; threads that it starts inherit that on Linux.
pub fn start(kind: Option<Arc<dyn AnyKind>>, job: Job, line: Line, nice: u8) -> io::Result<oneshot::Receiver<Outcome>> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().name("job".into()).spawn(move || {
        lower_priority(nice);
        let run = AssertUnwindSafe(|| run(kind.as_deref(), &job, &line));
        let outcome = catch_unwind(run).unwrap_or_else(|panic| Err(Failure::new("panic", text_of(&*panic))));
        // The outcome is there before the line ends, which is what its other end waits for.
        let _ = done.send(outcome);
        drop(line);
    })?;
    Ok(outcome)
}

fn run(kind: Option<&dyn AnyKind>, job: &Job, line: &Line) -> Outcome {
    let unknown = || Failure::new("unknown_kind", format!("this graft knows no jobs of the kind `{}`", job.spec.kind));
    kind.ok_or_else(unknown)?.run(job, line)
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the job's code panicked: {}", text.unwrap_or("no reason given"))
}
