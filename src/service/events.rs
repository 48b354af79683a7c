//! Events of a job, page after page, each read and written within the memory of its client.
//!
//! Every event is read from the store, so that a stream that is taken up again misses and repeats nothing; how it is sent, and
//! when to look again, is the transport's.

use std::collections::VecDeque;

use serde_json::value::to_raw_value;
use tokio::runtime::Handle;

use super::{Error, Service};
use crate::{
    jobs::{Ahead, Stretch, WrittenEvent},
    work::{Client, Share},
};

/// Events that are read at once, and bytes of their text; one that is longer is read alone.
const PAGE: u32 = 256;
const PAGE_BYTES: u64 = 256 << 10;

/// What a look at a job's events has found.
#[derive(Debug)]
pub struct Look {
    /// The next events, if there are any.
    pub page: Option<EventPage>,
    /// Whether nothing comes behind them.
    pub has_ended: bool,
}

/// Events that have been read and not taken, in order, and the memory of all, which is given back when the page is dropped.
#[derive(Debug, Default)]
pub struct EventPage {
    events: VecDeque<EventText>,
    _memory: Option<Share>,
}

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventText {
    /// Its number within the job, from 1.
    pub id: u64,
    /// What kind of thing happened.
    pub kind: String,
    /// Whether it is the last of its job.
    pub is_end: bool,
    /// A JSON object with the time (`at`) and what happened, in one line.
    pub data: String,
}

impl Service {
    /// The next events of the job `id` behind `after`, for the stream that has this `place` ([`Self::stream`]); a single one
    /// where there is no memory for more.
    ///
    /// # Errors
    /// [`Error::Memory`] and [`Error::StoreBusy`] while there is no room, [`Error::NoJobs`], an unknown job.
    pub async fn events(&self, id: &str, after: u64, place: &Share) -> Result<Look, Error> {
        match self.look(id, after, PAGE, place.client()).await {
            Err(Error::Memory(_)) => self.look(id, after, 1, place.client()).await,
            look => look,
        }
    }

    async fn look(&self, id: &str, after: u64, events: u32, client: &Client) -> Result<Look, Error> {
        let Ahead { stretch, has_ended } = self.jobs()?.ahead(id, after, events, PAGE_BYTES).await?;
        let page = match stretch {
            Some(stretch) => Some(self.page(stretch, client).await?),
            None => None,
        };
        Ok(Look { page, has_ended })
    }

    /// The events of `stretch`, read and written within the memory of their client, away from the async threads.
    async fn page(&self, stretch: Stretch, client: &Client) -> Result<EventPage, Error> {
        let memory = self.engine().admissions().memory().take(client, stretch.memory)?;
        let (jobs, runtime) = (self.jobs()?.clone(), Handle::current());
        let read = move || {
            let events = runtime.block_on(jobs.written(stretch))?.into_iter().map(EventText::from).collect();
            Ok(EventPage { events, _memory: Some(memory) })
        };
        self.seat(client)?.run(read).await
    }
}

/// Takes the next event out of the page.
impl Iterator for EventPage {
    type Item = EventText;

    fn next(&mut self) -> Option<EventText> {
        self.events.pop_front()
    }
}

impl From<WrittenEvent> for EventText {
    fn from(stored: WrittenEvent) -> Self {
        let is_end = stored.is_end();
        let WrittenEvent { id, kind, mut document, at } = stored;
        document.insert("at".to_owned(), to_raw_value(&at.to_string()).expect("a string is JSON"));
        let data = serde_json::to_string(&document).expect("names and JSON are JSON");
        Self { id, kind, is_end, data }
    }
}
