//! How slowly a body may arrive: silence and a slowest rate are bounded, the whole is not.
//!
//! A large photo over a thin line is no fault; a sender that keeps memory and a connection for nothing is. Time that graft itself
//! needs between two chunks does not count.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::body::{BodyFault, fault_in};

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
    let measured = Measured { pace, waited: Duration::ZERO, bytes: 0 };
    let chunks = stream::try_unfold((body.into_data_stream(), measured), move |(mut chunks, mut measured)| async move {
        let began = Instant::now();
        let chunk = tokio::time::timeout(pace.idle, chunks.next()).await;
        let chunk = chunk.map_err(|_| BodyFault::Silent { ms: pace.idle.as_millis(), setting: pace.setting })?;
        let Some(chunk) = chunk else { return Ok(None) };
        let chunk = chunk.map_err(|error| fault_in(&error).unwrap_or(BodyFault::Interrupted))?;
        measured.add(chunk.len(), began.elapsed())?;
        Ok(Some((chunk, (chunks, measured))))
    });
    Box::pin(chunks)
}

/// What has arrived since the rate was last looked at.
struct Measured {
    pace: Pace,
    waited: Duration,
    bytes: u64,
}

impl Measured {
    fn add(&mut self, bytes: usize, waited: Duration) -> Result<(), BodyFault> {
        self.bytes += bytes as u64;
        self.waited += waited;
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
    fn a_fast_beginning_is_no_credit() {
        let mut measured = Measured { pace: PACE, waited: Duration::ZERO, bytes: 0 };
        assert_eq!(measured.add(1_000_000, Duration::from_millis(200)), Ok(()));
        assert_eq!(measured.add(10, Duration::from_millis(199)), Ok(()));
        assert_eq!(measured.add(10, Duration::from_millis(1)), Err(BodyFault::TooSlow { bytes_per_second: 1000 }));
    }
}
