//! What has been and is: jobs and their events.
//!
//! Changes nothing.

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, rows};
use crate::jobs::{
    error::Error,
    event::{EPOCH, StoredEvent, WARNING},
    job::{Details, Job, Summary, Written},
    state::State,
};

/// Which jobs are listed, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those accepted before the job of this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// Which epochs of a job are shown, in order.
#[derive(Debug, Clone, Copy)]
pub struct HistoryPage {
    /// Only those behind the event of this id.
    pub after: u64,
    /// At most so many.
    pub limit: u32,
}

/// Warnings that a job shows; more are among its events.
const SHOWN_WARNINGS: usize = 1000;

/// What a list reads: all but plan, warnings and result.
pub(super) const SUMMARY: &str =
    "id, state, kind, subject, cancel_requested, progress, error, created, started, finished, lease_owner, lease_until";

/// Memory that a text takes while it is read and as what is shown of it: SQLite's, ours, and that of its parts as they are written.
pub(super) const COPIES: u64 = 3;

/// Memory in bytes that a job in a list takes besides its texts, which are of a few words each.
const SUMMARY_BYTES: u64 = 2048;

impl Store {
    /// One job.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        rows::job(&row.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })?)
    }

    /// What a list shows of one job.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn summary(&self, id: &str) -> Result<Summary, Error> {
        let query = format!("SELECT {SUMMARY} FROM jobs WHERE id = ?");
        let row = sqlx::query(&query).bind(id).fetch_optional(&self.pool).await?;
        rows::summary(&row.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })?)
    }

    /// What is shown of one job, with a page of its history. Nothing is read before `hold` has let in its bytes of memory.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; those of `hold`.
    pub async fn details<E: From<Error>>(
        &self,
        id: &str,
        page: HistoryPage,
        mut hold: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Details, E> {
        // In one transaction, so that what is read is what was measured.
        let mut tx = self.pool.begin().await.map_err(Error::from)?;
        let (seq, bytes) = size(&mut tx, id).await?;
        hold(COPIES.saturating_mul(bytes))?;
        let query = format!("SELECT {SUMMARY}, plan, warnings, result FROM jobs WHERE seq = ?");
        let row = sqlx::query(&query).bind(seq).fetch_one(&mut *tx).await.map_err(Error::from)?;
        let (history, next) = history(&mut tx, seq, page, &mut hold).await?;
        let mut warnings: Vec<String> = rows::json(&row, "warnings")?;
        for warning in told(&mut tx, seq).await? {
            // A run that goes on may find the same again.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let (plan, result) = (rows::json(&row, "plan")?, rows::optional::<Box<RawValue>>(&row, "result")?);
        Ok(Details { summary: rows::summary(&row)?, plan, warnings, history, next, result })
    }

    /// Jobs, the newest first. Nothing is read before `hold` has let in its bytes of memory.
    ///
    /// # Errors
    /// [`Error::UnknownJob`] for one to start after that is not kept; those of `hold`.
    pub async fn list<E: From<Error>>(
        &self,
        listing: &Listing,
        mut hold: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Vec<Summary>, E> {
        let before = match &listing.after {
            None => i64::MAX,
            Some(id) => self.seq(id).await?,
        };
        let (of, state) =
            ("FROM jobs WHERE seq < ? AND (? IS NULL OR state = ?) ORDER BY seq DESC LIMIT ?", listing.state.map(State::name));
        // In one transaction, so that what is read is what was measured.
        let mut tx = self.pool.begin().await.map_err(Error::from)?;
        let texts = "octet_length(subject) + COALESCE(octet_length(progress), 0) + COALESCE(octet_length(error), 0)";
        let query = format!("SELECT COUNT(*), COALESCE(SUM(texts), 0) FROM (SELECT {texts} AS texts {of})");
        let query = sqlx::query_as(&query).bind(before).bind(state).bind(state).bind(listing.limit);
        let (jobs, bytes): (i64, i64) = query.fetch_one(&mut *tx).await.map_err(Error::from)?;
        let (jobs, bytes) = (rows::unsigned(jobs), rows::unsigned(bytes));
        hold(SUMMARY_BYTES.saturating_mul(jobs).saturating_add(COPIES.saturating_mul(bytes)))?;
        let query = format!("SELECT {SUMMARY} {of}");
        let query = sqlx::query(&query).bind(before).bind(state).bind(state).bind(listing.limit);
        let mut found = query.fetch(&mut *tx);
        let mut list = Vec::new();
        while let Some(row) = found.try_next().await.map_err(Error::from)? {
            list.push(rows::summary(&row)?);
        }
        Ok(list)
    }

    /// How many jobs are kept in each state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn counts(&self) -> Result<Vec<(State, u64)>, Error> {
        let query = sqlx::query_as::<_, (String, i64)>("SELECT state, COUNT(*) FROM jobs GROUP BY state");
        let found = query.fetch_all(&self.pool).await?;
        let of =
            |state: State| found.iter().find(|(name, _)| name == state.name()).map_or(0, |(_, count)| rows::unsigned(*count));
        Ok(State::ALL.iter().map(|state| (*state, of(*state))).collect())
    }

    /// At most `limit` events of a job whose ids are greater than `after`, in order, whatever memory they take: for tools and
    /// tests.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn events(&self, id: &str, after: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        let seq = self.seq(id).await?;
        let query = sqlx::query("SELECT * FROM events WHERE job = ? AND id > ? ORDER BY id LIMIT ?");
        let rows = query.bind(seq).bind(rows::signed(after)).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(rows::event).collect()
    }

    async fn seq(&self, id: &str) -> Result<i64, Error> {
        let seq = sqlx::query_scalar("SELECT seq FROM jobs WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        seq.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })
    }
}

type Tx = Transaction<'static, Sqlite>;

/// Where a job is, and the bytes of what its details are read from.
pub(super) async fn size(tx: &mut Tx, id: &str) -> Result<(i64, u64), Error> {
    let query =
        "SELECT seq, octet_length(plan) + octet_length(warnings) + COALESCE(octet_length(result), 0) FROM jobs WHERE id = ?";
    let found: Option<(i64, i64)> = sqlx::query_as(query).bind(id).fetch_optional(&mut **tx).await?;
    found.map(|(seq, bytes)| (seq, rows::unsigned(bytes))).ok_or_else(|| Error::UnknownJob { id: id.to_owned() })
}

/// A page of a job's epochs, one after the other, and the id of its last event if there are more.
async fn history<E: From<Error>>(
    tx: &mut Tx,
    seq: i64,
    page: HistoryPage,
    hold: &mut impl FnMut(u64) -> Result<(), E>,
) -> Result<(Vec<Written>, Option<u64>), E> {
    let query = "SELECT id, phase, epoch, step, data FROM events WHERE job = ? AND kind = ? AND id > ? ORDER BY id LIMIT ?";
    let query = sqlx::query(query).bind(seq).bind(EPOCH).bind(rows::signed(page.after)).bind(page.limit.saturating_add(1));
    let mut found = query.fetch(&mut **tx);
    let (mut epochs, mut last) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await.map_err(Error::from)? {
        if epochs.len() as u64 == u64::from(page.limit) {
            return Ok((epochs, Some(last)));
        }
        hold(COPIES.saturating_mul(row.try_get::<&str, _>("data").map_err(Error::from)?.len() as u64))?;
        last = rows::unsigned(row.try_get("id").map_err(Error::from)?);
        epochs.push(rows::written(&row)?);
    }
    Ok((epochs, None))
}

/// What a job has warned of since it was accepted.
async fn told(tx: &mut Tx, seq: i64) -> Result<Vec<String>, Error> {
    let query = "SELECT data ->> 'text' FROM events WHERE job = ? AND kind = ? AND json_type(data, '$.text') = 'text' \
                 GROUP BY 1 ORDER BY MIN(id) LIMIT ?";
    Ok(sqlx::query_scalar(query).bind(seq).bind(WARNING).bind(SHOWN_WARNINGS as i64).fetch_all(&mut **tx).await?)
}
