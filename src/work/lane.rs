//! A lane: work of one kind on threads that may block, so much of it at once and so much of it waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Fair, Origin, lower_priority};

/// Fewer than these are not looked through for those that have left.
const LEAST_FORGOTTEN: usize = 64;

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
    /// How many waited when those that had left were last forgotten.
    kept: usize,
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
        let lane = Self { inner: Arc::new(Inner { name, at_once, waiting, nice: 0, state: Mutex::default() }) };
        // Its metrics are there before its first work is.
        lane.inner.show(&lane.inner.lock());
        lane
    }

    /// The same on threads whose priority is lower by `nice`.
    #[must_use]
    pub fn with_nice(self, nice: u8) -> Self {
        let Inner { name, at_once, waiting, .. } = *self.inner;
        Self { inner: Arc::new(Inner { name, at_once, waiting, nice, state: Mutex::default() }) }
    }

    /// Waits for a turn of `origin`, in the order of [`Fair`].
    ///
    /// # Errors
    /// [`Full`], at once.
    pub async fn turn(&self, origin: Origin) -> Result<Turn, Full> {
        let waiting = {
            let mut state = self.inner.lock();
            if state.running < self.inner.at_once {
                state.running += 1;
                self.inner.show(&state);
                return Ok(Turn { lane: Some(Arc::clone(&self.inner)) });
            }
            if state.waiting.len() >= self.inner.waiting.min(state.most()) {
                state.waiting.retain(|who| !who.is_closed());
                state.kept = state.waiting.len();
            }
            if state.waiting.len() >= self.inner.waiting {
                return Err(Full { waiting: self.inner.waiting });
            }
            let (who, turn) = oneshot::channel();
            state.waiting.push(&origin, who);
            self.inner.show(&state);
            turn
        };
        Ok(waiting.await.expect("a lane hands its turns to all that wait"))
    }

    /// Runs `work` of `origin` when it is its turn; a panic of it is the caller's.
    ///
    /// # Errors
    /// [`Full`], at once.
    pub async fn run<T: Send + 'static>(&self, origin: Origin, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Full> {
        Ok(self.turn(origin).await?.run(work).await)
    }

    /// How much waits now, of those that left, too.
    pub fn waiting(&self) -> usize {
        self.inner.lock().waiting.len()
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
            run_at_lower_priority(nice, work);
        }
        match done.await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The process ends: its threads take no work any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Runs `work` that waits and may not block, as a task, which has the turn until it is over; a panic of it is the caller's.
    pub async fn run_async<T: Send + 'static>(self, work: impl Future<Output = T> + Send + 'static) -> T {
        let task = tokio::spawn(async move {
            let _turn = self;
            work.await
        });
        match task.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The process ends: nothing waits any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Runs `work` on a thread of its own, since a priority that was lowered stays so; on one that others get next, where there is none.
fn run_at_lower_priority(nice: u8, work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let own = Arc::clone(&work);
    let thread = std::thread::Builder::new().name("graft-lane".to_owned()).spawn(move || {
        lower_priority(nice);
        if let Some(work) = take(&own) {
            work();
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for work at low priority; it has one of others");
        take(&work).map(spawn_blocking);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        let mut state = lane.lock();
        while let Some(who) = state.waiting.pop() {
            // Those that have had their turn are no reason to keep more of those that leave.
            state.kept = state.kept.min(state.waiting.len());
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

impl State {
    /// How many may wait before those that have left are forgotten: twice as many as were kept the last time, so that each costs
    /// a look or two, however many come and go while nothing has its turn.
    fn most(&self) -> usize {
        self.kept.saturating_mul(2).max(LEAST_FORGOTTEN)
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

    use super::{super::Client, *};

    fn local() -> Origin {
        Origin { client: Client::local(), request: 0 }
    }

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
            async move { lane.run(local(), work).await }
        });
        begun.notified().await;
        client.abort();
        assert!(client.await.is_err_and(|error| error.is_cancelled()), "the client has left");
        let mut next = std::pin::pin!(lane.run(local(), || "next"));
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
            async move { lane.run(local(), work).await }
        });
        begun.notified().await;
        let ran = Arc::new(AtomicUsize::new(0));
        let count = |ran: &Arc<AtomicUsize>| {
            let ran = Arc::clone(ran);
            move || ran.fetch_add(1, Ordering::Relaxed)
        };
        let mut clients: Vec<_> = (0..2).map(|_| Box::pin(lane.run(local(), count(&ran)))).collect();
        for client in &mut clients {
            assert!(client.as_mut().now_or_never().is_none());
        }
        assert_eq!(lane.run(local(), count(&ran)).await, Err(Full { waiting: 2 }));
        drop(clients);
        let mut last = std::pin::pin!(lane.run(local(), count(&ran)));
        assert!(last.as_mut().now_or_never().is_none(), "those that left wait no more");
        end.send(()).expect("it waits for this");
        assert_eq!(last.await, Ok(0), "the first that ran");
        assert_eq!(first.await.expect("no panic"), Ok(()));
        assert_eq!((ran.load(Ordering::Relaxed), lane.running()), (1, 0));
    }

    #[tokio::test]
    async fn who_has_left_is_forgotten_while_nobody_has_a_turn() {
        let lane = Lane::new("test", 1, usize::MAX);
        let held = lane.turn(local()).await.expect("it is free");
        let leave = |most: usize| {
            for _ in 0..10_000 {
                assert!(lane.turn(local()).now_or_never().is_none());
                assert!(lane.waiting() <= most, "{} wait", lane.waiting());
            }
        };
        leave(LEAST_FORGOTTEN);
        let mut staying: Vec<_> = (0..100).map(|_| Box::pin(lane.turn(local()))).collect();
        for waiting in &mut staying {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        leave(2 * staying.len());
        drop(held);
        for waiting in staying {
            drop(waiting.now_or_never().expect("it is its turn").expect("any number may wait"));
        }
        assert_eq!(lane.running(), 0);
        let _held = lane.turn(local()).await.expect("it is free");
        leave(LEAST_FORGOTTEN);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_and_gives_its_turn_back() {
        for lane in [Lane::new("test", 1, 1), Lane::new("test", 1, 1).with_nice(1)] {
            let failing = lane.clone();
            let panicked = tokio::spawn(async move { failing.run(local(), || panic!("no")).await }).await;
            assert!(panicked.is_err_and(|error| error.is_panic()));
            assert_eq!((lane.running(), lane.run(local(), || 1).await), (0, Ok(1)));
        }
    }
}
