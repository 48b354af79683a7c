//! When a statement last met a damaged file.
//!
//! One moment for the whole process: an error of SQLite's does not say which file it is about. Whoever asks looks at their own.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// Notes that damage was met now.
pub(super) fn note() {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether damage was met at `moment` or after it.
pub(super) fn met_since(moment: Instant) -> bool {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last >= moment)
}
