//! `GET /jobs/{id}/events`: what happens to a job, as server-sent events that can be taken up where they broke off.
//!
//! Every event is read from the store (`service`); news only say when to look, so that none is lost.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract,
    http::{Extensions, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use tokio::sync::watch;
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
    jobs::Changes,
    service::{Error as ServiceError, EventPage, EventText, Look},
    work::Share,
};

/// Asks nginx to pass events on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A comment is sent after this time without an event, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long to wait for news before looking at the store anyway: other processes write it too.
const PATIENCE: Duration = Duration::from_secs(1);

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
    let place = service.stream(&client(&extensions))?;
    // Subscribed before the first look, so that nothing falls between.
    let (changes, closing, admitted) = (service.jobs()?.changes(), service.closing(), extensions.get::<Admitted>().cloned());
    let mut live = Live { state, changes, closing, id, after, page: EventPage::default(), admitted, place };
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
    changes: Changes,
    closing: watch::Receiver<bool>,
    id: String,
    /// Id of the last event sent; `u64::MAX` behind the end.
    after: u64,
    page: EventPage,
    admitted: Option<Admitted>,
    place: Share,
}

fn events(live: Live) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(live, |mut live| async move { live.next().await.map(|event| (Ok(event), live)) })
}

impl Live {
    /// The next event; `None` behind the last, when the server goes down, when the job is kept no longer, or when the key is in force
    /// no longer that the stream was asked for with.
    async fn next(&mut self) -> Option<Event> {
        while self.after != u64::MAX {
            // Comments: readers of events pass them over, and people see them.
            if !self.state.door().is_open_to(self.admitted.as_ref()) {
                return self.last("the key that this was asked for with was revoked or has expired");
            }
            if let Some(EventText { id, kind, is_end, data }) = self.page.next() {
                self.after = if is_end { u64::MAX } else { id };
                return Some(Event::default().id(id.to_string()).event(kind).data(data));
            }
            self.page = EventPage::default();
            if *self.closing.borrow() {
                return self.last("the server is going down; come again with the last id");
            }
            match self.look().await {
                Ok(Look { page: Some(page), .. }) => self.page = page,
                // Where there is no room there will be some: what others read comes to its end.
                // Whoever asked for what comes behind the end.
                Ok(Look { page: None, has_ended: true }) => return None,
                Ok(Look { page: None, .. }) | Err(ServiceError::Memory(_) | ServiceError::StoreBusy) => self.wait().await,
                Err(error) => {
                    tracing::warn!(job = self.id, error = &error as &dyn std::error::Error, "an event stream broke off");
                    return None;
                }
            }
        }
        None
    }

    /// Ends the stream before the job has, with the reason.
    fn last(&mut self, why: &str) -> Option<Event> {
        self.after = u64::MAX;
        Some(Event::default().comment(why))
    }

    /// The next page, if there is anything to read.
    async fn look(&self) -> Result<Look, ServiceError> {
        self.state.service().events(&self.id, self.after, &self.place).await
    }

    /// Waits for news, and looks again after a while in any case.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.changes.of(&self.id, PATIENCE) => {}
            _ = self.closing.changed() => {}
        }
    }
}
