//! What workers do: claim, report, end, and take over from the dead.
//!
//! Every write names the lease's owner, so that a worker that lost its job changes nothing any more, however late it writes: a lease
//! is lost when somebody else took the job, not when its time is over.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Row, Sqlite, Transaction};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{Move, Store, append, change, process::Process, rows};
use crate::jobs::{
    error::Error,
    event::{Event, RUNNING},
    job::{Claim, Failure, Job, Progress},
    state::{State, Transition},
    time::Timestamp,
};

/// A worker's right to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// A name that no other claim has.
    owner: String,
    /// Greater than those of all claims of the job before.
    pub number: u64,
}

/// What a worker has to tell since its last report.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In order.
    pub events: Vec<Event>,
    /// The latest.
    pub progress: Option<Progress>,
    /// Whether a checkpoint became durable: the attempts start again.
    pub checkpointed: bool,
}

/// What a worker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether somebody asked to cancel the job.
    pub cancel_requested: bool,
}

impl Store {
    /// Takes the job that is next, until `now` + `lease`; `None` when none waits. One that has begun before goes first, then clients take
    /// turns: whoever's last job was started longest ago, and of each the job that waits longest.
    ///
    /// # Errors
    /// The store's own.
    pub async fn claim(&self, now: Timestamp, lease: Duration) -> Result<Option<(Job, Lease)>, Error> {
        let from = State::Queued;
        let to = from.after(Transition::Claim).expect("a waiting job can be claimed");
        let owner = Claim::owner(self.process.name(), Uuid::now_v7(), lease);
        let mut tx = self.begin().await?;
        let claim = sqlx::query(
            "UPDATE jobs SET state = ?, lease_owner = ?, lease_until = ?, attempts = attempts + 1, started = COALESCE(started, ?) \
             WHERE seq = (SELECT seq FROM jobs AS waiting WHERE state = ? ORDER BY started IS NULL, \
             (SELECT MAX(started) FROM jobs AS own WHERE own.client IS waiting.client), seq LIMIT 1) RETURNING *",
        );
        let claim = claim.bind(to.name()).bind(&owner).bind(now.plus(lease).0).bind(now.0).bind(from.name());
        let Some(row) = claim.fetch_optional(&mut *tx).await? else { return Ok(None) };
        // That of the event: events are numbered, and every claim has one.
        let (seq, number) = (row.try_get("seq")?, rows::events(&row)? + 1);
        // A plan may be megabytes of JSON.
        let job = spawn_blocking(move || rows::job(&row)).await.map_err(|_| sqlx::Error::WorkerCrashed)??;
        append(&mut tx, seq, &Event::new(RUNNING).with("attempt", job.attempts), now).await?;
        tx.commit().await?;
        let lease = Lease { job: job.id.clone(), owner, number };
        Ok(Some((job, lease)))
    }

    /// Extends the lease to `now` + `extend`, and stores events, progress and checkpoint in the same transaction.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the job is no longer this worker's.
    pub async fn report(&self, lease: &Lease, report: &Report, now: Timestamp, extend: Duration) -> Result<Standing, Error> {
        let progress = report.progress.clone().map(|progress| Progress { reported_ms: Some(now.0), ..progress });
        let mut tx = self.begin().await?;
        let row = sqlx::query(
            "UPDATE jobs SET lease_until = ?, progress = COALESCE(?, progress), attempts = attempts * ? \
             WHERE id = ? AND lease_owner = ? RETURNING seq, cancel_requested",
        )
        .bind(now.plus(extend).0)
        .bind(progress.map(|progress| serde_json::json!(progress).to_string()))
        .bind(i64::from(!report.checkpointed))
        .bind(&lease.job)
        .bind(&lease.owner)
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or_else(|| lost(lease))?;
        for event in &report.events {
            append(&mut tx, row.try_get("seq")?, event, now).await?;
        }
        tx.commit().await?;
        Ok(Standing { cancel_requested: row.try_get("cancel_requested")? })
    }

