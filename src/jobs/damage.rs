//! When a statement last met a damaged file, or one that may only be read.
//!
//! One moment for the whole process: an error of SQLite's does not say which file it is about. Whoever asks looks at their own.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// When a statement was last refused because its connection, or the disk, may only be read.
static READ_ONLY: Mutex<Option<Instant>> = Mutex::new(None);

/// Notes that damage was met now.
pub(super) fn note() {
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Notes that a write was refused now. A connection that is opened while the disk is read-only stays so when the disk is not any more.
pub(super) fn note_read_only() {
    *READ_ONLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Whether a write was refused at `moment` or after it.
pub(super) fn was_read_only_since(moment: Instant) -> bool {
    READ_ONLY.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last >= moment)
}

/// Whether damage was met at `moment` or after it.
pub(super) fn met_since(moment: Instant) -> bool {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last >= moment)
}
