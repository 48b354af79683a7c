//! A queue in which no request waits for the whole of another, however large that is.

use std::collections::{BTreeMap, HashMap};

/// Virtual time in which one unit of work is done for each of the requests that wait.
const UNIT: u64 = 1 << 16;

/// What waits, next first.
///
/// Weighted fair queueing (Demers, Keshav and Shenker, 1989) with requests as flows of one weight: virtual time goes on by a unit for
/// every unit that each waiting request has been given, and what a request has behind `ahead` units of its own has its place as far
/// behind the time at which it came. The second image of one request is therefore behind the first of another that comes a moment
/// later, and behind no more than a few of those that come one after another.
#[derive(Debug)]
pub struct Fair<T> {
    now: u64,
    /// Tells apart what has one place, in the order in which it came.
    came: u64,
    waiting: BTreeMap<(u64, u64), (u64, T)>,
    /// How much of each request waits.
    requests: HashMap<u64, usize>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { now: 0, came: 0, waiting: BTreeMap::new(), requests: HashMap::new() }
    }
}

impl<T> Fair<T> {
    /// Adds `item` of a request, of which `ahead` units were added before it.
    pub fn push(&mut self, request: u64, ahead: u64, item: T) {
        self.came += 1;
        let place = self.now.saturating_add(ahead.saturating_mul(UNIT));
        self.waiting.insert((place, self.came), (request, item));
        *self.requests.entry(request).or_default() += 1;
    }

    /// Takes the next.
    pub fn pop(&mut self) -> Option<T> {
        let place = *self.waiting.first_key_value()?.0;
        self.remove(place)
    }

    /// Takes up to `most` of those that are `wanted`, in their order; the others keep their places.
    pub fn take(&mut self, most: usize, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let wanted = self.waiting.iter().filter(|(_, (_, item))| wanted(item));
        let places: Vec<_> = wanted.map(|(place, _)| *place).take(most).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    fn remove(&mut self, place: (u64, u64)) -> Option<T> {
        let requests = self.requests.len().max(1) as u64;
        let (request, item) = self.waiting.remove(&place)?;
        self.forget(request);
        self.now = place.0.max(self.now.saturating_add(UNIT / requests));
        Some(item)
    }

    fn forget(&mut self, request: u64) {
        if let Some(waiting) = self.requests.get_mut(&request) {
            *waiting -= 1;
            if *waiting == 0 {
                self.requests.remove(&request);
            }
        }
    }

    /// The first that is `wanted`.
    pub fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<&T> {
        self.waiting.values().map(|(_, item)| item).find(|item| wanted(item))
    }

    /// Drops those that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        let gone: Vec<_> =
            self.waiting.iter().filter(|(_, (_, item))| !wanted(item)).map(|(place, (request, _))| (*place, *request)).collect();
        for (place, request) in gone {
            self.waiting.remove(&place);
            self.forget(request);
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_request_does_not_wait_for_a_large_one() {
        let mut queue = Fair::default();
        for image in 0..4 {
            queue.push(1, image, format!("large {image}"));
        }
        assert_eq!(queue.pop().as_deref(), Some("large 0"));
        assert_eq!(queue.pop().as_deref(), Some("large 1"));
        queue.push(2, 0, "single".to_owned());
        for image in 0..2 {
            queue.push(3, image, format!("later {image}"));
        }
        let rest: Vec<String> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, ["large 2", "single", "later 0", "large 3", "later 1"]);
    }

    #[test]
    fn who_sends_one_after_another_does_not_overtake_for_ever() {
        let mut queue = Fair::default();
        (0..4).for_each(|image| queue.push(1, image, "large"));
        let mut taken = Vec::new();
        for request in 2..14 {
            queue.push(request, 0, "single");
            taken.extend(queue.pop());
        }
        assert_eq!(taken.iter().filter(|taken| **taken == "large").count(), 3, "a quarter each of what waits: {taken:?}");
    }

    #[test]
    fn what_is_alike_is_taken_together() {
        let mut queue = Fair::default();
        for (request, ahead, item) in [(1, 0, 1), (1, 1, 2), (2, 0, 11), (1, 2, 3)] {
            queue.push(request, ahead, item);
        }
        assert_eq!(queue.find(|item| *item > 1), Some(&11));
        assert_eq!(queue.take(2, |item| *item < 10), [1, 2]);
        queue.retain(|item| *item != 3);
        assert_eq!((queue.pop(), queue.pop(), queue.is_empty()), (Some(11), None, true));
        assert!(queue.requests.is_empty(), "nothing is kept of what is over");
    }
}
