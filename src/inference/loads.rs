//! Loads: one at a time, in turns of the clients that ask for them.
//!
//! What has begun goes on whoever leaves, and whoever asks for the same waits for it. What has not begun waits with those that
//! ask for it, each in the turn of its own client, and is forgotten with the last of them. Does not know what is loaded.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::{Notify, oneshot};

use crate::work::{Lane, Origin, Turn};

/// Loads of `T` by `K`.
pub(super) struct Loads<K, T> {
    lane: Lane,
    now: Arc<Now<K, T>>,
    /// Told when a load begins.
    begun: Notify,
}

/// What loads now. A plain mutex: held for a moment.
struct Now<K, T>(Mutex<Option<(K, Loading<T>)>>);

/// `None` of a load that panicked.
type Loading<T> = Shared<BoxFuture<'static, Option<T>>>;

/// What whoever asks goes on with.
enum Next<T> {
    Found(T),
    Loading(Loading<T>),
    Turn(Turn),
}

/// Forgets what loads now, when dropped.
struct Ends<K, T>(Arc<Now<K, T>>);

impl<K: Clone + Eq + Send + 'static, T: Clone + Send + Sync + 'static> Loads<K, T> {
    pub(super) fn new() -> Self {
        // How many wait is bounded by the memory that their requests hold.
        Self { lane: Lane::new("load", 1, usize::MAX), now: Arc::new(Now(Mutex::new(None))), begun: Notify::new() }
    }

    /// What is `found` under `key`, or what `load` gives when it is the turn of `origin`, or of somebody else who asks for it;
    /// `None` where that panics. By its end, `load` has put what it gives where it is `found`.
    pub(super) async fn get<F>(
        &self,
        key: K,
        origin: Origin,
        found: impl Fn() -> Option<T>,
        load: impl FnOnce() -> F,
    ) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let turn = match self.turn_or_loading(&key, origin, &found).await {
            Next::Found(found) => return Some(found),
            Next::Loading(loading) => return loading.await,
            Next::Turn(turn) => turn,
        };
        // Somebody else may have loaded it before this turn came.
        match found() {
            Some(found) => Some(found),
            None => self.begin(key, turn, load()).await,
        }
    }

    /// Waits in the lane until there is something better to wait for, and leaves it then.
    async fn turn_or_loading(&self, key: &K, origin: Origin, found: &impl Fn() -> Option<T>) -> Next<T> {
        let mut turn = pin!(self.lane.turn(origin));
        loop {
            // Listens before it looks, so that nothing is missed between the two.
            let begun = self.begun.notified();
            if let Some(found) = found() {
                return Next::Found(found);
            }
            if let Some(loading) = self.now.of(key) {
                return Next::Loading(loading);
            }
            tokio::select! {
                turn = &mut turn => return Next::Turn(turn.expect("any number may wait")),
                () = begun => {}
            }
        }
    }

    /// Begins to load, which goes on whoever leaves and has `turn` until it is over.
    fn begin(&self, key: K, turn: Turn, work: impl Future<Output = T> + Send + 'static) -> Loading<T> {
        let (reply, loaded) = oneshot::channel();
        let loading = loaded.map(Result::ok).boxed().shared();
        // Known before it can end.
        *self.now.lock() = Some((key, loading.clone()));
        let ends = Ends(Arc::clone(&self.now));
        tokio::spawn(async move {
            // Handed on last, also after a panic.
            let _turn = turn;
            let (reply, ends) = (reply, ends);
            let loaded = work.await;
            drop(ends);
            reply.send(loaded).ok();
        });
        self.begun.notify_waiters();
        loading
    }
}

impl<K, T> Now<K, T> {
    fn lock(&self) -> MutexGuard<'_, Option<(K, Loading<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq, T> Now<K, T> {
    /// What loads under `key`.
    fn of(&self, key: &K) -> Option<Loading<T>> {
        let now = self.lock();
        let (_, loading) = now.as_ref().filter(|(loads, _)| loads == key)?;
        Some(loading.clone())
    }
}

