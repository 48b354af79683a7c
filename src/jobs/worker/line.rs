//! The line between a job's thread and its worker: reports one way, the wish to stop the other.
//!
//! Knows neither the store nor what a job does.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::{mpsc, oneshot};

use crate::jobs::{
    control::{Control, Stop},
    event::Event,
    job::Progress,
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
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicU8>);

const STOPS: [Stop; 3] = [Stop::Cancelled, Stop::Shutdown, Stop::LeaseLost];

/// The job's end.
pub struct Line {
    reports: mpsc::Sender<Message>,
    stop: StopFlag,
}

/// Both ends of a line: the job's, and what the worker receives.
pub fn line(stop: StopFlag) -> (Line, mpsc::Receiver<Message>) {
    let (reports, inbox) = mpsc::channel(REPORTS);
    (Line { reports, stop }, inbox)
}

impl StopFlag {
    pub fn set(&self, stop: Stop) {
        let code = 1 + STOPS.iter().position(|known| *known == stop).map_or(0, |position| position as u8);
        if stop == Stop::LeaseLost {
            self.0.store(code, Ordering::Release);
        } else {
            let _ = self.0.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    pub fn get(&self) -> Option<Stop> {
        let code = self.0.load(Ordering::Acquire);
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

    #[test]
    fn the_first_wish_to_stop_counts_unless_the_lease_is_lost() {
        for (wishes, expected) in [
            (&[][..], None),
            (&[Stop::Cancelled, Stop::Shutdown], Some(Stop::Cancelled)),
            (&[Stop::Shutdown, Stop::Cancelled], Some(Stop::Shutdown)),
            (&[Stop::Cancelled, Stop::LeaseLost, Stop::Shutdown], Some(Stop::LeaseLost)),
        ] {
            let flag = StopFlag::default();
            wishes.iter().for_each(|stop| flag.set(*stop));
            assert_eq!(flag.get(), expected, "{wishes:?}");
        }
    }

    #[test]
    fn a_line_whose_worker_is_gone_says_so() {
        let (line, inbox) = line(StopFlag::default());
        line.event(Event::new("step"));
        assert!(!line.cancelled());
        drop(inbox);
        line.flush();
        assert_eq!(line.stop(), Some(Stop::LeaseLost));
    }
}
