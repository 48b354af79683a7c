//! The priority of threads that train: serving goes first.
//!
//! Knows nothing of what the threads do.

/// Gives the calling thread the lowest priority; threads that it makes inherit it. Does nothing where the system refuses.
///
/// Linux counts priority per thread, so that the rest of the process keeps its own.
pub fn lower() {
    const LOWEST: i32 = 19;
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "cannot lower the priority of a training thread");
    }
}
