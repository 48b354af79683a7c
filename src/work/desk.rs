//! A desk: a lane at which so much is at hand in all, and so much of one client.

use std::future::Future;

use super::{Budget, Client, Exceeded, Lane, Origin, Share, Turn};

/// Work of one kind that clients share; cheap to clone.
///
/// Clients take turns: what one of them asks for behind much of its own does not hold up what another asks for.
#[derive(Debug, Clone)]
pub struct Desk {
    places: Budget,
    lane: Lane,
}

/// A place at a desk, of what runs there or waits for its turn.
#[derive(Debug)]
pub struct Seat {
    lane: Lane,
    place: Share,
}

impl Desk {
    /// A desk whose lane is called `name` in metrics: `at_once` run among `at_hand` that run or wait, of which a client has `percent`.
    pub fn new(name: &'static str, at_once: usize, at_hand: u64, percent: u8) -> Self {
        Self { places: Budget::shared(at_hand, percent, 1), lane: Lane::new(name, at_once, usize::MAX) }
    }

    /// A place for what `client` asks for.
    ///
    /// # Errors
    /// The bound that it does not fit in.
    pub fn seat(&self, client: &Client) -> Result<Seat, Exceeded> {
        Ok(Seat { lane: self.lane.clone(), place: self.places.take(client, 1)? })
    }
}

impl Seat {
    /// Runs `work`, which may block, when it is its turn. Begun, it goes on whoever leaves, and has its place until it is over; a panic
    /// of it is the caller's.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (turn, place) = self.turn().await;
        let work = move || {
            let _place = place;
            work()
        };
        turn.run(work).await
    }

    /// The same for `work` that waits, and may not block.
    pub async fn run_async<T: Send + 'static>(self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (turn, place) = self.turn().await;
        let work = async move {
            let _place = place;
            work.await
        };
        turn.run_async(work).await
    }

    async fn turn(self) -> (Turn, Share) {
        let Self { lane, place } = self;
        let turn = lane.turn(Origin { client: place.client().clone(), request: 0 }).await;
        (turn.expect("any number may wait that has a place"), place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use tokio::sync::Notify;

    use super::*;

    fn client(number: u8) -> Client {
        Client::address([10, 0, 0, number].into())
    }

    #[tokio::test]
    async fn who_leaves_frees_no_place_of_what_runs() {
        let desk = Desk::new("test", 1, 4, 50);
        let (begun, (end, wait)) = (std::sync::Arc::new(Notify::new()), mpsc::channel::<()>());
        let (tell, seat) = (std::sync::Arc::clone(&begun), desk.seat(&client(1)).expect("a place"));
        let work = move || {
            tell.notify_one();
            wait.recv().ok();
        };
        let asking = tokio::spawn(seat.run(work));
        begun.notified().await;
        asking.abort();
        assert!(asking.await.is_err_and(|error| error.is_cancelled()), "its client has left");
        let second = desk.seat(&client(1)).expect("half of the places");
        assert_eq!(desk.seat(&client(1)).err(), Some(Exceeded::Client));
        let waiting = Box::pin(second.run(|| ()));
        assert!(waiting.now_or_never().is_none(), "the first runs");
        let mut other = Box::pin(desk.seat(&client(1)).expect("what had not begun is forgotten").run_async(async { 7 }));
        assert!(other.as_mut().now_or_never().is_none());
        end.send(()).expect("it waits for this");
        assert_eq!(other.await, 7);
        assert_eq!(desk.places.used(), 0);
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let desk = Desk::new("test", 1, 100, 50);
        let (end, wait) = mpsc::channel::<()>();
        let first = tokio::spawn(desk.seat(&client(1)).expect("a place").run(move || wait.recv().ok()));
        let (tell, mut order) = tokio::sync::mpsc::unbounded_channel();
        let ask = |who: u8| {
            let (seat, tell) = (desk.seat(&client(who)).expect("a place"), tell.clone());
            let mut asking = Box::pin(seat.run(move || tell.send(who).ok()));
            assert!(asking.as_mut().now_or_never().is_none());
            asking
        };
        while desk.lane.running() == 0 {
            tokio::task::yield_now().await;
        }
        let asked: Vec<_> = [1, 1, 1, 2].map(ask).into_iter().map(tokio::spawn).collect();
        end.send(()).expect("it waits for this");
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(order.recv().await);
        }
        assert_eq!(seen, [1, 2, 1, 1], "the other client did not wait for all of the first's");
        first.await.expect("no panic");
        for asking in asked {
            asking.await.expect("no panic");
        }
    }
}
