//! How much the holder of a key may ask: images a second with a burst, and requests in flight.
//!
//! Is told the time and never asks for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How much the holder of a key may ask; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Images a second, in the long run.
    pub images_per_second: Option<u32>,
    /// Images at once after a rest; as many as a second has when it is not set.
    pub burst: Option<u32>,
    /// Requests whose work or answer has not ended.
    pub in_flight: Option<u32>,
}

/// How much a holder may still ask, for headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Images at once after a rest.
    pub burst: u32,
    /// Seconds in which that many come back.
    pub window: u64,
    /// Images that may be asked now.
    pub remaining: u32,
    /// Seconds until all of the burst is there again.
    pub reset: u64,
}

/// Why images are not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// Not yet: so long it takes until they would be.
    For(Duration),
    /// Never: there are more than may come at once.
    Always {
        /// How many may.
        burst: u32,
    },
}

/// What a holder has asked lately; of the key, whatever becomes of its limits meanwhile.
#[derive(Debug, Default)]
pub(super) struct Usage {
    bucket: Mutex<Option<Bucket>>,
    in_flight: AtomicU32,
}

/// Images that were asked and did not wear off yet: what a token bucket lacks to be full.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    spent: f64,
    at: Instant,
}

/// A place among the requests in flight, given back when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Usage>);

impl Limits {
    fn rate(&self) -> Option<(f64, u32)> {
        let rate = self.images_per_second?;
        Some((f64::from(rate), self.burst.unwrap_or(rate).max(1)))
    }
}

