//! `GET /jobs/{id}/events`: what happens to a job, as server-sent events that can be taken up where they broke off.
//!
//! Every event is read from the store; news only say when to look, so that none is lost.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract,
    http::{Extensions, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use serde_json::value::to_raw_value;
use tokio::{runtime::Handle, sync::watch};
use utoipa::openapi::{KnownFormat, RefOr, schema::Schema};

use crate::{
    access::Admitted,
    http::{
        client::client,
        code::{ANSWER, PARAMETERS, codes},
        error::ApiError,
        openapi::Problems,
        parameters::{Value as ParameterValue, parameters, refused, whole_number},
        state::State,
    },
    jobs::{Ahead, Changes, Jobs, Stretch, WrittenEvent},
    service::Error as ServiceError,
    work::Share,
};

/// Asks nginx to pass events on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A comment is sent after this time without an event, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long to wait for news before looking at the store anyway: other processes write it too.
const PATIENCE: Duration = Duration::from_secs(1);

/// Events that are read at once, and bytes of their text; one that is longer is read alone.
const PAGE: u32 = 256;
const PAGE_BYTES: u64 = 256 << 10;

parameters! {
    /// What `/jobs/{id}/events` takes.
    pub struct EventsQuery {
        /// What the answer that accepted it called it, such as `019acb2e-5d5c-7d4f-9a53-0c8f3f6f2f10`.
        id: String => Path,
        /// Id of the event to start after; a `Last-Event-ID` header overrides it.
        after: Option<EventId>,
        /// Id of the last event seen, as `EventSource` sends it
        last_event_id: Option<EventId> => Header("Last-Event-ID"),
    }
}

/// The id of an event, 0 before the first; none in a header that is empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventId(pub(super) Option<u64>);

impl ParameterValue for EventId {
    fn parse(text: &str) -> Result<Self, String> {
        let id = text.parse::<u64>().ok().filter(|id| *id != u64::MAX);
        if id.is_some() || text.is_empty() { Ok(Self(id)) } else { Err(refused(text, "it must be the id of an event, or 0")) }
    }

    fn schema() -> RefOr<Schema> {
        whole_number(KnownFormat::Int64).minimum(Some(0)).into()
    }
}

/// What happens to a job, live
///
/// Server-sent events: `id` counts from 1, `event` is the kind, `data` is JSON with the time (`at`) and what happened.
/// Starts after `Last-Event-ID` or `after`, else from the first. The last event is `end`, with a `result` of up to 64 KiB, which `/jobs/{id}` has in any case; whoever reconnects after it gets 204.
#[utoipa::path(get, path = "/jobs/{id}/events", operation_id = "stream_job_events", tag = "jobs", params(EventsQuery), responses(
    (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
    (status = 204, description = "The job has ended and there is no further event"),
    Problems<{ PARAMETERS | ANSWER | codes! { UnknownJob TooManyStreams JobsUnavailable } }>
))]
pub async fn stream(
    extract::State(state): extract::State<State>,
    query: EventsQuery,
    extensions: Extensions,
) -> Result<Response, ApiError> {
    let EventsQuery { id, after, last_event_id } = query;
    // The header that a reconnecting client sends is newer than its address.
    let after = [last_event_id, after].into_iter().flatten().find_map(|EventId(id)| id).unwrap_or_default();
    let service = state.service();
    let (jobs, place) = (service.jobs()?.clone(), service.stream(&client(&extensions))?);
    // Subscribed before the first look, so that nothing falls between.
    let (changes, closing, admitted) = (jobs.changes(), service.closing(), extensions.get::<Admitted>().cloned());
    let mut live = Live { state, jobs, changes, closing, id, after, page: Page::default(), admitted, place };
    // Whoever comes when there is no room is told so; whoever is here waits for it.
    match live.look().await? {
        Look { page: None, has_ended: true } => return Ok(StatusCode::NO_CONTENT.into_response()),
        Look { page, .. } => live.page = page.unwrap_or_default(),
    }
    let events = Sse::new(events(live)).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat"));
    Ok(([(X_ACCEL_BUFFERING, HeaderValue::from_static("no"))], events).into_response())
}

