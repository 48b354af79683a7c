//! `/jobs`: submission with and without a key, lists, the job itself, cancellation, the bounded queue.

use graft::{
    config::JobsConfig,
    jobs::{Event, Failure, Jobs, Progress, document},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    finetune::{drawings, upload},
    support::{Answer, Plans, Setup, TestApp, eventually, finetune, run_one},
};

async fn app() -> (TestApp, Jobs) {
    Setup::empty().with_jobs(Plans::default()).await
}

async fn submit(app: &TestApp, name: &str) -> String {
    let answer = app.send(finetune(app, "", &json!({"name": name}))).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().expect("a job has an id").to_owned()
}

async fn submit_with_key(app: &TestApp, key: &str, body: &Value) -> Answer {
    app.send(finetune(app, "", body).header("Idempotency-Key", key)).await
}

async fn cancel(app: &TestApp, id: &str) -> Answer {
    app.send(app.ask(Method::POST, &format!("/jobs/{id}/cancel"))).await
}

#[tokio::test]
async fn a_job_is_accepted_with_everything_resolved() {
    let (app, _) = app().await;
    let answer = app.send(finetune(&app, "", &json!({"name": "cats"}))).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["state"]), (202, &json!("queued")));
    assert_eq!(answer.header("location"), format!("/jobs/{}", body["id"].as_str().expect("an id")));
    assert_eq!(body["recipe"], json!({"name": "cats", "seed": 0}));
    assert_eq!((&body["base"], &body["dataset"]), (&json!({"model": "colours", "version": 1}), &json!("photos")));
    assert_eq!((&body["estimates"]["minutes"], &body["warnings"]), (&json!(2), &json!(["few images"])));
    let shown = app.get(answer.header("location")).await.ok().json();
    assert_eq!((&shown["state"], &shown["history"], &shown["created"]), (&json!("queued"), &json!([]), &body["created"]));
    for absent in ["phase", "loss", "error", "result", "started", "estimated_finish"] {
        assert!(shown.get(absent).is_none(), "{absent}: {shown}");
    }
}