impl Usage {
    /// Takes `images` from the bucket at `now`, all or none.
    pub(super) fn take(&self, limits: &Limits, images: usize, now: Instant) -> Result<(), Full> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spent) = with(*bucket, limits, images, now)? {
            *bucket = Some(Bucket { spent, at: now });
        }
        Ok(())
    }

    /// Whether `images` could be taken at `now`.
    pub(super) fn check(&self, limits: &Limits, images: usize, now: Instant) -> Result<(), Full> {
        with(*self.bucket.lock().unwrap_or_else(PoisonError::into_inner), limits, images, now).map(drop)
    }

    /// What is left of the bucket at `now`; `None` without a limit.
    pub(super) fn room(&self, limits: &Limits, now: Instant) -> Option<Room> {
        let (rate, burst) = limits.rate()?;
        let spent = spent(*self.bucket.lock().unwrap_or_else(PoisonError::into_inner), rate, burst, now);
        let seconds = |images: f64| (images / rate - EXACT).ceil().max(0.0) as u64;
        let remaining = (f64::from(burst) - spent + EXACT).floor() as u32;
        Some(Room { burst, window: seconds(f64::from(burst)).max(1), remaining, reset: seconds(spent) })
    }

    /// A place among the requests in flight; `None` when all are taken.
    pub(super) fn enter(self: &Arc<Self>, limits: &Limits) -> Option<Place> {
        let bound = limits.in_flight.unwrap_or(u32::MAX);
        let free = |taken: u32| (taken < bound).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        Some(Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A millionth of an image: what sums of fractions may be off by.
const EXACT: f64 = 1e-6;

/// What is spent of `bucket` with `images` more; `None` without a limit.
fn with(bucket: Option<Bucket>, limits: &Limits, images: usize, now: Instant) -> Result<Option<f64>, Full> {
    let Some((rate, burst)) = limits.rate() else { return Ok(None) };
    let images = u32::try_from(images).ok().filter(|images| *images <= burst).ok_or(Full::Always { burst })?;
    let spent = spent(bucket, rate, burst, now) + f64::from(images);
    let over = spent - f64::from(burst);
    if over > EXACT { Err(Full::For(Duration::from_secs_f64(over / rate))) } else { Ok(Some(spent)) }
}

/// What of `bucket` has not worn off at `now`: never more than `burst`, which may have shrunk.
fn spent(bucket: Option<Bucket>, rate: f64, burst: u32, now: Instant) -> f64 {
    let Some(Bucket { spent, at }) = bucket else { return 0.0 };
    (spent.min(f64::from(burst)) - now.saturating_duration_since(at).as_secs_f64() * rate).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits(images_per_second: u32, burst: Option<u32>) -> Limits {
        Limits { images_per_second: Some(images_per_second), burst, in_flight: None }
    }

    #[test]
    fn images_wear_off_at_their_rate() {
        let (usage, limits, start) = (Usage::default(), limits(2, Some(10)), Instant::now());
        assert_eq!(usage.take(&limits, 10, start), Ok(()));
        assert_eq!(usage.take(&limits, 1, start), Err(Full::For(SECOND / 2)));
        assert_eq!(usage.take(&limits, 10, start + SECOND), Err(Full::For(4 * SECOND)));
        assert_eq!(usage.take(&limits, 2, start + SECOND), Ok(()));
        assert_eq!(usage.take(&limits, 1, start + SECOND), Err(Full::For(SECOND / 2)));
        // A rest brings back the burst, and no more.
        let rested = start + 3600 * SECOND;
        assert_eq!(usage.take(&limits, 10, rested), Ok(()));
        assert!(usage.take(&limits, 1, rested).is_err());
        // A clock that seems to go back brings nothing.
        assert!(usage.take(&limits, 1, start).is_err());
    }

    #[test]
    fn a_refusal_costs_nothing_and_too_many_never_pass() {
        let (usage, limits, start) = (Usage::default(), limits(3, None), Instant::now());
        assert_eq!(usage.check(&limits, 3, start), Ok(()));
        assert_eq!(usage.take(&limits, 4, start), Err(Full::Always { burst: 3 }));
        assert_eq!(usage.take(&limits, usize::MAX, start), Err(Full::Always { burst: 3 }));
        assert_eq!(usage.take(&limits, 2, start), Ok(()));
        assert!(usage.take(&limits, 2, start).is_err());
        assert_eq!(usage.take(&limits, 1, start), Ok(()));
        assert_eq!(usage.take(&Limits::default(), 1_000_000, start), Ok(()), "no limit");
    }

    #[test]
    fn the_room_is_what_a_client_may_still_ask() {
        let (usage, limits, start) = (Usage::default(), limits(2, Some(10)), Instant::now());
        let room = |remaining, reset| Some(Room { burst: 10, window: 5, remaining, reset });
        assert_eq!(usage.room(&limits, start), room(10, 0));
        usage.take(&limits, 7, start).expect("there is room");
        assert_eq!(usage.room(&limits, start), room(3, 4));
        assert_eq!(usage.room(&limits, start + SECOND / 4), room(3, 4));
        assert_eq!(usage.room(&limits, start + SECOND), room(5, 3));
        assert_eq!(usage.room(&limits, start + 60 * SECOND), room(10, 0));
        assert_eq!(usage.room(&Limits::default(), start), None);
    }

    #[test]
    fn limits_that_change_count_at_once() {
        let (usage, start) = (Usage::default(), Instant::now());
        usage.take(&limits(100, None), 100, start).expect("there is room");
        assert_eq!(usage.room(&limits(2, Some(4)), start), Some(Room { burst: 4, window: 2, remaining: 0, reset: 2 }));
        assert_eq!(usage.take(&limits(2, Some(4)), 4, start + 2 * SECOND), Ok(()));
    }

    #[test]
    fn places_are_given_back_with_their_last_holder() {
        let (usage, limits) = (Arc::new(Usage::default()), Limits { in_flight: Some(2), ..Limits::default() });
        let [one, other] = [usage.enter(&limits), usage.enter(&limits)];
        assert!(one.is_some() && other.is_some() && usage.enter(&limits).is_none());
        assert!(usage.enter(&Limits::default()).is_some(), "a bound that was lifted");
        drop(one);
        assert!(usage.enter(&limits).is_some());
        assert!(usage.enter(&Limits { in_flight: Some(1), ..limits }).is_none(), "a bound that was lowered");
    }
}
