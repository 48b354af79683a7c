//! What unfinished jobs use and what is being removed: decided in one transaction, whichever process asks.
//!
//! Knows resources by name; what they are is their owners'.

use std::time::Duration;

use sqlx::{Sqlite, SqliteConnection, Transaction};
use uuid::Uuid;

use super::Store;
use crate::jobs::{error::Error, kind::Resource, time::Timestamp};

/// For so long a removal is remembered: no job is planned for longer.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

type Tx = Transaction<'static, Sqlite>;

/// The note of one removal. Several of one resource may be under way: the resource stays only if all of them are given up. `None` where
/// the disk had no room for it, so that what fills it can be removed: nothing can be accepted then either.
#[derive(Debug)]
pub(in crate::jobs) struct RemovalNote(Option<String>);

/// That no unfinished job uses `resource`.
async fn check_unused(connection: &mut SqliteConnection, resource: &Resource) -> Result<(), Error> {
    let user = "SELECT jobs.id FROM uses JOIN jobs ON jobs.seq = uses.job WHERE uses.resource = ? ORDER BY jobs.seq LIMIT 1";
    match sqlx::query_scalar(user).bind(&resource.0).fetch_optional(connection).await? {
        Some(job) => Err(Error::InUse { resource: resource.clone(), job }),
        None => Ok(()),
    }
}

impl Store {
    /// Notes that `resource` is being removed, so that no job that uses it is accepted any more.
    ///
    /// # Errors
    /// [`Error::InUse`] by an unfinished job; [`Error::Last`] when each of `others` is being removed too.
    pub(in crate::jobs) async fn begin_removal(
        &self,
        resource: &Resource,
        others: Option<&[Resource]>,
        now: Timestamp,
    ) -> Result<RemovalNote, Error> {
        match self.note_removal(resource, others, now).await {
            Err(Error::DiskFull(error)) if others.is_none() => {
                tracing::warn!(%error, resource = resource.0, "the disk has no room to note what is removed; removing it all the same");
                check_unused(&mut *self.pool.acquire().await?, resource).await.map(|()| RemovalNote(None))
            }
            noted => noted,
        }
    }

    async fn note_removal(&self, resource: &Resource, others: Option<&[Resource]>, now: Timestamp) -> Result<RemovalNote, Error> {
        let mut tx = self.begin().await?;
        check_unused(&mut tx, resource).await?;
        let forget = sqlx::query("DELETE FROM removals WHERE at < ?").bind(now.minus(REMEMBERED).0);
        forget.execute(&mut *tx).await?;
        if let Some(others) = others {
            let mut left = false;
            for other in others {
                left |= !self.is_removed(&mut tx, other).await?;
            }
            if !left {
                return Err(Error::Last { resource: resource.clone() });
            }
        }
        let token = Uuid::now_v7().to_string();
        let note = sqlx::query("INSERT INTO removals (token, resource, process, at) VALUES (?, ?, ?, ?)");
        note.bind(&token).bind(&resource.0).bind(self.process.name()).bind(now.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(RemovalNote(Some(token)))
    }

    /// Takes a removal back.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn give_removal_up(&self, note: &RemovalNote) -> Result<(), Error> {
        if let Some(token) = &note.0 {
            sqlx::query("DELETE FROM removals WHERE token = ?").bind(token).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// Notes what the job uses.
    pub(super) async fn note_uses(&self, tx: &mut Tx, job: i64, uses: &[Resource]) -> Result<(), Error> {
        for resource in uses {
            if self.is_removed(tx, resource).await? {
                return Err(Error::Removed { resource: resource.clone() });
            }
            let note = sqlx::query("INSERT OR IGNORE INTO uses (resource, job) VALUES (?, ?)").bind(&resource.0).bind(job);
            note.execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// Whether a process that lives removes the resource, or has.
    async fn is_removed(&self, tx: &mut Tx, resource: &Resource) -> Result<bool, Error> {
        let processes = sqlx::query_scalar("SELECT DISTINCT process FROM removals WHERE resource = ?").bind(&resource.0);
        let processes: Vec<String> = processes.fetch_all(&mut **tx).await?;
        self.look(move |known| processes.iter().any(|process| !known.is_dead(process))).await
    }
}

/// The job has ended: it uses nothing any more.
pub(super) async fn end(tx: &mut Tx, job: i64) -> Result<(), Error> {
    sqlx::query("DELETE FROM uses WHERE job = ?").bind(job).execute(&mut **tx).await?;
    Ok(())
}
