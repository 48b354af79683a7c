//! The priority of threads that train, since serving goes first, and what a thread has had of the processor.
//!
//! Knows nothing of what the threads do.

/// Linux knows no lower priority.
#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;

/// Lowers the calling thread's priority by `nice`, as far as that goes; threads that it makes inherit it.
///
/// Linux counts priority per thread, so that the rest of the process keeps its own; elsewhere nothing is done.
#[cfg(target_os = "linux")]
pub fn lower_priority(nice: u8) {
    use rustix::process::{getpriority_process, setpriority_process};
    // `None` means the calling thread.
    let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, (own + i32::from(nice)).min(LOWEST)));
    if let Err(error) = lowered {
        tracing::warn!(%error, nice, "cannot lower the priority of training; it competes with serving");
    }
}

/// Processor time of the calling thread so far: what others do does not count.
#[cfg(target_os = "linux")]
pub fn thread_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default()
}

/// Time since it was asked first: what others do counts here.
#[cfg(not(target_os = "linux"))]
pub fn thread_time() -> std::time::Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

/// Does nothing here.
#[cfg(not(target_os = "linux"))]
pub fn lower_priority(_: u8) {}
