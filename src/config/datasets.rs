//! `[datasets]`: what an upload of training images may cost, and which folder of the server may be read.
//!
//! Knows nothing of archives; `datasets` keeps to these bounds.

use std::{path::PathBuf, time::Duration};

use super::{
    error::ConfigError,
    key::{Key, Kind, Values, integer, milliseconds, of},
};

/// `[datasets]`: what an upload of training images may cost, and which folder of the server may be read.
#[derive(Debug, Clone)]
pub struct DatasetsConfig {
    /// Folder below which `{"path": …}` may name folders; default none, which refuses them; `GRAFT__DATASETS__ROOT`.
    pub root: Option<PathBuf>,
    /// Largest archive in bytes, as sent; default 8 GiB; `GRAFT__DATASETS__MAX_UPLOAD_BYTES`.
    pub max_upload_bytes: u64,
    /// Most bytes that one data set may unpack to; default 16 GiB; `GRAFT__DATASETS__MAX_BYTES`.
    pub max_bytes: u64,
    /// Most files and folders in one data set; default 200 000; `GRAFT__DATASETS__MAX_ENTRIES`.
    pub max_entries: usize,
    /// Most pixels of all images of one data set together; default 100 thousand million; `GRAFT__DATASETS__MAX_PIXELS`.
    pub max_pixels: u64,
    /// How many times larger than what was sent an archive and its contents may be; default 100; `GRAFT__DATASETS__MAX_RATIO`.
    pub max_ratio: u64,
    /// Bytes of all data sets and uploads in progress together; default 64 GiB; `GRAFT__DATASETS__MAX_STORE_BYTES`.
    pub max_store_bytes: u64,
    /// Uploads in progress at once; default 4; `GRAFT__DATASETS__MAX_UPLOADS`.
    pub max_uploads: usize,
    /// What one client may have of them, in percent: `server.max_client_percent`.
    pub max_client_percent: u8,
    /// Threads that check the images of one upload, which has one of its own and shares the others; default 2; `GRAFT__DATASETS__CHECK_THREADS`.
    pub check_threads: usize,
    /// Time without a single byte after which an upload counts as broken; default 60 s; `GRAFT__DATASETS__IDLE_TIMEOUT_MS`.
    pub idle_timeout: Duration,
}

pub(super) const KEYS: &[Key] = &[
    of("datasets.root", Kind::Text),
    integer("datasets.max_upload_bytes", 1 << 10, 1 << 50),
    integer("datasets.max_bytes", 1 << 10, 1 << 50),
    integer("datasets.max_entries", 4, 10_000_000),
    integer("datasets.max_pixels", 1000, 1 << 50),
    integer("datasets.max_ratio", 2, 10_000),
    integer("datasets.max_store_bytes", 1 << 10, 1 << 60),
    integer("datasets.max_uploads", 1, 1024),
    integer("datasets.check_threads", 1, 1024),
    milliseconds("datasets.idle_timeout_ms", 100),
];

impl DatasetsConfig {
    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        for key in ["datasets.max_upload_bytes", "datasets.max_bytes"] {
            values.at_most(key, "datasets.max_store_bytes", "nothing of that size could ever be stored")?;
        }
        values.at_most("images.max_pixels", "datasets.max_pixels", "no data set could hold such an image")?;
        Ok(Self {
            root: values.optional_text("datasets.root").map(PathBuf::from),
            max_upload_bytes: values.integer("datasets.max_upload_bytes"),
            max_bytes: values.integer("datasets.max_bytes"),
            max_entries: values.size("datasets.max_entries"),
            max_pixels: values.integer("datasets.max_pixels"),
            max_ratio: values.integer("datasets.max_ratio"),
            max_store_bytes: values.integer("datasets.max_store_bytes"),
            max_uploads: values.size("datasets.max_uploads"),
            max_client_percent: u8::try_from(values.integer("server.max_client_percent")).expect("a percentage fits"),
            check_threads: values.size("datasets.check_threads"),
            idle_timeout: values.duration("datasets.idle_timeout_ms"),
        })
    }
}
