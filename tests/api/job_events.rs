//! `/jobs/{id}/events`: live, resumed, ended; nothing lost, nothing twice.

use graft::{
    config::JobsConfig,
    jobs::{Event, Jobs},
    work::Client,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    finetune::{drawings, submit, upload},
    support::{Plans, Ran, Setup, TestApp, Tiny, eventually, finetune, run_one},
};

/// An event as it came over the wire.
#[derive(Debug, PartialEq)]
struct Seen {
    id: u64,
    kind: String,
    data: Value,
}

/// An open stream.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(app: &TestApp, id: &str, last: Option<u64>) -> Self {
        let mut request = app.ask(Method::GET, &format!("/jobs/{id}/events")).header("Accept-Encoding", "gzip");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"), "events are not compressed");
        Self { response, text: String::new() }
    }

    /// The next event, `None` when the server ends the stream.
    async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let message: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let Some(id) = field("id:") else { continue };
                let data = serde_json::from_str(field("data:").expect("an event has data")).expect("it is JSON");
                let kind = field("event:").expect("an event has a kind").to_owned();
                return Some(Seen { id: id.parse().expect("ids are numbers"), kind, data });
            }
            match self.response.chunk().await.expect("the stream ends cleanly") {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).expect("events are UTF-8")),
                None => return None,
            }
        }
    }

    async fn rest(mut self) -> Vec<Seen> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_key() {
    let setup = Setup::empty().with(Tiny::Thousand, "base").configured(|config| config.jobs.workers = 0);
    let models = setup.config().models.dir.clone();
    let app = setup.start().await;
    let recipe = json!({"dataset": upload(&app, drawings(4, 1)).await, "base": "base", "name": "new"});
    let id = submit(&app, &recipe).await.json()["id"].as_str().expect("a job has an id").to_owned();
    let key = Ran::graft(&models, &["keys", "create", "phone", "--scope", "train"]).ok().trim().to_owned();
    eventually("a key is needed", async || app.get("/models").await.status == 401).await;
    let request = app.ask(Method::GET, &format!("/jobs/{id}/events")).bearer_auth(&key);
    let mut stream = Stream { response: request.send().await.expect("it answers"), text: String::new() };
    assert_eq!(stream.next().await.expect("it is queued").id, 1);
    Ran::graft(&models, &["keys", "revoke", "phone"]).ok();
    assert_eq!(stream.next().await, None, "though the job waits still");
    app.gives_all_back().await;
}

async fn app_with_job() -> (TestApp, Jobs, String) {
    let setup = Setup::empty().configured(|config| {
        config.jobs = JobsConfig { max_streams: 2, ..config.jobs.clone() };
        config.server.max_client_percent = 100;
    });
    let (app, jobs) = setup.with_jobs(Plans::default()).await;
    let answer = app.send(finetune(&app, "", &json!({"name": "cats"}))).await;
    let id = answer.json()["id"].as_str().expect("a job has an id").to_owned();
    (app, jobs, id)
}

