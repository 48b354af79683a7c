//! A queue in which no client waits for another's rush, and no request for the whole of another.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

use super::Client;

/// Virtual time in which one unit of work is done for each of those that wait.
const UNIT: u64 = 1 << 16;

/// Whose work it is; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asks.
    pub client: Client,
    /// Tells the client's requests apart.
    pub request: u64,
}

impl Origin {
    /// The process itself.
    pub fn local() -> Self {
        Self { client: Client::local(), request: 0 }
    }
}

/// What waits, next first.
///
/// Weighted fair queueing (Demers, Keshav and Shenker, 1989) twice, with flows of one weight: clients take turns, however many
/// requests each has, and so do the requests of each client. Virtual time goes on by a unit for every unit that each flow has been
/// given; a flow begins at the time at which its first comes, and is a unit further for each that was taken. The second image of one
/// request is therefore behind the first of another that comes a moment later, and behind no more than a few of those that come one
/// after another.
#[derive(Debug)]
pub struct Fair<T> {
    clients: Flows<Client, Flows<u64, VecDeque<T>>>,
    waiting: usize,
}

/// Queues that take turns; only those in which something waits.
#[derive(Debug)]
struct Flows<K, Q> {
    now: u64,
    /// Tells apart those that began at one time, in the order in which they came.
    began: u64,
    order: BTreeMap<(u64, u64), K>,
    queues: HashMap<K, ((u64, u64), Q)>,
}

/// What a flow is made of: the items of one request, or the requests of one client.
trait Queue {
    type Item;
    fn find(&self, wanted: &dyn Fn(&Self::Item) -> bool) -> Option<&Self::Item>;
    fn take(&mut self, wanted: &dyn Fn(&Self::Item) -> bool) -> Option<Self::Item>;
    fn retain(&mut self, wanted: &dyn Fn(&Self::Item) -> bool);
    fn len(&self) -> usize;
}

impl<T> Queue for VecDeque<T> {
    type Item = T;

    fn find(&self, wanted: &dyn Fn(&T) -> bool) -> Option<&T> {
        self.iter().find(|item| wanted(item))
    }

    fn take(&mut self, wanted: &dyn Fn(&T) -> bool) -> Option<T> {
        let first = self.iter().position(wanted)?;
        self.remove(first)
    }

    fn retain(&mut self, wanted: &dyn Fn(&T) -> bool) {
        VecDeque::retain(self, wanted);
    }

    fn len(&self) -> usize {
        VecDeque::len(self)
    }
}

