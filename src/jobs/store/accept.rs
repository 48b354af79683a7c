//! How jobs come in and are called off: idempotency keys, the queue and each client's share of it, cancellation.
//!
//! Knows nothing of workers.

use std::time::Duration;

use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Move, Store, append, change,
    history::{COPIES, SUMMARY, size},
    rows,
};
use crate::{
    config::JobsConfig,
    jobs::{
        error::Error,
        event::{Event, QUEUED},
        job::{Job, NewJob, Summary},
        state::State,
        time::Timestamp,
    },
    work::Client,
};

/// Most bytes of plans and results of jobs that have ended; the newest is kept in any case.
const MAX_FINISHED_BYTES: i64 = 256 << 20;

/// So long a key is held for a request that is still being accepted, wherever the clock is set meanwhile.
const ABANDONED: Duration = Duration::from_secs(60);

/// So long what is left of such a request stays, if nobody asks for its key.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);

type Tx = Transaction<'static, Sqlite>;

/// What an idempotency key says of a request.
#[derive(Debug)]
pub enum Admission<R> {
    /// It is the first; enqueue with the reservation.
    New(R),
    /// It was accepted before, as the job with this id.
    Known(String),
}

/// An idempotency key held for the request that came first.
#[derive(Debug)]
pub(in crate::jobs) struct Hold {
    /// Of which holder of an API key; empty for those who have none.
    holder: String,
    key: String,
    token: String,
}

impl Store {
    /// Looks up the `key` of `client`, or holds it for the request with a body of this SHA-256 until it is enqueued or given up.
    ///
    /// # Errors
    /// [`Error::KeyReused`] with another body, [`Error::KeyInProgress`] while the first is still being accepted.
    pub(in crate::jobs) async fn reserve(
        &self,
        client: &Client,
        (key, body): (&str, &str),
        now: Timestamp,
    ) -> Result<Admission<Hold>, Error> {
        // Whoever has no key may come from another address the next time.
        let holder = client.key_name().unwrap_or_default();
        let mut tx = self.begin().await?;
        let found = sqlx::query("SELECT body, job, process, created FROM idempotency WHERE client = ? AND key = ?");
        if let Some(row) = found.bind(holder).bind(key).fetch_optional(&mut *tx).await? {
            let job: Option<i64> = row.try_get("job")?;
            let abandoned = job.is_none() && self.is_over(&row, now).await?;
            if !abandoned && row.try_get::<&str, _>("body")? != body {
                return Err(Error::KeyReused { key: key.to_owned() });
            }
            if let Some(job) = job {
                let id = sqlx::query_scalar("SELECT id FROM jobs WHERE seq = ?").bind(job).fetch_one(&mut *tx).await?;
                return Ok(Admission::Known(id));
            }
            if !abandoned {
                return Err(Error::KeyInProgress { key: key.to_owned() });
            }
        }
        let token = Uuid::now_v7().to_string();
        let hold = sqlx::query(
            "INSERT OR REPLACE INTO idempotency (client, key, body, token, process, created) VALUES (?, ?, ?, ?, ?, ?)",
        );
        let hold = hold.bind(holder).bind(key).bind(body).bind(&token).bind(self.process.name()).bind(now.0);
        hold.execute(&mut *tx).await?;
        // What requests that died have left: nobody may ask for these keys again.
        let forget = sqlx::query("DELETE FROM idempotency WHERE job IS NULL AND NOT created BETWEEN ? AND ?");
        forget.bind(now.minus(FORGOTTEN).0).bind(now.plus(FORGOTTEN).0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Admission::New(Hold { holder: holder.to_owned(), key: key.to_owned(), token }))
    }

    /// The job `id` as it was accepted. Nothing is read before `hold` has let in its bytes of memory.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; those of `hold`.
    pub(in crate::jobs) async fn accepted<E: From<Error>>(
        &self,
        id: &str,
        hold: impl FnOnce(u64) -> Result<(), E>,
    ) -> Result<Job, E> {
        // In one transaction, so that what is read is what was measured.
        let mut tx = self.pool.begin().await.map_err(Error::from)?;
        let (seq, bytes) = size(&mut tx, id).await?;
        hold(COPIES.saturating_mul(bytes))?;
        let row = sqlx::query("SELECT * FROM jobs WHERE seq = ?").bind(seq).fetch_one(&mut *tx).await.map_err(Error::from)?;
        Ok(rows::job(&row)?)
    }

    /// Whether the request that holds a key is over, without a job: its process is dead, or it takes longer than any.
    async fn is_over(&self, row: &SqliteRow, now: Timestamp) -> Result<bool, Error> {
        let created = Timestamp(row.try_get("created")?);
        let is_late = created < now.minus(ABANDONED) || created > now.plus(ABANDONED);
        let process: String = row.try_get("process")?;
        Ok(is_late || self.look(move |processes| processes.is_dead(&process)).await?)
    }