#[tokio::test]
async fn a_dry_run_queues_nothing() {
    let (app, _) = app().await;
    let plan = app.send(finetune(&app, "?dry_run=true", &json!({"name": "cats"}))).await.ok().json();
    assert_eq!((&plan["estimates"]["minutes"], plan.get("id")), (&json!(2), None));
    assert_eq!(app.get("/jobs").await.ok().json(), json!({"jobs": [], "next": null}));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_every_reason() {
    let (app, _) = app().await;
    let refused = app.send(finetune(&app, "", &json!({"name": "broken"}))).await;
    let body = refused.problem(422, "invalid_recipe", "the request has 2 problems; `problems` names each");
    assert_eq!(body["problems"][1], json!({"field": "batch_size", "detail": "is negative"}));
    let wordy = app.send(finetune(&app, "?dry_run=true", &json!({"name": "wordy"}))).await;
    let body = wordy.problem(422, "invalid_recipe", "");
    let detail = body["problems"][0]["detail"].as_str().expect("a text");
    assert!(detail.contains("and 8388608 are kept of one; nearly all are names of classes"), "{detail}");
    let defect = app.send(finetune(&app, "", &json!({"name": "defect"}))).await;
    assert!(!defect.problem(500, "internal", "its log").to_string().contains("secret"));
    let post = |kind: &str, body: &str| app.post_typed("/jobs/finetune", kind, body);
    app.send(post("text/plain", "{}")).await.problem(415, "unsupported_media_type", "send `application/json`");
    app.send(post("application/json", "{")).await.problem(400, "malformed_body", "cannot read the JSON body");
    let large = " ".repeat((1 << 20) + 1);
    app.send(post("application/json", &large)).await.problem(413, "body_too_large", "larger than 1048576 bytes");
    app.send(finetune(&app, "?dry=1", &json!({}))).await.problem(422, "invalid_parameter", "did you mean `dry_run`?");
    submit_with_key(&app, "a b", &json!({"name": "a"})).await.problem(422, "invalid_parameter", "`Idempotency-Key` has spaces");
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"], json!([]));
}

#[tokio::test]
async fn the_same_key_and_body_are_the_same_job() {
    let (app, jobs) = app().await;
    let body = json!({"name": "cats"});
    let first = submit_with_key(&app, "k-1", &body).await;
    assert_eq!(first.status, 202);
    run_one(&jobs, |_, _| Ok(Value::Null)).await.expect("one waits");
    let again = submit_with_key(&app, "\"k-1\"", &body).await;
    assert_eq!((again.status, again.header("location")), (202, first.header("location")));
    assert_eq!(again.body, first.body, "whatever became of the job");
    let other = submit_with_key(&app, "k-1", &json!({"name": "dogs"})).await;
    other.problem(422, "idempotency_key_reused", "use a new key");
    // What was refused leaves its key free.
    submit_with_key(&app, "k-2", &json!({"name": "broken"})).await.problem(422, "invalid_recipe", "problems");
    assert_eq!(submit_with_key(&app, "k-2", &body).await.status, 202);
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_key_whose_request_is_being_accepted_is_refused_even_when_its_client_left() {
    let (planner, gate) = Plans::gated();
    let (app, _) = Setup::empty().with_jobs(planner).await;
    let body = json!({"name": "slow"});
    let request = finetune(&app, "", &body).header("Idempotency-Key", "k");
    let first = tokio::spawn(async { request.send().await.map(drop) });
    gate.reached.notified().await;
    let second = submit_with_key(&app, "k", &body).await;
    second.problem(409, "idempotency_in_progress", "still being accepted");
    first.abort();
    gate.open.send(()).expect("the planner waits");
    eventually("it is accepted", async || submit_with_key(&app, "k", &body).await.status == 202).await;
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let setup = Setup::empty().configured(|config| config.jobs = JobsConfig { max_queued: 1, ..config.jobs.clone() });
    let (app, _) = setup.with_jobs(Plans::default()).await;
    submit(&app, "a").await;
    let full = submit_with_key(&app, "k", &json!({"name": "b"})).await;
    full.problem(503, "queue_full", "1 jobs are already waiting (`jobs.max_queued`)");
}

#[tokio::test]
async fn a_job_shows_how_far_it_is_and_what_it_made() {
    let (app, jobs) = app().await;
    let id = submit(&app, "cats").await;
    let path = format!("/jobs/{id}");
    let (reported, report) = (std::sync::Mutex::new(None::<Value>), tokio::runtime::Handle::current());
    let reported = std::sync::Arc::new(reported);
    let (seen, store, shown) = (std::sync::Arc::clone(&reported), jobs.clone(), id.clone());
    run_one(&jobs, move |_, control| {
        control.event(Event::new("epoch").at(1, 1, 8).with("val_accuracy", 0.75));
        control.event(Event::warning("the cache does not fit"));
        let details = json!({"phase": 1, "epoch": 1, "step": 8, "loss": 0.5, "images_per_second": 12.5});
        control.progress(Progress {
            remaining_seconds: Some(60.0),
            details: document(&details).expect("an object"),
            ..Progress::default()
        });
        control.flush();
        let job = report.block_on(store.job(&shown)).expect("it is kept");
        *seen.lock().expect("not poisoned") = Some(json!(job.progress));
        Ok(json!({"model": "cats", "version": 1}))
    })
    .await
    .expect("one waits");
    let progress = reported.lock().expect("not poisoned").take().expect("the runner looked");
    assert_eq!((&progress["step"], progress["reported_ms"].is_number()), (&json!(8), true), "durable after a flush");
    let job = app.get(&path).await.ok().json();
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!({"model": "cats", "version": 1})));
    assert_eq!((&job["phase"], &job["loss"], &job["images_per_second"]), (&json!(1), &json!(0.5), &json!(12.5)));
    assert_eq!(job["history"], json!([{"phase": 1, "epoch": 1, "step": 8, "val_accuracy": 0.75}]));
    assert_eq!((&job["recipe"], job.get("next")), (&json!({"name": "cats", "seed": 0}), None), "that is all of it");
    assert_eq!(job["warnings"], json!(["few images", "the cache does not fit"]));
    assert!(job.get("estimated_finish").is_none(), "it has ended");
    let failing = submit(&app, "dogs").await;
    run_one(&jobs, |_, _| Err(Failure::new("not_finite", "loss is NaN"))).await.expect("one waits");
    let job = app.get(&format!("/jobs/{failing}")).await.ok().json();
    assert_eq!((&job["state"], &job["error"]), (&json!("failed"), &json!({"code": "not_finite", "detail": "loss is NaN"})));
}

#[tokio::test]
async fn the_history_of_a_job_comes_in_pages() {
    let (app, jobs) = app().await;
    let path = format!("/jobs/{}", submit(&app, "cats").await);
    run_one(&jobs, |_, control| {
        (1..=3).for_each(|epoch| control.event(Event::new("epoch").at(1, epoch, 8)));
        Ok(json!({}))
    })
    .await
    .expect("one waits");
    let page = async |query: &str| {
        let job = app.get(&format!("{path}{query}")).await.ok().json();
        let epochs = job["history"].as_array().expect("a list").iter().map(|epoch| epoch["epoch"].clone());
        (epochs.collect::<Value>(), job["next"].clone())
    };
    assert_eq!(page("").await, (json!([1, 2, 3]), Value::Null));
    let (first, next) = page("?limit=2").await;
    assert_eq!(first, json!([1, 2]));
    assert_eq!(page(&format!("?limit=2&after={next}")).await, (json!([3]), Value::Null));
    app.get(&format!("{path}?limit=10001")).await.problem(422, "invalid_parameter", "10000 is the most");
}

