//! Whether what is written to the store is kept: its file is the one at its path, and sound.
//!
//! A file that was removed takes writes as ever, and keeps none of them. One that is damaged can be read for long: what a
//! connection remembers of it stays as it was. So whatever meets damage has all of the file looked at, by a connection that
//! remembers nothing.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::task::spawn_blocking;

use super::Store;
use crate::jobs::{damage, error::Error};

/// How soon all of a damaged file is looked at again for whoever has something to keep.
const AGAIN: Duration = Duration::from_secs(10);

/// How often the whole file is looked at.
const WHOLE: Duration = Duration::from_secs(60);

/// The file that is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    /// Device and inode; `None` where the file cannot be looked at.
    identity: Option<(u64, u64)>,
    /// Never held while something is waited for.
    seen: Mutex<Seen>,
}

/// What is known of the file.
#[derive(Debug)]
struct Seen {
    /// Its size in bytes; it never shrinks while it is whole.
    size: u64,
    /// When the last look at all of it that found it sound began.
    sound: Instant,
    /// When the last look at all of it began.
    looked: Instant,
    /// Whether the last look at all of it found damage.
    is_damaged: bool,
    /// Whether all of it is being looked at.
    is_looked_at: bool,
}

impl Seen {
    /// Whether damage was met since all of it was found sound.
    fn is_doubtful(&self) -> bool {
        self.is_damaged || damage::met_since(self.sound)
    }
}

/// What is to be done before the file is trusted.
enum Next {
    Nothing,
    Look(Look),
    /// It is not trusted, and whoever looks at it is not done, or found damage.
    Refuse,
}

/// A look at all of the file, under way until it is dropped.
struct Look {
    file: Arc<OpenFile>,
    began: Instant,
}

impl Look {
    fn end(self, found: &Result<(), Error>) {
        let mut seen = self.file.seen();
        match found {
            Ok(()) => (seen.sound, seen.is_damaged) = (self.began, false),
            Err(Error::Corrupt(_)) => seen.is_damaged = true,
            // Nothing is known of it: the next occasion is as good as this one.
            Err(_) => {}
        }
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.file.seen().is_looked_at = false;
    }
}

impl OpenFile {
    /// The file at `path`, which was found sound by a look that began at `checked`.
    pub(super) fn new(path: PathBuf, checked: Instant) -> Self {
        let metadata = fs::metadata(&path).ok();
        let size = metadata.as_ref().map_or(0, fs::Metadata::len);
        let seen = Seen { size, sound: checked, looked: checked, is_damaged: false, is_looked_at: false };
        Self { identity: metadata.as_ref().map(identity), path, seen: Mutex::new(seen) }
    }

    /// What whoever `watches` the file is to do, and what whoever has something to keep.
    fn next(self: &Arc<Self>, watches: bool) -> Next {
        let mut seen = self.seen();
        let is_doubtful = seen.is_doubtful();
        // Damage that a look found may have been mended since.
        let is_known = seen.is_damaged && seen.looked.elapsed() < AGAIN;
        let is_due = if watches { is_doubtful || seen.sound.elapsed() >= WHOLE } else { is_doubtful && !is_known };
        if is_due && !seen.is_looked_at {
            (seen.is_looked_at, seen.looked) = (true, Instant::now());
            return Next::Look(Look { file: Arc::clone(self), began: seen.looked });
        }
        if is_doubtful { Next::Refuse } else { Next::Nothing }
    }

    fn is_in_place(&self) -> bool {
        let Ok(metadata) = fs::metadata(&self.path) else { return false };
        let mut seen = self.seen();
        if metadata.len() < seen.size {
            damage::note();
        }
        seen.size = metadata.len();
        self.identity == Some(identity(&metadata))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// That what is written now is kept, as far as is known: the file is in its place, and no damage was met since it was found
    /// sound.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Corrupt`], until [`Self::check`] finds it sound; the store's own.
    pub(in crate::jobs) async fn keeps(&self) -> Result<(), Error> {
        self.in_place().await?;
        match self.file.next(false) {
            Next::Nothing => Ok(()),
            Next::Look(look) => self.look_at_all(look).await,
            Next::Refuse => Err(doubtful()),
        }
    }

    /// Whether jobs can be kept: the file is in its place and can be read; once a minute, and when damage was met, all of it is
    /// looked at.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Corrupt`], until all of it was found sound; the store's own.
    pub async fn check(&self) -> Result<(), Error> {
        self.in_place().await?;
        match self.file.next(true) {
            Next::Look(look) => self.look_at_all(look).await,
            Next::Refuse => Err(doubtful()),
            Next::Nothing => {
                sqlx::query("SELECT seq FROM jobs ORDER BY seq DESC LIMIT 1").fetch_optional(&self.pool).await?;
                Ok(())
            }
        }
    }

    async fn look_at_all(&self, look: Look) -> Result<(), Error> {
        let options = self.pool.connect_options().as_ref().clone().create_if_missing(false);
        // To its end, whoever leaves: who asks again meanwhile must not begin anew.
        let looked = tokio::spawn(async move {
            let found = open_and_check(&options).await.map_err(Error::from);
            look.end(&found);
            found
        });
        looked.await.unwrap_or(Err(sqlx::Error::WorkerCrashed.into()))
    }
}

/// Whether a connection of that age remembers nothing of a file in which damage was met, or that might only be read: it was opened after
/// that.
pub(super) fn is_fresh(age: Duration) -> bool {
    let opened = Instant::now().checked_sub(age);
    opened.is_none_or(|opened| !damage::met_since(opened) && !damage::was_read_only_since(opened))
}

/// Looks at every page of the file that `options` name, making it when it is missing.
pub(super) async fn open_and_check(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    quick_check(&mut connection).await?;
    connection.close().await
}

async fn quick_check(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // A row that breaks a rule of its table is that row's fault: whoever reads it says so.
    sqlx::query("PRAGMA ignore_check_constraints = ON").execute(&mut *connection).await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found == "ok" { Ok(()) } else { Err(sqlx::Error::Protocol(found)) }
}

fn doubtful() -> Error {
    Error::Corrupt(sqlx::Error::Protocol("damage was met, and the file was not found sound since".to_owned()))
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
