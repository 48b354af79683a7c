//! The store: every verb is one short transaction, every time is given, every write of a worker is conditional on its lease.
//!
//! `synchronous = FULL`: what a verb has answered survives a power cut.

mod accept;
mod events;
mod history;
mod keys;
mod leases;
mod marker;
mod process;
mod rows;
mod sound;
mod uses;
mod watch;

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, Sqlite, SqlitePool, Transaction,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::task::spawn_blocking;

pub use accept::Admission;
pub(super) use accept::Hold;
pub use events::{Ahead, Stretch};
pub use history::{HistoryPage, Listing};
pub(super) use keys::StoredKeys;
pub use keys::UnreadableKey;
pub use leases::{Lease, Report, Standing};
pub(super) use marker::MARKER;
pub(super) use uses::RemovalNote;

use self::{marker::Marker, process::Process, sound::OpenFile, watch::Watch};
use super::{
    error::Error,
    event::{END, Event, QUEUED},
    job::{Claim, Failure},
    state::{State, Transition},
    time::Timestamp,
};
use crate::registry::{flush, hidden, make_folder};

/// File name in `data.dir`.
pub(super) const FILE: &str = "jobs.db";

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Transactions are short, and only one at a time can write.
const CONNECTIONS: u32 = 4;

/// Longest result in bytes that the last event repeats; the job has it in any case.
const RESULT_IN_EVENT: usize = 64 << 10;

const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "jobs", include_str!("../migrations/0001_jobs.sql")),
    (2, "kinds", include_str!("../migrations/0002_kinds.sql")),
    (3, "keys", include_str!("../migrations/0003_keys.sql")),
    (4, "removals", include_str!("../migrations/0004_removals.sql")),
    (5, "clients", include_str!("../migrations/0005_clients.sql")),
];

/// Jobs, events and idempotency keys in SQLite; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    /// For reading API keys alone: whoever is let in must not hang on what others read and write.
    gate: SqlitePool,
    /// Whose leases those are that this store gives.
    process: Arc<Process>,
    file: Arc<OpenFile>,
    /// Whether there were API keys.
    marker: Arc<Marker>,
    /// Of other processes' leases.
    watch: Arc<Watch>,
}

impl Store {
    /// Opens the store in the folder `dir`, making both when they are missing, and brings it to this version's form.
    ///
    /// # Errors
    /// A folder that cannot be written, a file that is no database or that a newer graft wrote.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let folder = |source| Error::Folder { path: dir.into(), source };
        make_folder(dir).map_err(folder)?;
        let path = dir.join(FILE);
        let locked = dir.to_owned();
        // One process at a time makes the file and brings it forward; others wait for that.
        let lock = spawn_blocking(move || hidden::lock(&locked)).await.map_err(|error| folder(io::Error::other(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        // On a connection of its own: what a migration changes is new to no other then.
        let checked = Instant::now();
        sound::open_and_check(&options).await.map_err(|source| Error::open(path.clone(), source))?;
        let gate = connections(1).connect_lazy_with(options.clone().create_if_missing(false));
        let pool = connections(CONNECTIONS).connect_with(options).await;
        let pool = pool.map_err(|source| Error::open(path.clone(), source))?;
        let migrated = migrator().run(&pool).await;
        migrated.map_err(|source| Error::Migrate { path: path.clone().into(), source: source.into() })?;
        drop(lock);
        // The file's own name must survive a power cut too.
        flush(dir).map_err(folder)?;
        let process = Process::new(dir).map_err(folder)?;
        let (file, marker) = (Arc::new(OpenFile::new(path, checked)), Arc::new(Marker::new(dir)));
        Ok(Self { pool, gate, process: Arc::new(process), file, marker, watch: Arc::default() })
    }

    /// Whether the process whose worker holds `claim` is known to be dead. Looks at the file system.
    pub fn is_abandoned(&self, claim: &Claim) -> bool {
        self.process.is_dead(claim.process())
    }

    /// What `look` finds out about processes, on a thread that may block.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Process) -> T + Send + 'static) -> Result<T, Error> {
        let process = Arc::clone(&self.process);
        Ok(spawn_blocking(move || look(&process)).await.map_err(|_| sqlx::Error::WorkerCrashed)?)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        tokio::join!(self.pool.close(), self.gate.close());
    }

    /// A transaction that may write from its first statement on, so that it waits instead of failing half-way.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// A pool of `most` connections; those that cannot be used any more are replaced.
fn connections(most: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(most).before_acquire(|connection, known| {
        // On a full disk SQLite rolls back by itself, and the connection then believes for good to be in a transaction.
        let is_usable = !connection.is_in_transaction() && sound::is_fresh(known.age);
        Box::pin(async move { Ok(is_usable) })
    })
}

fn migrator() -> Migrator {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into(), false)
    };
    Migrator { migrations: MIGRATIONS.into_iter().map(migration).collect(), ..Migrator::DEFAULT }
}

