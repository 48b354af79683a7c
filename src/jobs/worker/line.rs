//! The line between a job's thread and its worker: reports one way, the wish to stop the other.
//!
//! Knows neither the store nor what a job does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use crate::jobs::{
    control::{Control, Stop},
    event::Event,
    job::Progress,
    time::Clock,
};

/// Reports on their way; a job that is faster than the store waits.
const REPORTS: usize = 256;

/// A job's report.
#[derive(Debug)]
pub enum Message {
    Event(Event),
    Progress(Progress),
    Checkpointed,
    /// Answered once everything before it is durable.
    Flush(oneshot::Sender<()>),
}

/// The wish to stop; the first one counts, except that a lost lease overrides all.
///
/// A lease that was not extended in time counts as lost at that moment, whether or not its session had a chance to notice: a process
/// that was stopped for a while goes on in the middle of whatever its job does.
#[derive(Clone)]
pub struct StopFlag {
    wish: Arc<AtomicU8>,
    clock: Clock,
    /// When the lease is over, in milliseconds on the clock that nobody sets.
    until: Arc<AtomicU64>,
}

const STOPS: [Stop; 3] = [Stop::Cancelled, Stop::Shutdown, Stop::LeaseLost];

/// The job's end.
pub struct Line {
    reports: mpsc::Sender<Message>,
    stop: StopFlag,
    /// Number of the lease.
    lease: u64,
}

/// Both ends of a line: the job's, and what the worker receives.
pub fn line(stop: StopFlag, lease: u64) -> (Line, mpsc::Receiver<Message>) {
    let (reports, inbox) = mpsc::channel(REPORTS);
    (Line { reports, stop, lease }, inbox)
}

impl StopFlag {
    /// No wish yet, of a worker whose lease is over at `until` on `clock`, unless it is extended.
    pub fn new(clock: Clock, until: Duration) -> Self {
        let flag = Self { wish: Arc::default(), clock, until: Arc::default() };
        flag.extend(until);
        flag
    }

    /// Says that the lease lasts until then.
    pub fn extend(&self, until: Duration) {
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether the lease was not extended in time.
    pub fn is_silent(&self) -> bool {
        self.clock.elapsed() >= Duration::from_millis(self.until.load(Ordering::Acquire))
    }

    pub fn set(&self, stop: Stop) {
        let code = 1 + STOPS.iter().position(|known| *known == stop).map_or(0, |position| position as u8);
        if stop == Stop::LeaseLost {
            self.wish.store(code, Ordering::Release);
        } else {
            let _ = self.wish.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    pub fn get(&self) -> Option<Stop> {
        if self.is_silent() {
            self.set(Stop::LeaseLost);
        }
        let code = self.wish.load(Ordering::Acquire);
        STOPS.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl Line {
    /// A worker that is gone takes no reports any more; its lease is, too.
    fn send(&self, message: Message) {
        if self.reports.blocking_send(message).is_err() {
            self.stop.set(Stop::LeaseLost);
        }
    }
}

impl Control for Line {
    fn stop(&self) -> Option<Stop> {
        self.stop.get()
    }

    fn lease(&self) -> u64 {
        self.lease
    }

    fn event(&self, event: Event) {
        self.send(Message::Event(event));
    }

    fn progress(&self, progress: Progress) {
        self.send(Message::Progress(progress));
    }

    fn flush(&self) {
        let (done, durable) = oneshot::channel();
        self.send(Message::Flush(done));
        if durable.blocking_recv().is_err() {
            self.stop.set(Stop::LeaseLost);
        }
    }

    fn checkpointed(&self) {
        self.send(Message::Checkpointed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::system_clock;

    fn flag() -> StopFlag {
        StopFlag::new(system_clock(), Duration::from_secs(3600))
    }

    #[test]
    fn the_first_wish_to_stop_counts_unless_the_lease_is_lost() {
        for (wishes, expected) in [
            (&[][..], None),
            (&[Stop::Cancelled, Stop::Shutdown], Some(Stop::Cancelled)),
            (&[Stop::Shutdown, Stop::Cancelled], Some(Stop::Shutdown)),
            (&[Stop::Cancelled, Stop::LeaseLost, Stop::Shutdown], Some(Stop::LeaseLost)),
        ] {
            let flag = flag();
            wishes.iter().for_each(|stop| flag.set(*stop));
            assert_eq!(flag.get(), expected, "{wishes:?}");
        }
    }

    #[test]
    fn a_lease_that_is_not_extended_is_lost_before_anybody_says_so() {
        let (line, _inbox) = line(flag(), 1);
        assert_eq!(line.stop(), None);
        line.stop.extend(Duration::ZERO);
        assert_eq!(line.stop(), Some(Stop::LeaseLost));
        line.stop.extend(Duration::from_secs(3600));
        assert_eq!(line.stop(), Some(Stop::LeaseLost), "once it is set, it stays");
    }

    #[test]
    fn a_line_whose_worker_is_gone_says_so() {
        let (line, inbox) = line(flag(), 1);
        line.event(Event::new("step"));
        assert!(!line.cancelled());
        drop(inbox);
        line.flush();
        assert_eq!(line.stop(), Some(Stop::LeaseLost));
    }
}
