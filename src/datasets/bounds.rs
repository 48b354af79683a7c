//! What taking a data set in may cost: contents of one, bytes of all, and whether anyone still waits for it.
//!
//! Counts only; knows neither archives nor files.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::error::{Error, Excess};
use crate::config::DatasetsConfig;

/// Contents from which on the ratio counts: a few flat drawings shrink further than any photo, and harm no one.
const RATIO_FLOOR_BYTES: u64 = 64 << 20;

/// Refuses `bytes` that `sent` ones became, if photos would not have shrunk so far.
///
/// # Errors
/// More than `limit` times as many.
pub(super) fn check_ratio(bytes: u64, sent: u64, limit: u64) -> Result<(), Error> {
    let most = RATIO_FLOOR_BYTES.max(sent.saturating_mul(limit));
    if bytes > most { Err(Error::TooLarge(Excess::Ratio { limit })) } else { Ok(()) }
}

/// Counts the contents of one data set against its bounds.
#[derive(Debug)]
pub(super) struct Meter {
    max_bytes: u64,
    max_entries: usize,
    max_pixels: u64,
    max_ratio: u64,
    sent: u64,
    bytes: u64,
    entries: usize,
    pixels: u64,
}

impl Meter {
    /// A meter for an archive for which `sent` bytes arrived; `None` for a folder, which has no ratio.
    pub fn new(config: &DatasetsConfig, sent: Option<u64>) -> Self {
        Self {
            max_bytes: config.max_bytes,
            max_entries: config.max_entries,
            max_pixels: config.max_pixels,
            max_ratio: config.max_ratio,
            sent: sent.unwrap_or(u64::MAX),
            bytes: 0,
            entries: 0,
            pixels: 0,
        }
    }

    /// Counts a file or folder.
    pub fn entry(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.max_entries {
            return Err(Error::TooLarge(Excess::Entries { limit: self.max_entries }));
        }
        Ok(())
    }

    /// Counts bytes that came out of the archive, whether they are kept or not.
    pub fn unpacked(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes {
            return Err(Error::TooLarge(Excess::Bytes { limit: self.max_bytes }));
        }
        check_ratio(self.bytes, self.sent, self.max_ratio)
    }

    /// Counts the pixels of an image that is to be decoded.
    pub fn pixels(&mut self, pixels: u64) -> Result<(), Error> {
        self.pixels = self.pixels.saturating_add(pixels);
        if self.pixels > self.max_pixels {
            return Err(Error::TooLarge(Excess::Pixels { limit: self.max_pixels }));
        }
        Ok(())
    }
}

/// Bytes on disk of all data sets and of uploads in progress.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    used: Arc<AtomicU64>,
    limit: u64,
}

/// What one upload has on disk; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    quota: Quota,
    held: u64,
}

impl Quota {
    pub fn new(used: u64, limit: u64) -> Self {
        Self { used: Arc::new(AtomicU64::new(used)), limit }
    }

    pub fn share(&self) -> Share {
        Share { quota: self.clone(), held: 0 }
    }

    /// Gives back what a removed data set had.
    pub fn release(&self, bytes: u64) {
        // Never below zero, even if a manifest was edited meanwhile.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes)));
    }
}

impl Share {
    /// Takes `bytes` more.
    pub fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.quota.limit);
        let taken = self.quota.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map_err(|_| Error::QuotaExceeded { limit: self.quota.limit })?;
        self.held += bytes;
        Ok(())
    }

    /// Gives `bytes` back, which have been deleted.
    pub fn release(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        self.quota.release(bytes);
    }

    /// Bytes taken and not given back.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Leaves what is held counted, as a published data set's.
    pub fn settle(mut self) {
        self.held = 0;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.release(self.held);
    }
}

/// Tells work on another thread that nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

/// Cancels when dropped, as the future of a client that left is.
#[derive(Debug)]
pub(super) struct CancelOnDrop(pub Cancel);

impl Cancel {
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// What decoding looks at.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let quota = Quota::new(10, 100);
        let used = |expected: u64| assert_eq!(quota.used.load(Ordering::Relaxed), expected);
        let mut first = quota.share();
        first.take(60).unwrap();
        let mut second = quota.share();
        assert!(matches!(second.take(31), Err(Error::QuotaExceeded { limit: 100 })));
        assert!(matches!(second.take(u64::MAX), Err(Error::QuotaExceeded { .. })));
        second.take(30).unwrap();
        used(100);
        drop(second);
        first.release(20);
        used(50);
        assert_eq!(first.held(), 40);
        first.settle();
        used(50);
        quota.release(1000);
        used(0);
    }

    #[test]
    fn contents_are_bounded() {
        let config = DatasetsConfig {
            max_bytes: 1 << 30,
            max_entries: 2,
            max_ratio: 10,
            max_pixels: 100,
            ..crate::config::load(&crate::config::Sources::default()).unwrap().datasets
        };
        let mut meter = Meter::new(&config, Some(10 << 20));
        meter.entry().unwrap();
        meter.entry().unwrap();
        assert!(matches!(meter.entry(), Err(Error::TooLarge(Excess::Entries { limit: 2 }))));
        meter.unpacked(100 << 20).unwrap();
        assert!(matches!(meter.unpacked(1), Err(Error::TooLarge(Excess::Ratio { limit: 10 }))));
        meter.pixels(100).unwrap();
        assert!(matches!(meter.pixels(1), Err(Error::TooLarge(Excess::Pixels { limit: 100 }))));
        let mut folder = Meter::new(&config, None);
        folder.unpacked(1 << 30).unwrap();
        assert!(matches!(folder.unpacked(1), Err(Error::TooLarge(Excess::Bytes { .. }))));
    }
}
