//! Points in time as the store keeps them, and where the present comes from.
//!
//! Nothing else here asks the system for the time. The time of day is for people and may be set to anything at any moment; how long
//! something lasts is measured on a clock that nobody sets.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

use crate::registry::rfc3339;

/// Milliseconds since 1970, UTC; in JSON for clients an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Tells the time.
pub trait Time: Send + Sync {
    /// The time of day, which somebody may set forward and back.
    fn now(&self) -> Timestamp;

    /// Time since some moment, which nobody sets: what leases are measured on.
    fn elapsed(&self) -> Duration;
}

/// Tells the time; cheap to clone.
pub type Clock = Arc<dyn Time>;

/// The machine's clock.
pub fn system_clock() -> Clock {
    struct System(Instant);

    impl Time for System {
        fn now(&self) -> Timestamp {
            Timestamp::now()
        }

        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }

    Arc::new(System(Instant::now()))
}

impl Timestamp {
    /// The machine's present.
    pub fn now() -> Self {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    /// This time and `duration` more.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time and `duration` less.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = Duration::from_millis(u64::try_from(self.0).unwrap_or(0));
        f.write_str(&rfc3339(UNIX_EPOCH + elapsed))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