impl<K, T> Drop for Ends<K, T> {
    fn drop(&mut self) {
        let over = self.0.lock().take();
        drop(over);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{LocalBoxFuture, join_all};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::work::Client;

    /// Loads of numbers that each wait for a permit.
    struct Shelf {
        loads: Loads<u8, u8>,
        gate: Arc<Semaphore>,
        begun: Arc<Mutex<Vec<u8>>>,
        loaded: Arc<Mutex<Vec<u8>>>,
    }

    impl Shelf {
        fn new() -> Self {
            let (begun, loaded) = (Arc::default(), Arc::default());
            Self { loads: Loads::new(), gate: Arc::new(Semaphore::new(0)), begun, loaded }
        }

        /// `number` is asked for by `client`, and waited for.
        fn ask(&self, client: u8, number: u8) -> LocalBoxFuture<'_, Option<u8>> {
            let origin = Origin { client: Client::address([10, 0, 0, client].into()), request: u64::from(number) };
            let found = move || self.loaded.lock().expect("no panic").contains(&number).then_some(number);
            let (gate, begun, loaded) = (Arc::clone(&self.gate), Arc::clone(&self.begun), Arc::clone(&self.loaded));
            let load = move || async move {
                begun.lock().expect("no panic").push(number);
                gate.acquire().await.expect("it stays open").forget();
                loaded.lock().expect("no panic").push(number);
                number
            };
            let mut asking = self.loads.get(number, origin, found, load).boxed_local();
            assert!(asking.as_mut().now_or_never().is_none(), "{number} is not loaded yet");
            asking
        }

        /// What has begun, in its order.
        fn begun(&self) -> Vec<u8> {
            self.begun.lock().expect("no panic").clone()
        }
    }

    #[tokio::test]
    async fn clients_take_turns_whatever_one_of_them_asks_for() {
        let shelf = Shelf::new();
        let many: Vec<_> = (1..=18).map(|number| shelf.ask(1, number)).collect();
        let other = shelf.ask(2, 101);
        shelf.gate.add_permits(19);
        let (many, other) = tokio::join!(join_all(many), other);
        assert_eq!((many, other), ((1..=18).map(Some).collect(), Some(101)));
        let begun = shelf.begun();
        assert_eq!((&begun[..4], begun.len()), (&[1, 2, 101, 3][..], 19), "behind what runs and one more");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_loaded_and_what_has_begun_is() {
        let shelf = Shelf::new();
        let running = shelf.ask(1, 1);
        let left: Vec<_> = (2..=18).map(|number| shelf.ask(1, number)).collect();
        let (stays, other) = (shelf.ask(1, 19), shelf.ask(2, 101));
        drop((running, left));
        shelf.gate.add_permits(19);
        assert_eq!(tokio::join!(stays, other), (Some(19), Some(101)));
        let mut begun = shelf.begun();
        begun.sort_unstable();
        assert_eq!((begun, shelf.gate.available_permits()), (vec![1, 19, 101], 16), "three of nineteen");
        assert!(shelf.loaded.lock().expect("no panic").contains(&1), "whoever asked for it left, and it went on");
        assert_eq!(shelf.loads.lane.running(), 0);
    }

    #[tokio::test]
    async fn who_asks_for_the_same_waits_for_one_load_in_the_turn_of_whoever_is_first() {
        let shelf = Shelf::new();
        let many: Vec<_> = (1..=4).map(|number| shelf.ask(1, number)).collect();
        let (again, other) = (shelf.ask(2, 1), shelf.ask(2, 4));
        shelf.gate.add_permits(4);
        let (many, again, other) = tokio::join!(join_all(many), again, other);
        assert_eq!((many, again, other), ((1..=4).map(Some).collect(), Some(1), Some(4)));
        assert_eq!(shelf.begun(), [1, 2, 4, 3], "once each");
        assert_eq!(shelf.loads.get(4, Origin::local(), || Some(4), || async { 0 }).await, Some(4), "what is there is not loaded");
    }

    #[tokio::test]
    async fn a_load_that_panics_holds_up_no_other() {
        let loads = Loads::<u8, u8>::new();
        let panics = || async { panic!("no") };
        assert_eq!(loads.get(1, Origin::local(), || None, panics).await, None);
        assert_eq!(loads.get(1, Origin::local(), || None, || async { 1 }).await, Some(1));
        assert_eq!((loads.lane.waiting(), loads.now.of(&1).is_none()), (0, true));
    }
}
