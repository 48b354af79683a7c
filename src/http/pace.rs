//! How slowly a body may arrive: silence and a slowest rate are bounded, and so the whole is by what arrives.
//!
//! A large photo over a thin line is no fault; a sender that keeps memory, a place among uploads and a connection for nothing is. Time
//! that graft itself needs between two chunks does not count.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::body::{BodyFault, fault_in};

/// How long a sender may take to begin, beyond what the slowest rate gives it for what has arrived: whoever holds a place has to send.
const GRACE: Duration = Duration::from_secs(10);

/// How slowly a body may arrive.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest silence, and how long the rate is measured at a time.
    pub idle: Duration,
    /// Where the silence is configured.
    pub setting: &'static str,
    /// The slowest rate.
    pub bytes_per_second: u64,
}

/// The chunks of `body` while they arrive at `pace`, and [`BodyFault::Silent`] or [`BodyFault::TooSlow`] once they do not.
pub fn paced(body: Body, pace: Pace) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin {
    let measured = Measured::new(pace);
    let chunks = stream::try_unfold((body.into_data_stream(), measured), move |(mut chunks, mut measured)| async move {
        let began = Instant::now();
        let (patience, fault) = measured.patience();
        let chunk = tokio::time::timeout(patience, chunks.next()).await.map_err(|_| fault)?;
        let Some(chunk) = chunk else { return Ok(None) };
        let chunk = chunk.map_err(|error| fault_in(&error).unwrap_or(BodyFault::Interrupted))?;
        measured.add(chunk.len(), began.elapsed())?;
        Ok(Some((chunk, (chunks, measured))))
    });
    Box::pin(chunks)
}

/// What has arrived, in all and since the rate was last looked at.
struct Measured {
    pace: Pace,
    waited: Duration,
    bytes: u64,
    waited_in_all: Duration,
    bytes_in_all: u64,
}

impl Measured {
    fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, bytes: 0, waited_in_all: Duration::ZERO, bytes_in_all: 0 }
    }

    /// How long the next chunk is waited for, and what it means when it does not come.
    fn patience(&self) -> (Duration, BodyFault) {
        let Pace { idle, setting, bytes_per_second } = self.pace;
        let paid = Duration::try_from_secs_f64(self.bytes_in_all as f64 / bytes_per_second.max(1) as f64);
        let allowed = paid.unwrap_or(Duration::MAX).saturating_add(GRACE).saturating_sub(self.waited_in_all);
        if allowed < idle {
            (allowed, BodyFault::TooSlow { bytes_per_second })
        } else {
            (idle, BodyFault::Silent { ms: idle.as_millis(), setting })
        }
    }

    fn add(&mut self, bytes: usize, waited: Duration) -> Result<(), BodyFault> {
        self.bytes += bytes as u64;
        self.waited += waited;
        self.bytes_in_all += bytes as u64;
        self.waited_in_all += waited;
        if self.waited < self.pace.idle {
            return Ok(());
        }
        let bytes_per_second = self.pace.bytes_per_second;
        if (self.bytes as f64) < bytes_per_second as f64 * self.waited.as_secs_f64() {
            return Err(BodyFault::TooSlow { bytes_per_second });
        }
        (self.bytes, self.waited) = (0, Duration::ZERO);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    const PACE: Pace = Pace { idle: Duration::from_millis(200), setting: "x.y", bytes_per_second: 1000 };

    /// A body of `count` chunks of `bytes` bytes, each `ms` after the one before; silent at the end if it is `open`.
    fn body(count: usize, bytes: usize, ms: u64, open: bool) -> Body {
        let chunks = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))
        });
        let silence = stream::pending().take(usize::from(open));
        Body::from_stream(chunks.chain(silence))
    }

    async fn check(body: Body, expected: Result<usize, BodyFault>) {
        let arrived = paced(body, PACE).try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len()) }).await;
        assert_eq!(arrived, expected);
    }

    #[tokio::test]
    async fn bytes_that_flow_may_take_as_long_as_they_need() {
        check(Body::empty(), Ok(0)).await;
        // Three times the bound on silence.
        check(body(12, 100, 50, false), Ok(1200)).await;
    }

    #[tokio::test]
    async fn silence_and_a_trickle_are_cut_off() {
        check(body(1, 5000, 0, true), Err(BodyFault::Silent { ms: 200, setting: "x.y" })).await;
        check(body(100, 1, 20, false), Err(BodyFault::TooSlow { bytes_per_second: 1000 })).await;
    }

    #[test]
    fn who_holds_a_place_has_to_send() {
        let pace = Pace { idle: Duration::from_secs(60), ..PACE };
        let mut measured = Measured::new(pace);
        let too_slow = BodyFault::TooSlow { bytes_per_second: 1000 };
        assert_eq!(measured.patience(), (GRACE, too_slow));
        measured.add(1, Duration::from_secs(4)).expect("it has begun");
        assert_eq!(measured.patience().0, Duration::from_millis(6001), "a byte buys a millisecond");
        // What arrives buys time, and the whole of a large body may take long.
        measured.add(40_000, Duration::from_secs(1)).expect("it flows");
        assert_eq!(measured.patience().0, Duration::from_millis(45_001));
        measured.add(40_000, Duration::from_secs(40)).expect("it flows");
        measured.add(80_000, Duration::from_secs(1)).expect("it flows");
        assert_eq!(
            measured.patience(),
            (pace.idle, BodyFault::Silent { ms: 60_000, setting: "x.y" }),
            "silence is bounded as ever"
        );
    }

    #[test]
    fn a_fast_beginning_is_no_credit() {
        let mut measured = Measured::new(PACE);
        assert_eq!(measured.add(1_000_000, Duration::from_millis(200)), Ok(()));
        assert_eq!(measured.add(10, Duration::from_millis(199)), Ok(()));
        assert_eq!(measured.add(10, Duration::from_millis(1)), Err(BodyFault::TooSlow { bytes_per_second: 1000 }));
    }
}