/// An open stream.
struct Live {
    state: State,
    jobs: Jobs,
    changes: Changes,
    closing: watch::Receiver<bool>,
    id: String,
    /// Id of the last event sent; `u64::MAX` behind the end.
    after: u64,
    page: Page,
    admitted: Option<Admitted>,
    place: Share,
}

/// Events that have been read and not sent, and their memory.
#[derive(Default)]
struct Page {
    events: VecDeque<Ready>,
    _memory: Option<Share>,
}

/// What a look at the store has found.
struct Look {
    page: Option<Page>,
    /// Whether nothing comes behind the page.
    has_ended: bool,
}

/// An event as it is sent.
struct Ready {
    id: u64,
    is_end: bool,
    event: Event,
}

fn events(live: Live) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(live, |mut live| async move { live.next().await.map(|event| (Ok(event), live)) })
}

impl Live {
    /// The next event; `None` behind the last, when the server goes down, when the job is kept no longer, or when the key is in force
    /// no longer that the stream was asked for with.
    async fn next(&mut self) -> Option<Event> {
        while self.after != u64::MAX {
            if let Some(Ready { id, is_end, event }) = self.page.events.pop_front() {
                self.after = if is_end { u64::MAX } else { id };
                return Some(event);
            }
            self.page = Page::default();
            if *self.closing.borrow() || !self.state.door().is_open_to(self.admitted.as_ref()) {
                return None;
            }
            match self.look().await {
                Ok(Look { page: Some(page), .. }) => self.page = page,
                // Where there is no room there will be some: what others read comes to its end.
                Ok(Look { page: None, .. }) | Err(ApiError::Busy { .. } | ApiError::Service(ServiceError::StoreBusy)) => {
                    self.wait().await
                }
                Err(error) => {
                    tracing::warn!(job = self.id, error = &error as &dyn std::error::Error, "an event stream broke off");
                    return None;
                }
            }
        }
        None
    }

    /// The next page, if there is anything to read; of one event where there is no room for more.
    async fn look(&self) -> Result<Look, ApiError> {
        match self.look_for(PAGE).await {
            Err(ApiError::Busy { .. }) => self.look_for(1).await,
            look => look,
        }
    }

    async fn look_for(&self, events: u32) -> Result<Look, ApiError> {
        let Ahead { stretch, has_ended } = self.jobs.ahead(&self.id, self.after, events, PAGE_BYTES).await?;
        let page = match stretch {
            Some(stretch) => Some(self.read(stretch).await?),
            None => None,
        };
        Ok(Look { page, has_ended })
    }

    /// The events of `stretch`, read and written within the memory of their client, away from the async threads.
    async fn read(&self, stretch: Stretch) -> Result<Page, ApiError> {
        let client = self.place.client();
        let memory = self.state.intake().admissions.memory().take(client, stretch.memory)?;
        let (jobs, runtime) = (self.jobs.clone(), Handle::current());
        let read = move || {
            let events = runtime.block_on(jobs.written(stretch))?.into_iter().map(ready).collect::<Result<_, _>>()?;
            Ok(Page { events, _memory: Some(memory) })
        };
        self.state.service().seat(client)?.run(read).await
    }

    /// Waits for news, and looks again after a while in any case.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.changes.of(&self.id, PATIENCE) => {}
            _ = self.closing.changed() => {}
        }
    }
}

fn ready(stored: WrittenEvent) -> Result<Ready, ApiError> {
    let (id, is_end) = (stored.id, stored.is_end());
    let mut document = stored.document;
    document.insert("at".to_owned(), to_raw_value(&stored.at.to_string()).map_err(ApiError::internal)?);
    let data = serde_json::to_string(&document).map_err(ApiError::internal)?;
    Ok(Ready { id, is_end, event: Event::default().id(id.to_string()).event(stored.kind).data(data) })
}
