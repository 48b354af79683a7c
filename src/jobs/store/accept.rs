//! How jobs come in and are called off: idempotency keys, the bounded queue, cancellation.
//!
//! Knows nothing of workers.

use std::time::Duration;

use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Move, Store, append, change, rows};
use crate::jobs::{
    error::Error,
    event::{Event, QUEUED},
    job::{Job, NewJob, Spec},
    state::State,
    time::Timestamp,
};

/// After this time a request that was being accepted has died with its process.
const ABANDONED: Duration = Duration::from_secs(60);

/// What an idempotency key says of a request.
#[derive(Debug)]
pub enum Admission {
    /// It is the first; enqueue with the reservation.
    New(Reservation),
    /// It was accepted before, as this job.
    Known(Box<Job>),
}

/// An idempotency key held for the request that came first.
#[derive(Debug)]
pub struct Reservation {
    key: String,
    token: String,
}

impl Store {
    /// Looks up `key`, or holds it for the request with a body of this SHA-256 until it is enqueued or given up.
    ///
    /// # Errors
    /// [`Error::KeyReused`] with another body, [`Error::KeyInProgress`] while the first is still being accepted.
    pub async fn reserve(&self, key: &str, body: &str, now: Timestamp) -> Result<Admission, Error> {
        let mut tx = self.begin().await?;
        let found = sqlx::query("SELECT body, job, created FROM idempotency WHERE key = ?").bind(key);
        if let Some(row) = found.fetch_optional(&mut *tx).await? {
            let job: Option<i64> = row.try_get("job")?;
            let abandoned = job.is_none() && Timestamp(row.try_get("created")?) < now.minus(ABANDONED);
            if !abandoned && row.try_get::<&str, _>("body")? != body {
                return Err(Error::KeyReused { key: key.to_owned() });
            }
            if let Some(job) = job {
                let row = sqlx::query("SELECT * FROM jobs WHERE seq = ?").bind(job).fetch_one(&mut *tx).await?;
                return Ok(Admission::Known(Box::new(rows::job(&row)?)));
            }
            if !abandoned {
                return Err(Error::KeyInProgress { key: key.to_owned() });
            }
        }
        let token = Uuid::now_v7().to_string();
        let hold = sqlx::query("INSERT OR REPLACE INTO idempotency (key, body, token, created) VALUES (?, ?, ?, ?)");
        hold.bind(key).bind(body).bind(&token).bind(now.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Admission::New(Reservation { key: key.to_owned(), token }))
    }

    /// Gives a key up whose request was refused; the next one with it is a first again.
    ///
    /// # Errors
    /// The store's own.
    pub async fn give_up(&self, reservation: Reservation) -> Result<(), Error> {
        let given_up = sqlx::query("DELETE FROM idempotency WHERE key = ? AND token = ? AND job IS NULL");
        given_up.bind(reservation.key).bind(reservation.token).execute(&self.pool).await?;
        Ok(())
    }

    /// Accepts a job; finished ones beyond `max_finished` go, the oldest first.
    ///
    /// # Errors
    /// [`Error::QueueFull`]; [`Error::Removed`] when something that it uses is being removed; [`Error::KeyInProgress`] when the
    /// reservation was taken over.
    pub async fn enqueue(
        &self,
        new: &NewJob,
        reservation: Option<&Reservation>,
        (max_queued, max_finished): (u32, u32),
        now: Timestamp,
    ) -> Result<Job, Error> {
        let mut tx = self.begin().await?;
        let waiting = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE state = ?").bind(State::Queued.name());
        let waiting: i64 = waiting.fetch_one(&mut *tx).await?;
        if waiting >= i64::from(max_queued) {
            return Err(Error::QueueFull { limit: max_queued });
        }
        let row = insert(&mut tx, &new.spec, now).await?;
        let seq: i64 = row.try_get("seq")?;
        self.note_uses(&mut tx, seq, &new.uses).await?;
        if let Some(Reservation { key, token }) = reservation {
            let bound = sqlx::query("UPDATE idempotency SET job = ? WHERE key = ? AND token = ?").bind(seq).bind(key).bind(token);
            if bound.execute(&mut *tx).await?.rows_affected() == 0 {
                return Err(Error::KeyInProgress { key: key.clone() });
            }
        }
        append(&mut tx, seq, &Event::new(QUEUED), now).await?;
        let forget = sqlx::query(
            "DELETE FROM jobs WHERE seq IN \
             (SELECT seq FROM jobs WHERE finished IS NOT NULL ORDER BY seq DESC LIMIT -1 OFFSET ?)",
        );
        forget.bind(max_finished).execute(&mut *tx).await?;
        tx.commit().await?;
        rows::job(&row)
    }

    /// Cancels a waiting job at once; asks the worker of a running one to stop.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; [`Error::Finished`].
    pub async fn cancel(&self, id: &str, now: Timestamp) -> Result<Job, Error> {
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
        let row = sqlx::query("SELECT * FROM jobs WHERE seq = ?").bind(target.seq).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        rows::job(&row)
    }
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, spec: &Spec, now: Timestamp) -> Result<SqliteRow, Error> {
    let insert = "INSERT INTO jobs (id, state, kind, subject, plan, warnings, created) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *";
    let insert = sqlx::query(insert)
        .bind(Uuid::now_v7().to_string())
        .bind(State::Queued.name())
        .bind(&spec.kind)
        .bind(serde_json::json!(spec.subject).to_string())
        .bind(serde_json::json!(spec.plan).to_string())
        .bind(serde_json::json!(spec.warnings).to_string())
        .bind(now.0);
    Ok(insert.fetch_one(&mut **tx).await?)
}