    /// Gives a key up whose request was refused; the next one with it is a first again.
    ///
    /// # Errors
    /// The store's own.
    pub(in crate::jobs) async fn give_up(&self, hold: &Hold) -> Result<(), Error> {
        let given_up = sqlx::query("DELETE FROM idempotency WHERE client = ? AND key = ? AND token = ? AND job IS NULL");
        given_up.bind(&hold.holder).bind(&hold.key).bind(&hold.token).execute(&self.pool).await?;
        Ok(())
    }

    /// Accepts a job of `client` within `bounds`; finished ones beyond `max_finished`, or beyond 256 MiB of plans and results, go, the oldest first.
    ///
    /// # Errors
    /// [`Error::QueueFull`]; [`Error::Removed`] when something that it uses is being removed; [`Error::KeyInProgress`] when the
    /// key that is held was taken over.
    pub(in crate::jobs) async fn enqueue(
        &self,
        client: &Client,
        new: &NewJob,
        hold: Option<&Hold>,
        bounds: &JobsConfig,
        now: Timestamp,
    ) -> Result<Job, Error> {
        let mut tx = self.begin().await?;
        check_room(&mut tx, client, bounds).await?;
        let row = insert(&mut tx, client, new, now).await?;
        let seq: i64 = row.try_get("seq")?;
        self.note_uses(&mut tx, seq, &new.uses).await?;
        if let Some(Hold { holder, key, token }) = hold {
            let bound = sqlx::query("UPDATE idempotency SET job = ? WHERE client = ? AND key = ? AND token = ?");
            let bound = bound.bind(seq).bind(holder).bind(key).bind(token);
            if bound.execute(&mut *tx).await?.rows_affected() == 0 {
                return Err(Error::KeyInProgress { key: key.clone() });
            }
        }
        append(&mut tx, seq, &Event::new(QUEUED), now).await?;
        let forget = sqlx::query(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM (SELECT seq, ROW_NUMBER() OVER newest AS place, \
             SUM(octet_length(plan) + COALESCE(octet_length(result), 0)) OVER newest AS bytes \
             FROM jobs WHERE finished IS NOT NULL WINDOW newest AS (ORDER BY seq DESC)) \
             WHERE place > ? OR (bytes > ? AND place > 1))",
        );
        forget.bind(bounds.max_finished).bind(MAX_FINISHED_BYTES).execute(&mut *tx).await?;
        tx.commit().await?;
        rows::job(&row)
    }

    /// Cancels a waiting job at once; asks the worker of a running one to stop.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::Finished`].
    pub async fn cancel(&self, id: &str, now: Timestamp) -> Result<Summary, Error> {
        let mut tx = self.begin().await?;
        let row = sqlx::query("SELECT seq, state FROM jobs WHERE id = ?").bind(id).fetch_optional(&mut *tx).await?;
        let target = rows::target(&row.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })?)?;
        match target.state {
            State::Running => {
                let ask = sqlx::query("UPDATE jobs SET cancel_requested = 1 WHERE seq = ?").bind(target.seq);
                ask.execute(&mut *tx).await?;
            }
            state => {
                let cancelled = change(&mut tx, target, Move::Cancel, now).await?;
                cancelled.ok_or_else(|| Error::Finished { id: id.to_owned(), state })?;
            }
        }
        let query = format!("SELECT {SUMMARY} FROM jobs WHERE seq = ?");
        let row = sqlx::query(&query).bind(target.seq).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        rows::summary(&row)
    }
}

/// That one more job of `client` may wait.
async fn check_room(tx: &mut Tx, client: &Client, bounds: &JobsConfig) -> Result<(), Error> {
    let waiting =
        sqlx::query("SELECT COUNT(*) AS all_clients, COUNT(*) FILTER (WHERE client = ?) AS own FROM jobs WHERE state = ?");
    let waiting = waiting.bind(client.to_string()).bind(State::Queued.name()).fetch_one(&mut **tx).await?;
    let (all, own) = (waiting.try_get::<i64, _>("all_clients")?, waiting.try_get::<i64, _>("own")?);
    let (limit, others) = (bounds.max_queued, u32::try_from(all - own).unwrap_or(u32::MAX));
    let share = bounds.max_queued_per_client(others);
    match () {
        () if all >= i64::from(limit) => Err(Error::QueueFull { limit, of_client: false }),
        () if own >= i64::from(share) => Err(Error::QueueFull { limit: share, of_client: true }),
        () => Ok(()),
    }
}

async fn insert(tx: &mut Tx, client: &Client, new: &NewJob, now: Timestamp) -> Result<SqliteRow, Error> {
    let NewJob { id, spec, .. } = new;
    let insert = "INSERT INTO jobs (id, state, kind, subject, plan, warnings, client, created) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *";
    let insert = sqlx::query(insert)
        .bind(id.clone().unwrap_or_else(|| Uuid::now_v7().to_string()))
        .bind(State::Queued.name())
        .bind(&spec.kind)
        .bind(serde_json::json!(spec.subject).to_string())
        .bind(serde_json::json!(spec.plan).to_string())
        .bind(serde_json::json!(spec.warnings).to_string())
        .bind(client.to_string())
        .bind(now.0);
    Ok(insert.fetch_one(&mut **tx).await?)
}
