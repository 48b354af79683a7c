//! Memory that work waits for: whoever has waited longest is next, however much that is.

use std::{pin::pin, sync::Arc, thread, time::Duration};

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What memory is counted in: a semaphore counts to 2^29 at least.
const MIB: u64 = 1 << 20;

/// How often a thread that waits asks whether to go on.
const POLL: Duration = Duration::from_millis(10);

/// A bound on memory that work takes for a while; cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    free: Arc<Semaphore>,
    mib: u32,
}

/// Memory that was taken, given back when dropped.
#[derive(Debug)]
pub struct TakenMemory {
    _free: OwnedSemaphorePermit,
}

impl Memory {
    /// At most `bytes` at once, in steps of a MiB.
    pub fn new(bytes: u64) -> Self {
        let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).min(1 << 28);
        Self { free: Arc::new(Semaphore::new(mib as usize)), mib }
    }

    /// Waits for `bytes`, or for all where that is less.
    pub async fn take(&self, bytes: u64) -> TakenMemory {
        let mib = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).min(self.mib);
        let free = Arc::clone(&self.free).acquire_many_owned(mib).await;
        TakenMemory { _free: free.expect("the semaphore is never closed") }
    }

    /// The same on a thread that may block, as long as `go_on` lets it.
    ///
    /// # Errors
    /// That of `go_on`.
    pub fn take_blocking<E>(&self, bytes: u64, go_on: impl Fn() -> Result<(), E>) -> Result<TakenMemory, E> {
        // It keeps its place in the queue between two looks.
        let mut taken = pin!(self.take(bytes));
        loop {
            if let Some(taken) = taken.as_mut().now_or_never() {
                return Ok(taken);
            }
            go_on()?;
            thread::sleep(POLL);
        }
    }

    /// How many bytes there are.
    pub fn bound(&self) -> u64 {
        u64::from(self.mib) * MIB
    }

    /// How many bytes nobody has.
    pub fn free(&self) -> u64 {
        self.free.available_permits() as u64 * MIB
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longest_is_next_and_a_thread_may_give_up() {
        let memory = Memory::new(3 * MIB);
        let taken = memory.take_blocking(2 * MIB + 1, || Err("not now")).expect("there is room");
        assert_eq!(memory.free(), 0, "in steps of a MiB");
        assert_eq!(memory.take_blocking(1, || Err("not now")).err(), Some("not now"));
        let mut large = pin!(memory.take(u64::MAX));
        let mut small = pin!(memory.take(1));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        drop(taken);
        assert!(small.as_mut().now_or_never().is_none(), "it came later");
        let taken = large.as_mut().now_or_never().expect("all is less than it wants");
        assert!(small.as_mut().now_or_never().is_none());
        drop(taken);
        assert!(small.now_or_never().is_some());
    }
}
