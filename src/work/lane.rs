//! A lane: work of one kind on threads that may block, so much of it at once and so much of it waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Fair, lower_priority};

/// Work of one kind; cheap to clone.
///
/// A [`Turn`] belongs to the work: who asked for it may leave, and the next has its turn when the work is over. What has not begun
/// is forgotten when whoever asked for it leaves.
#[derive(Debug, Clone)]
pub struct Lane {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    at_once: usize,
    waiting: usize,
    /// How much lower than that of others the priority of its threads is.
    nice: u8,
    /// A plain mutex: held to hand turns on.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    waiting: Fair<oneshot::Sender<Turn>>,
}

/// One of the lane's places, handed on when dropped.
#[derive(Debug)]
pub struct Turn {
    /// `None` once it was handed on.
    lane: Option<Arc<Inner>>,
}

/// As much waits as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How much may.
    pub waiting: usize,
}

impl Lane {
    /// A lane called `name` in metrics, with `at_once` running and up to `waiting` behind them.
    pub fn new(name: &'static str, at_once: usize, waiting: usize) -> Self {
        Self { inner: Arc::new(Inner { name, at_once, waiting, nice: 0, state: Mutex::default() }) }
    }

    /// The same on threads whose priority is lower by `nice`.
    #[must_use]
    pub fn with_nice(self, nice: u8) -> Self {
        let Inner { name, at_once, waiting, .. } = *self.inner;
        Self { inner: Arc::new(Inner { name, at_once, waiting, nice, state: Mutex::default() }) }
    }

    /// Waits for a turn for a part of `request`, `ahead` units of which come before it, as [`Fair`] counts them.
    ///
    /// # Errors
    /// [`Full`], at once.
    pub async fn turn(&self, request: u64, ahead: u64) -> Result<Turn, Full> {
        let waiting = {
            let mut state = self.inner.lock();
            if state.running < self.inner.at_once {
                state.running += 1;
                self.inner.show(&state);
                return Ok(Turn { lane: Some(Arc::clone(&self.inner)) });
            }
            if state.waiting.len() >= self.inner.waiting {
                state.waiting.retain(|who| !who.is_closed());
            }
            if state.waiting.len() >= self.inner.waiting {
                return Err(Full { waiting: self.inner.waiting });
            }
            let (who, turn) = oneshot::channel();
            state.waiting.push(request, ahead, who);
            self.inner.show(&state);
            turn
        };
        Ok(waiting.await.expect("a lane hands its turns to all that wait"))
    }

    /// Runs `work` of `request` when it is its turn; a panic of it is the caller's.
    ///
    /// # Errors
    /// [`Full`], at once.
    pub async fn run<T: Send + 'static>(&self, request: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Full> {
        Ok(self.turn(request, 0).await?.run(work).await)
    }

    /// How much runs now.
    pub fn running(&self) -> usize {
        self.inner.lock().running
    }
}

impl Turn {
    /// Runs `work`, which has the turn until it is over; a panic of it is the caller's.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let nice = self.lane.as_ref().map_or(0, |lane| lane.nice);
        let (reply, done) = oneshot::channel();
        let work = move || {
            let turn = self;
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(turn);
            reply.send(outcome).ok();
        };
        if nice == 0 {
            spawn_blocking(work);
        } else {
            // A priority that was lowered stays so: not on a thread that others get next.
            let thread = std::thread::Builder::new().name("graft-lane".to_owned()).spawn(move || {
                lower_priority(nice);
                work();
            });
            thread.expect("the system gives a thread");
        }
        match done.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The process ends: its threads take no work any more.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        let mut state = lane.lock();
        while let Some(who) = state.waiting.pop() {
            match who.send(Turn { lane: Some(Arc::clone(&lane)) }) {
                Ok(()) => return lane.show(&state),
                // Whoever waited has left; its turn must not be handed on from here, under the lock.
                Err(mut turn) => turn.lane = None,
            }
        }
        state.running -= 1;
        lane.show(&state);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        gauge!("graft_work_running", "lane" => self.name).set(state.running as f64);
        gauge!("graft_work_waiting", "lane" => self.name).set(state.waiting.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    /// Work that says when it begins, and ends when told.
    fn held() -> (impl FnOnce() + Send + 'static, Arc<Notify>, mpsc::Sender<()>) {
        let (begun, (end, wait)) = (Arc::new(Notify::new()), mpsc::channel());
        let tell = Arc::clone(&begun);
        let work = move || {
            tell.notify_one();
            wait.recv().ok();
        };
        (work, begun, end)
    }

    #[tokio::test]
    async fn a_turn_is_the_works_and_not_its_clients() {
        let lane = Lane::new("test", 1, 8);
        let (work, begun, end) = held();
        let client = tokio::spawn({
            let lane = lane.clone();
            async move { lane.run(0, work).await }
        });
        begun.notified().await;
        client.abort();
        assert!(client.await.is_err_and(|error| error.is_cancelled()), "the client has left");
        let mut next = std::pin::pin!(lane.run(0, || "next"));
        assert!(next.as_mut().now_or_never().is_none(), "its work goes on");
        assert_eq!(lane.running(), 1);
        end.send(()).expect("it waits for this");
        assert_eq!(next.await, Ok("next"));
        assert_eq!(lane.running(), 0);
    }

    #[tokio::test]
    async fn what_has_not_begun_goes_with_its_client() {
        let lane = Lane::new("test", 1, 2);
        let (work, begun, end) = held();
        let first = tokio::spawn({
            let lane = lane.clone();
            async move { lane.run(0, work).await }
        });
        begun.notified().await;
        let ran = Arc::new(AtomicUsize::new(0));
        let count = |ran: &Arc<AtomicUsize>| {
            let ran = Arc::clone(ran);
            move || ran.fetch_add(1, Ordering::Relaxed)
        };
        let mut clients: Vec<_> = (0..2).map(|_| Box::pin(lane.run(0, count(&ran)))).collect();
        for client in &mut clients {
            assert!(client.as_mut().now_or_never().is_none());
        }
        assert_eq!(lane.run(0, count(&ran)).await, Err(Full { waiting: 2 }));
        drop(clients);
        let mut last = std::pin::pin!(lane.run(0, count(&ran)));
        assert!(last.as_mut().now_or_never().is_none(), "those that left wait no more");
        end.send(()).expect("it waits for this");
        assert_eq!(last.await, Ok(0), "the first that ran");
        assert_eq!(first.await.expect("no panic"), Ok(()));
        assert_eq!((ran.load(Ordering::Relaxed), lane.running()), (1, 0));
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_and_gives_its_turn_back() {
        for lane in [Lane::new("test", 1, 1), Lane::new("test", 1, 1).with_nice(1)] {
            let failing = lane.clone();
            let panicked = tokio::spawn(async move { failing.run(0, || panic!("no")).await }).await;
            assert!(panicked.is_err_and(|error| error.is_panic()));
            assert_eq!((lane.running(), lane.run(0, || 1).await), (0, Ok(1)));
        }
    }
}
