//! An archive on its way in: from chunks to a file, then to a data set on a thread of its own.
//!
//! Knows chunks of bytes; knows nothing of HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    fs::File,
    io::{AsyncWriteExt, BufWriter},
    task::spawn_blocking,
};

use super::{
    archive::{self, ArchiveKind},
    bounds::{Cancel, CancelOnDrop, check_ratio},
    error::{At, Error},
    manifest::Dataset,
    options::ReadAs,
    staging::Staging,
    store::Datasets,
};
use crate::{
    runtime::trim,
    work::{Client, EndsElsewhere, Share},
};

/// Bytes that are gathered before they are written.
const WRITTEN_AT_ONCE: usize = 4 << 10;

/// An archive that is being received; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    store: Datasets,
    kind: Option<ArchiveKind>,
    held: EndsElsewhere<Held>,
    /// Chunks may be of a byte each; every write to a file has its thread.
    file: BufWriter<File>,
    received: u64,
    /// Bytes that arrived encoded; `None` where the archive arrives as it is.
    encoded: Option<Arc<AtomicU64>>,
    /// The first bytes, until they have said what kind of archive it is.
    first: Vec<u8>,
}

/// What an upload holds until it is over: gigabytes may have to be removed where it is given up.
#[derive(Debug)]
struct Held {
    staging: Staging,
    place: Share,
}

impl Upload {
    pub(super) async fn start(store: Datasets, client: &Client, kind: Option<ArchiveKind>) -> Result<Self, Error> {
        let place = store.place(client)?;
        let inner = Arc::clone(&store.inner);
        let begin = move || {
            let staging = Staging::new(&inner.dir, &inner.quota)?;
            let path = staging.archive_path();
            let file = std::fs::File::create(&path).at("create", &path)?;
            Ok::<_, Error>((EndsElsewhere::new(Held { staging, place }), file))
        };
        let (held, file) = spawn_blocking(begin).await.map_err(Error::CutShort)??;
        let file = BufWriter::with_capacity(WRITTEN_AT_ONCE, File::from_std(file));
        Ok(Self { store, kind, held, file, received: 0, encoded: None, first: Vec::new() })
    }

    /// Measures what comes out of the archive by `encoded`, which counts the bytes that arrived, instead of by the archive's own.
    #[must_use]
    pub fn encoded(self, encoded: Arc<AtomicU64>) -> Self {
        Self { encoded: Some(encoded), ..self }
    }

    /// Bytes that were sent so far.
    fn sent(&self) -> u64 {
        self.encoded.as_ref().map_or(self.received, |encoded| encoded.load(Ordering::Relaxed))
    }

    /// Writes the next bytes of the archive.
    ///
    /// # Errors
    /// [`Error::UploadTooLarge`], [`Error::TooLarge`], [`Error::QuotaExceeded`], [`Error::ForeignArchive`]; when the file system
    /// refuses.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.received = self.received.saturating_add(chunk.len() as u64);
        let limit = self.store.inner.config.max_upload_bytes;
        if self.received > limit {
            return Err(Error::UploadTooLarge { limit });
        }
        check_ratio(self.received, self.sent(), self.store.inner.config.max_ratio)?;
        // Before gigabytes of it have arrived.
        let missing = archive::MARK_BYTES - self.first.len();
        self.first.extend(chunk.iter().take(missing));
        if missing > 0 && self.first.len() == archive::MARK_BYTES {
            archive::kind_of(&self.first)?;
        }
        self.held.staging.share.take(chunk.len() as u64)?;
        self.file.write_all(chunk).await.at("write", &self.held.staging.archive_path())
    }

    /// Unpacks what was received, checks every image, and publishes the data set, read as `read_as` says. Dropping the future gives it
    /// up; what is `held` is dropped when the work has ended.
    ///
    /// # Errors
    /// Whatever keeps the archive from being a data set; nothing is left behind then.
    pub async fn finish<H: Send + 'static>(mut self, read_as: ReadAs, held: H) -> Result<Dataset, Error> {
        let path = self.held.staging.archive_path();
        self.file.flush().await.at("write", &path)?;
        let sent = self.sent();
        let Self { store, kind, held: own, file, .. } = self;
        drop(file);
        on_its_own_thread(move |cancel| {
            let Held { staging, place } = own.into_inner();
            // Until its end, not until the client leaves: it is what bounds the work in progress.
            let _held = (place, held);
            store.take_archive(staging, kind, read_as, sent, cancel)
        })
        .await
    }
}

/// Runs `work` on a blocking thread; dropping the future cancels it.
pub(super) async fn on_its_own_thread<T: Send + 'static>(
    work: impl FnOnce(&Cancel) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let cancel = Cancel::default();
    let _guard = CancelOnDrop(cancel.clone());
    let work = move || {
        let made = work(&cancel);
        // What a great many entries took goes back to the system.
        trim();
        made
    };
    spawn_blocking(work).await.map_err(Error::CutShort)?
}