#[tokio::test]
async fn events_arrive_while_they_happen_and_can_be_taken_up_anywhere() {
    let (app, jobs, id) = app_with_job().await;
    let mut live = Stream::open(&app, &id, None).await;
    let queued = live.next().await.expect("it is queued");
    assert_eq!((queued.id, queued.kind.as_str()), (1, "queued"));
    assert!(queued.data["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{queued:?}");
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let running = run_one(&jobs, move |_, control| {
        control.event(Event::new("step").at(1, 1, 1).with("loss", 0.5));
        control.flush();
        wait.lock().expect("not poisoned").recv().expect("the test goes on");
        control.event(Event::new("step").at(1, 1, 2).with("loss", 0.25));
        Ok(json!({"version": 3}))
    });
    let watching = async {
        assert_eq!(live.next().await.map(|event| event.kind), Some("running".to_owned()));
        let step = live.next().await.expect("the first step, before the second");
        assert_eq!((step.id, &step.data["step"], &step.data["loss"]), (3, &json!(1), &json!(0.5)));
        go.send(()).expect("the runner waits");
        live.rest().await
    };
    let (_, rest) = tokio::join!(running, watching);
    assert_eq!(rest.iter().map(|event| (event.id, event.kind.as_str())).collect::<Vec<_>>(), [(4, "step"), (5, "end")]);
    assert_eq!((&rest[1].data["state"], &rest[1].data["result"]), (&json!("succeeded"), &json!({"version": 3})));

    let resumed = Stream::open(&app, &id, Some(3)).await.rest().await;
    assert_eq!(resumed, rest, "the same, from the store");
    assert_eq!(Stream::open(&app, &id, None).await.rest().await.len(), 5);
    let request = app.ask(Method::GET, &format!("/jobs/{id}/events?after=0")).header("Last-Event-ID", "5");
    let behind = app.send(request).await;
    assert_eq!((behind.status, behind.body.len()), (204, 0), "an `EventSource` stops at that");
    assert_eq!(app.get(&format!("/jobs/{id}/events?after=99")).await.status, 204);
}

#[tokio::test]
async fn events_of_another_process_arrive_too() {
    let (app, jobs, id) = app_with_job().await;
    let stream = Stream::open(&app, &id, Some(1)).await;
    // Written past this server's handle, which is told nothing.
    jobs.store().cancel(&id, jobs.now()).await.expect("it waits");
    let events = stream.rest().await;
    assert_eq!(events.iter().map(|event| (event.id, event.kind.as_str())).collect::<Vec<_>>(), [(2, "end")]);
}

#[tokio::test]
async fn streams_are_bounded_and_given_back() {
    let (app, _jobs, id) = app_with_job().await;
    let first = Stream::open(&app, &id, None).await;
    let _second = Stream::open(&app, &id, None).await;
    let third = app.get(&format!("/jobs/{id}/events")).await;
    third.problem(503, "too_many_streams", "2 event streams are open (`jobs.max_streams`)");
    drop(first);
    let asks = async || {
        let response = app.ask(Method::GET, &format!("/jobs/{id}/events")).send().await.expect("it answers");
        response.status() == 200
    };
    eventually("a place is free", asks).await;
}

#[tokio::test]
async fn events_are_read_within_the_memory_of_their_client() {
    let setup = Setup::empty().configured(|config| config.server.max_client_percent = 100);
    let (app, jobs) = setup.with_jobs(Plans::default()).await;
    let memory = app.engine.admissions().memory().clone();
    let answer = app.send(finetune(&app, "", &json!({"name": "cats"}))).await;
    let id = answer.json()["id"].as_str().expect("a job has an id").to_owned();
    let room = async || memory.used() == 0;
    eventually("the answer has been sent", room).await;
    let all = memory.take(&Client::local(), memory.bound()).expect("nobody else has any");
    app.get(&format!("/jobs/{id}/events")).await.problem(503, "busy", "");
    app.get("/jobs").await.problem(503, "busy", "");
    // With nothing to read there is nothing to hold.
    let waiting = Stream::open(&app, &id, Some(1)).await;
    jobs.cancel(&id).await.expect("it waits");
    drop(all);
    let rest = waiting.rest().await;
    assert_eq!(rest.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["end"], "it was waited for");
    assert_eq!(Stream::open(&app, &id, None).await.rest().await.len(), 2);
    app.get("/jobs").await.ok();
    eventually("what was sent is given back", room).await;
}

#[tokio::test]
async fn open_streams_end_when_the_server_goes_down() {
    let (app, _jobs, id) = app_with_job().await;
    let stream = Stream::open(&app, &id, None).await;
    drop(app);
    assert_eq!(stream.rest().await.len(), 1, "the job goes on elsewhere, the stream can be taken up there");
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let (app, _jobs, id) = app_with_job().await;
    app.get("/jobs/x/events").await.problem(404, "unknown_job", "no job `x`");
    app.get(&format!("/jobs/{id}/events?after=-1")).await.problem(422, "invalid_parameter", "`after` is `-1`");
    let request = app.ask(Method::GET, &format!("/jobs/{id}/events")).header("Last-Event-ID", "x");
    app.send(request).await.problem(422, "invalid_parameter", "`Last-Event-ID` is `x`");
}
