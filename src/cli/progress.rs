//! Progress of long work: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::answer;
use crate::message::visible;

/// How often a plain line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how much of a known or unknown total is done, on stderr.
pub(super) struct Progress {
    what: String,
    unit: Unit,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes, shown as MB.
    Bytes,
    /// Things.
    Items,
}

impl Progress {
    pub(super) fn new(what: &str, unit: Unit) -> Self {
        let template = match unit {
            Unit::Bytes => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            Unit::Items => "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}",
        };
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template).expect("the template is a constant");
            ProgressBar::new(0).with_style(style).with_message(visible(what).into_owned())
        });
        Self { what: what.to_owned(), unit, bar, last_line: Instant::now() }
    }

    /// Says that `done` of `total` is done.
    pub(super) fn set(&mut self, done: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            answer::note(format_args!("{}: {}", self.what, self.describe(done, total)));
        }
    }

    /// Prints a line above the bar.
    pub(super) fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| answer::note(line)),
            None => answer::note(line),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn describe(&self, done: u64, total: Option<u64>) -> String {
        let show = |count: u64| match self.unit {
            Unit::Bytes => format!("{:.0} MB", count as f64 / 1e6),
            Unit::Items => count.to_string(),
        };
        total.map_or_else(|| show(done), |total| format!("{} of {}", show(done), show(total)))
    }
}