    /// Says that the worker lives: extends the lease to `now` + `extend`.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn heartbeat(&self, lease: &Lease, now: Timestamp, extend: Duration) -> Result<Standing, Error> {
        self.report(lease, &Report::default(), now, extend).await
    }

    /// What a worker is told, without a write.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn standing(&self, lease: &Lease) -> Result<Standing, Error> {
        let query = sqlx::query("SELECT cancel_requested FROM jobs WHERE id = ? AND lease_owner = ?");
        let row = query.bind(&lease.job).bind(&lease.owner).fetch_optional(&self.pool).await?;
        Ok(Standing { cancel_requested: row.ok_or_else(|| lost(lease))?.try_get("cancel_requested")? })
    }

    /// Ends the job with its result.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn complete(&self, lease: &Lease, result: &Value, now: Timestamp) -> Result<State, Error> {
        self.leave(lease, Move::Complete(result), now).await
    }

    /// Ends the job with a reason.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn fail(&self, lease: &Lease, failure: &Failure, now: Timestamp) -> Result<State, Error> {
        self.leave(lease, Move::Fail(failure), now).await
    }

    /// Ends the job as somebody asked for.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn stop(&self, lease: &Lease, now: Timestamp) -> Result<State, Error> {
        self.leave(lease, Move::Cancel, now).await
    }

    /// Gives the job back to the queue, which is no attempt; or ends it when somebody asked to cancel it.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub async fn release(&self, lease: &Lease, now: Timestamp) -> Result<State, Error> {
        self.leave(lease, Move::Release, now).await
    }

    /// Gives the jobs of workers that are dead, or silent since this store was first asked for as long as a lease lasts, to the queue;
    /// fails those that took `max_attempts` workers with them, and ends those that are cancelled. Returns their ids.
    ///
    /// `elapsed` is on a clock that nobody sets.
    ///
    /// # Errors
    /// The store's own.
    pub async fn requeue_expired(&self, now: Timestamp, elapsed: Duration, max_attempts: u32) -> Result<Vec<String>, Error> {
        const LEASED: &str =
            "SELECT id, seq, state, attempts, cancel_requested, lease_owner, lease_until FROM jobs WHERE state = ?";
        let running = || sqlx::query(LEASED).bind(State::Running.name());
        let claims = running().fetch_all(&self.pool).await?.iter().map(rows::claim).collect::<Result<Vec<_>, _>>()?;
        let claims: Vec<Claim> = claims.into_iter().flatten().collect();
        let known = claims.clone();
        let abandoned = move |processes: &Process| {
            known.into_iter().filter(|claim| processes.is_dead(claim.process())).collect::<Vec<Claim>>()
        };
        let mut over = self.look(abandoned).await?;
        over.extend(self.watch.over(claims, elapsed));
        if over.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let mut ids = Vec::new();
        for row in running().fetch_all(&mut *tx).await? {
            // One that was extended meanwhile is another claim.
            if !rows::claim(&row)?.is_some_and(|claim| over.contains(&claim)) {
                continue;
            }
            let attempts: u32 = row.try_get("attempts")?;
            let exhausted =
                Failure::new("worker_lost", format!("{attempts} workers died with this job since its last checkpoint"));
            let outcome = match row.try_get("cancel_requested")? {
                true => Move::Cancel,
                false if attempts >= max_attempts => Move::Fail(&exhausted),
                false => Move::Requeue,
            };
            change(&mut tx, rows::target(&row)?, outcome, now).await?;
            ids.push(row.try_get("id")?);
        }
        tx.commit().await?;
        Ok(ids)
    }

    async fn leave(&self, lease: &Lease, outcome: Move<'_>, now: Timestamp) -> Result<State, Error> {
        let mut tx: Transaction<'static, Sqlite> = self.begin().await?;
        let query = sqlx::query("SELECT seq, state, cancel_requested FROM jobs WHERE id = ? AND lease_owner = ?");
        let row = query.bind(&lease.job).bind(&lease.owner).fetch_optional(&mut *tx).await?;
        let row = row.ok_or_else(|| lost(lease))?;
        let outcome = match outcome {
            Move::Release if row.try_get("cancel_requested")? => Move::Cancel,
            other => other,
        };
        let next = change(&mut tx, rows::target(&row)?, outcome, now).await?;
        tx.commit().await?;
        next.ok_or_else(|| lost(lease))
    }
}

fn lost(lease: &Lease) -> Error {
    Error::LeaseLost { id: lease.job.clone() }
}
