//! Whether what is written to the store is kept: its file is the one at its path, and sound.
//!
//! A file that was removed takes writes as ever, and keeps none of them.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::spawn_blocking;

use super::Store;
use crate::jobs::error::Error;

/// How often the whole file is looked at.
const WHOLE: Duration = Duration::from_secs(60);

/// The file that is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    /// Device and inode; `None` where the file cannot be looked at.
    identity: Option<(u64, u64)>,
    /// When all of it was found sound.
    checked: Mutex<Instant>,
}

impl OpenFile {
    /// The file at `path`, which has just been opened and found sound.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { identity: identity(&path), path, checked: Mutex::new(Instant::now()) }
    }

    /// Whether all of it is to be looked at now; whoever asks next is told no.
    fn is_due(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = checked.elapsed() >= WHOLE;
        if is_due {
            *checked = Instant::now();
        }
        is_due
    }

    /// Has all of it looked at again at the next occasion.
    fn set_due(&self) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        *checked = checked.checked_sub(WHOLE).unwrap_or(*checked);
    }

    fn is_in_place(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }
}

impl Store {
    /// That the file that is open is still the one at its path.
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub(in crate::jobs) async fn in_place(&self) -> Result<(), Error> {
        let file = Arc::clone(&self.file);
        let is_in_place = spawn_blocking(move || file.is_in_place()).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        if is_in_place { Ok(()) } else { Err(Error::Gone) }
    }

    /// Whether jobs can be kept: the file is in its place and can be read; once a minute all of it is looked at.
    ///
    /// # Errors
    /// [`Error::Gone`]; the store's own.
    pub async fn check(&self) -> Result<(), Error> {
        self.in_place().await?;
        if !self.file.is_due() {
            sqlx::query("SELECT seq FROM jobs ORDER BY seq DESC LIMIT 1").fetch_optional(&self.pool).await?;
            return Ok(());
        }
        // To its end, whoever leaves: who asks again meanwhile must not begin anew.
        let store = self.clone();
        let checked = tokio::spawn(async move {
            let mut connection = store.pool.acquire().await?;
            quick_check(&mut connection).await.inspect_err(|_| store.file.set_due())
        });
        Ok(checked.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))?)
    }
}

/// Looks at every page of the file that `options` name, making it when it is missing.
pub(super) async fn open_and_check(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    quick_check(&mut connection).await?;
    connection.close().await
}

async fn quick_check(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found == "ok" { Ok(()) } else { Err(sqlx::Error::Protocol(found)) }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