/// A job within a transaction.
#[derive(Debug, Clone, Copy)]
struct Target {
    seq: i64,
    state: State,
}

/// A job's way out of a worker's hands or of the queue.
#[derive(Debug)]
enum Move<'a> {
    Release,
    Requeue,
    Complete(&'a serde_json::Value),
    Fail(&'a Failure),
    Cancel,
}

impl Move<'_> {
    fn transition(&self) -> Transition {
        match self {
            Self::Release => Transition::Release,
            Self::Requeue => Transition::Requeue,
            Self::Complete(_) => Transition::Complete,
            Self::Fail(_) => Transition::Fail,
            Self::Cancel => Transition::Cancel,
        }
    }

    fn event(&self, next: State) -> Event {
        let end = || Event::new(END).with("state", next.name());
        match self {
            Self::Release => Event::new(QUEUED).with("reason", "shutdown"),
            Self::Requeue => Event::new(QUEUED).with("reason", "worker_lost"),
            Self::Complete(result) if is_short(result) => end().with("result", (*result).clone()),
            Self::Complete(_) => end(),
            Self::Fail(failure) => end().with("error", serde_json::json!(failure)),
            Self::Cancel => end(),
        }
    }
}

/// Whether `result` may be repeated in the last event.
fn is_short(result: &serde_json::Value) -> bool {
    result.to_string().len() <= RESULT_IN_EVENT
}

/// Makes `change` of `target` and appends its event; `None` when the job's state does not allow it.
async fn change(
    tx: &mut Transaction<'static, Sqlite>,
    target: Target,
    change: Move<'_>,
    now: Timestamp,
) -> Result<Option<State>, Error> {
    let Some(next) = target.state.after(change.transition()) else { return Ok(None) };
    let (result, error) = match &change {
        Move::Complete(result) => (Some(result.to_string()), None),
        Move::Fail(failure) => (None, Some(serde_json::json!(failure).to_string())),
        Move::Release | Move::Requeue | Move::Cancel => (None, None),
    };
    // A clean shutdown is no attempt.
    let given_back = i64::from(matches!(change, Move::Release));
    sqlx::query(
        "UPDATE jobs SET state = ?, lease_owner = NULL, lease_until = NULL, result = ?, error = ?, finished = ?, \
         attempts = MAX(attempts - ?, 0) WHERE seq = ?",
    )
    .bind(next.name())
    .bind(result)
    .bind(error)
    .bind(next.is_terminal().then_some(now.0))
    .bind(given_back)
    .bind(target.seq)
    .execute(&mut **tx)
    .await?;
    if next.is_terminal() {
        uses::end(tx, target.seq).await?;
    }
    append(tx, target.seq, &change.event(next), now).await?;
    Ok(Some(next))
}

/// Appends `event` under the job's next id, unless one of its kind and mark is there.
async fn append(tx: &mut Transaction<'static, Sqlite>, seq: i64, event: &Event, now: Timestamp) -> Result<(), Error> {
    if let Some(mark) = event.mark {
        let known = sqlx::query("SELECT 1 FROM events WHERE job = ? AND kind = ? AND phase = ? AND epoch = ? AND step = ?");
        let known = known.bind(seq).bind(&event.kind).bind(mark.phase).bind(mark.epoch).bind(rows::signed(mark.step));
        if known.fetch_optional(&mut **tx).await?.is_some() {
            return Ok(());
        }
    }
    let next = sqlx::query_scalar("UPDATE jobs SET events = events + 1 WHERE seq = ? RETURNING events");
    let id: i64 = next.bind(seq).fetch_one(&mut **tx).await?;
    sqlx::query("INSERT INTO events (job, id, kind, phase, epoch, step, data, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(seq)
        .bind(id)
        .bind(&event.kind)
        .bind(event.mark.map(|mark| mark.phase))
        .bind(event.mark.map(|mark| mark.epoch))
        .bind(event.mark.map(|mark| rows::signed(mark.step)))
        .bind(serde_json::Value::Object(event.data.clone()).to_string())
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