#[tokio::test]
async fn a_running_job_says_whether_its_worker_reports() {
    let (app, jobs) = app().await;
    let path = format!("/jobs/{}", submit(&app, "cats").await);
    assert!(app.get(&path).await.ok().json().get("lease").is_none(), "no worker has it yet");
    let (store, lease) = (jobs.store(), jobs.config().lease);
    let (_, held) = store.claim(jobs.now(), lease).await.expect("it works").expect("one waits");
    let status = async || {
        let (job, listed) = (app.get(&path).await.ok().json(), app.get("/jobs").await.ok().json());
        assert_eq!((&job["state"], &job["lease"]), (&json!("running"), &listed["jobs"][0]["lease"]));
        job["lease"].clone()
    };
    assert_eq!(status().await["status"], "held");
    let before = jobs.now().minus(lease / 2);
    store.heartbeat(&held, before, lease).await.expect("it holds the lease");
    let overdue = json!({"status": "overdue", "reported": before.to_string(), "expires": before.plus(lease).to_string()});
    assert_eq!(status().await, overdue);
    store.complete(&held, &json!({}), jobs.now()).await.expect("it holds the lease");
    assert!(app.get(&path).await.ok().json().get("lease").is_none(), "it has ended");
}

#[tokio::test]
async fn jobs_are_listed_in_pages_by_state() {
    let (app, _) = app().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(submit(&app, name).await);
    }
    assert_eq!(cancel(&app, &ids[0]).await.status, 200);
    let list = async |query: &str| {
        let body = app.get(&format!("/jobs{query}")).await.ok().json();
        let names = body["jobs"].as_array().expect("a list").iter().map(|job| job["name"].as_str().expect("a name").to_owned());
        (names.collect::<Vec<_>>().join(""), body["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await, ("cba".into(), None));
    let (page, next) = list("?limit=2").await;
    assert_eq!((page.as_str(), next.as_ref()), ("cb", Some(&ids[1])));
    assert_eq!(list(&format!("?limit=2&after={}", next.expect("a page follows"))).await, ("a".into(), None));
    assert_eq!(list("?state=queued").await, ("cb".into(), None));
    assert_eq!(list("?state=cancelled").await, ("a".into(), None));
    app.get("/jobs?state=done").await.problem(422, "invalid_parameter", "it may be `queued`, `running`");
    app.get("/jobs?limit=101").await.problem(422, "invalid_parameter", "100 is the most");
    app.get("/jobs?after=x").await.problem(404, "unknown_job", "no job `x`");
    app.get("/jobs/x").await.problem(404, "unknown_job", "`GET /jobs` lists");
    app.get("/jobs/%ff").await.problem(422, "invalid_parameter", "cannot read the path");
}

#[tokio::test]
async fn cancelling_ends_a_job_once() {
    let (app, jobs) = app().await;
    let id = submit(&app, "a").await;
    assert_eq!(cancel(&app, &id).await.ok().json()["state"], "cancelled");
    cancel(&app, &id).await.problem(409, "job_finished", "has already been cancelled");
    cancel(&app, "x").await.problem(404, "unknown_job", "no job `x`");

    let id = submit(&app, "b").await;
    let (begin, begun) = tokio::sync::oneshot::channel();
    let begin = std::sync::Mutex::new(Some(begin));
    let running = run_one(&jobs, move |_, control| {
        let begin = begin.lock().expect("not poisoned").take().expect("it runs once");
        begin.send(()).expect("the test listens");
        while !control.cancelled() {
            std::thread::yield_now();
        }
        Err(Failure::new("stopped", "as asked"))
    });
    let asked = async {
        begun.await.expect("the runner begins");
        cancel(&app, &id).await
    };
    let (ended, asked) = tokio::join!(running, asked);
    assert_eq!((asked.status, &asked.json()["cancel_requested"]), (202, &json!(true)));
    assert_eq!(ended.and_then(|ended| ended.state), Some(graft::jobs::State::Cancelled));
    assert_eq!(app.get(&format!("/jobs/{id}")).await.ok().json()["state"], "cancelled");
}

#[tokio::test]
async fn what_an_unfinished_job_needs_cannot_be_deleted() {
    let (app, _) = app().await;
    let dataset = upload(&app, drawings(2, 1)).await;
    let accepted = app.send(finetune(&app, "", &json!({"name": "a", "dataset": dataset}))).await.json();
    let id = accepted["id"].as_str().expect("a job has an id");
    let delete = async || app.send(app.ask(Method::DELETE, &format!("/datasets/{dataset}"))).await;
    delete().await.problem(409, "dataset_in_use", id);
    cancel(&app, id).await.ok();
    assert_eq!(delete().await.status, 204);
    delete().await.problem(404, "unknown_dataset", &dataset);
}

#[tokio::test]
async fn a_job_whose_data_set_went_while_it_was_planned_is_refused() {
    let (plans, gate) = Plans::gated();
    let (app, _) = Setup::empty().with_jobs(plans).await;
    let dataset = upload(&app, drawings(2, 1)).await;
    let slow = app.send(finetune(&app, "", &json!({"name": "slow", "dataset": dataset})));
    let delete = async {
        gate.reached.notified().await;
        let deleted = app.send(app.ask(Method::DELETE, &format!("/datasets/{dataset}"))).await;
        gate.open.send(()).expect("the planner waits");
        deleted
    };
    let (refused, deleted) = tokio::join!(slow, delete);
    assert_eq!(deleted.status, 204, "nobody uses it yet");
    refused.problem(422, "invalid_recipe", &format!("dataset `{dataset}` was removed while the job was being planned"));
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"], json!([]));
}
