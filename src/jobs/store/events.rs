//! Events of a job, stretch by stretch: measured first, so that whoever reads them has memory for them before.
//!
//! Changes nothing.

use super::{Store, history::COPIES, rows};
use crate::jobs::{error::Error, event::WrittenEvent};

/// Memory in bytes that an event takes besides its text.
const EVENT: u64 = 512;

/// Events of a job that are read together; they are measured, and not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    job: i64,
    after: i64,
    last: i64,
    /// Memory in bytes that reading and writing them takes.
    pub memory: u64,
}

/// What there is behind an event of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Whether the job has ended: nothing comes behind the stretch.
    pub has_ended: bool,
    /// The next events, if there are any.
    pub stretch: Option<Stretch>,
}

impl Store {
    /// The events of a job whose ids are greater than `after`: at most `limit`, and no more than `bytes` of text unless the first
    /// is longer.
    ///
    /// # Errors
    /// [`Error::UnknownJob`].
    pub async fn ahead(&self, id: &str, after: u64, limit: u32, bytes: u64) -> Result<Ahead, Error> {
        let found = sqlx::query("SELECT seq, state FROM jobs WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        // The state first: the event that ends a job is there when it has ended.
        let target = rows::target(&found.ok_or_else(|| Error::UnknownJob { id: id.to_owned() })?)?;
        let after = rows::signed(after);
        let query = "SELECT id, octet_length(data) FROM events WHERE job = ? AND id > ? ORDER BY id LIMIT ?";
        let query = sqlx::query_as::<_, (i64, i64)>(query).bind(target.seq).bind(after).bind(limit);
        let mut stretch: Option<Stretch> = None;
        let mut texts = 0u64;
        for (last, text) in query.fetch_all(&self.pool).await? {
            let text = rows::unsigned(text);
            if stretch.is_some() && texts.saturating_add(text) > bytes {
                break;
            }
            texts = texts.saturating_add(text);
            let memory = stretch.map_or(0, |stretch| stretch.memory).saturating_add(COPIES.saturating_mul(text) + EVENT);
            stretch = Some(Stretch { job: target.seq, after, last, memory });
        }
        Ok(Ahead { has_ended: target.state.is_terminal(), stretch })
    }

    /// The events of `stretch`, in order; none once its job is kept no longer.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn written(&self, stretch: Stretch) -> Result<Vec<WrittenEvent>, Error> {
        let query = sqlx::query("SELECT * FROM events WHERE job = ? AND id > ? AND id <= ? ORDER BY id");
        let rows = query.bind(stretch.job).bind(stretch.after).bind(stretch.last).fetch_all(&self.pool).await?;
        rows.iter().map(rows::written_event).collect()
    }
}
