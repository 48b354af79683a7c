//! What has been and is: jobs and their events.
//!
//! Changes nothing.

use super::{Store, rows};
use crate::jobs::{
    error::Error,
    event::{EPOCH, StoredEvent, WARNING},
    job::Job,
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

/// Epochs and warnings that a job shows; more are among its events.
const SHOWN_EVENTS: i64 = 10_000;

impl Store {
    /// One job.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn job(&self, id: &str) -> Result<Job, Error> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        rows::job(&row.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })?)
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// [`Error::UnknownJob`] for one to start after that is not kept.
    pub async fn list(&self, listing: &Listing) -> Result<Vec<Job>, Error> {
        let before = match &listing.after {
            None => i64::MAX,
            Some(id) => self.seq(id).await?,
        };
        let query = sqlx::query("SELECT * FROM jobs WHERE seq < ? AND (? IS NULL OR state = ?) ORDER BY seq DESC LIMIT ?");
        let state = listing.state.map(State::name);
        let rows = query.bind(before).bind(state).bind(state).bind(listing.limit).fetch_all(&self.pool).await?;
        rows.iter().map(rows::job).collect()
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

    /// At most `limit` events of a job whose ids are greater than `after`, in order.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn events(&self, id: &str, after: u64, limit: u32) -> Result<Vec<StoredEvent>, Error> {
        let seq = self.seq(id).await?;
        let query = sqlx::query("SELECT * FROM events WHERE job = ? AND id > ? ORDER BY id LIMIT ?");
        let rows = query.bind(seq).bind(rows::signed(after)).bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(rows::event).collect()
    }

    /// A job's `epoch` and `warning` events, in order.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn highlights(&self, id: &str) -> Result<Vec<StoredEvent>, Error> {
        let seq = self.seq(id).await?;
        let query = sqlx::query("SELECT * FROM events WHERE job = ? AND kind IN (?, ?) ORDER BY id LIMIT ?");
        let rows = query.bind(seq).bind(EPOCH).bind(WARNING).bind(SHOWN_EVENTS).fetch_all(&self.pool).await?;
        rows.iter().map(rows::event).collect()
    }

    async fn seq(&self, id: &str) -> Result<i64, Error> {
        let seq = sqlx::query_scalar("SELECT seq FROM jobs WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        seq.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })
    }
}