impl<K, Q> Default for Flows<K, Q> {
    fn default() -> Self {
        Self { now: 0, began: 0, order: BTreeMap::new(), queues: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, Q: Queue + Default> Flows<K, Q> {
    /// The flow of `key`, which something must be added to.
    fn of(&mut self, key: &K) -> &mut Q {
        let Self { now, began, order, queues } = self;
        let begin = || {
            *began += 1;
            order.insert((*now, *began), key.clone());
            ((*now, *began), Q::default())
        };
        &mut queues.entry(key.clone()).or_insert_with(begin).1
    }
}

impl<K: Clone + Eq + Hash, Q: Queue> Queue for Flows<K, Q> {
    type Item = Q::Item;

    fn find(&self, wanted: &dyn Fn(&Q::Item) -> bool) -> Option<&Q::Item> {
        self.order.values().find_map(|key| self.queues.get(key)?.1.find(wanted))
    }

    fn take(&mut self, wanted: &dyn Fn(&Q::Item) -> bool) -> Option<Q::Item> {
        let has = |key: &&K| self.queues.get(*key).is_some_and(|(_, queue)| queue.find(wanted).is_some());
        let key = self.order.values().find(has)?.clone();
        let flows = self.queues.len() as u64;
        let (place, queue) = self.queues.get_mut(&key)?;
        let item = queue.take(wanted);
        self.order.remove(place);
        self.now = place.0.max(self.now.saturating_add(UNIT / flows));
        if queue.len() == 0 {
            self.queues.remove(&key);
        } else {
            place.0 = place.0.saturating_add(UNIT);
            self.order.insert(*place, key);
        }
        item
    }

    fn retain(&mut self, wanted: &dyn Fn(&Q::Item) -> bool) {
        let order = &mut self.order;
        self.queues.retain(|_, (place, queue)| {
            queue.retain(wanted);
            let waits = queue.len() > 0;
            if !waits {
                order.remove(place);
            }
            waits
        });
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { clients: Flows::default(), waiting: 0 }
    }
}

impl<T> Fair<T> {
    /// Adds `item`, behind what waits of the same request.
    pub fn push(&mut self, Origin { client, request }: &Origin, item: T) {
        self.clients.of(client).of(request).push_back(item);
        self.waiting += 1;
    }

    /// Takes the next.
    pub fn pop(&mut self) -> Option<T> {
        self.take_one(&|_| true)
    }

    /// Takes up to `most` of those that are `wanted`, in their order; the others keep their places.
    pub fn take(&mut self, most: usize, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        std::iter::from_fn(|| self.take_one(&wanted)).take(most).collect()
    }

    fn take_one(&mut self, wanted: &dyn Fn(&T) -> bool) -> Option<T> {
        let item = self.clients.take(wanted)?;
        self.waiting -= 1;
        Some(item)
    }

    /// The first that is `wanted`.
    pub fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        self.clients.find(&wanted)
    }

    /// Drops those that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        let kept = std::cell::Cell::new(0);
        self.clients.retain(&|item| {
            let keeps = wanted(item);
            kept.set(kept.get() + usize::from(keeps));
            keeps
        });
        self.waiting = kept.get();
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(client: u8, request: u64) -> Origin {
        Origin { client: Client::address([10, 0, 0, client].into()), request }
    }

    fn rest<T>(mut queue: Fair<T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn a_small_request_does_not_wait_for_a_large_one() {
        let mut queue = Fair::default();
        (0..4).for_each(|image| queue.push(&origin(1, 1), format!("large {image}")));
        assert_eq!(queue.pop().as_deref(), Some("large 0"));
        assert_eq!(queue.pop().as_deref(), Some("large 1"));
        queue.push(&origin(1, 2), "single".to_owned());
        (0..2).for_each(|image| queue.push(&origin(1, 3), format!("later {image}")));
        assert_eq!(queue.len(), 5);
        assert_eq!(rest(queue), ["large 2", "single", "later 0", "large 3", "later 1"]);
    }

    #[test]
    fn a_client_does_not_wait_for_another_with_many_requests() {
        let mut queue = Fair::default();
        (0..100).for_each(|request| queue.push(&origin(1, request), (1, request)));
        assert_eq!(queue.pop(), Some((1, 0)));
        (0..3).for_each(|request| queue.push(&origin(2, request), (2, request)));
        let taken = rest(queue);
        assert_eq!(taken[..6], [(1, 1), (2, 0), (1, 2), (2, 1), (1, 3), (2, 2)]);
        assert_eq!((taken.len(), taken[101]), (102, (1, 99)));
    }

    #[test]
    fn who_sends_one_after_another_does_not_overtake_for_ever() {
        for (large, single) in [(origin(1, 1), 1), (origin(2, 1), 1)] {
            let mut queue = Fair::default();
            (0..4).for_each(|_| queue.push(&large, "large"));
            let mut taken = Vec::new();
            for request in 2..14 {
                queue.push(&origin(single, request), "single");
                taken.extend(queue.pop());
            }
            let large = taken.iter().filter(|taken| **taken == "large").count();
            assert!((3..=4).contains(&large), "a share of what is taken: {taken:?}");
        }
    }

    #[test]
    fn what_is_alike_is_taken_together() {
        let mut queue = Fair::default();
        for (client, request, item) in [(1, 1, 1), (1, 1, 2), (2, 2, 11), (1, 1, 3)] {
            queue.push(&origin(client, request), item);
        }
        assert_eq!(queue.find(|item| *item > 1), Some(&2));
        assert_eq!(queue.take(2, |item| *item < 10), [1, 2]);
        queue.retain(|item| *item != 3);
        assert_eq!((queue.len(), queue.pop(), queue.pop(), queue.is_empty()), (1, Some(11), None, true));
        assert!(queue.clients.queues.is_empty() && queue.clients.order.is_empty(), "nothing is kept of what is over");
    }
}
