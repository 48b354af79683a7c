//! Choosing, deleting and downloading versions; what is asked next sees it.

use graft::registry::{OnnxSettings, import_onnx, read_labels};
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Plans, Setup, TestApp, Tiny, finetune, plain, publish, runtime};

async fn choose(app: &TestApp, model: &str, body: &str) -> Answer {
    let request = app.ask(Method::PUT, &format!("/models/{model}/stable"));
    app.send(request.header("Content-Type", "application/json").body(body.to_owned())).await
}

async fn delete(app: &TestApp, model: &str, version: &str) -> Answer {
    app.send(app.ask(Method::DELETE, &format!("/models/{model}/versions/{version}"))).await
}

async fn answering(app: &TestApp) -> String {
    let answer = app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    answer.header("graft-version").to_owned()
}

/// A server that looks at its repository once an hour, unless told.
fn unwatched() -> Setup {
    Setup::new()
        .with(Tiny::Colours, "colours")
        .with(Tiny::Thousand, "other")
        .configured(|config| config.models.scan_interval = std::time::Duration::from_secs(3600))
}

#[tokio::test]
async fn a_chosen_version_answers_at_once_and_rolling_back_is_the_same() {
    let app = unwatched().spawn().await;
    assert_eq!(answering(&app).await, "2");
    for version in ["1", "2", "1"] {
        let model = choose(&app, "colours", &format!("{{\"version\":{version}}}")).await.ok().json();
        assert_eq!(model["stable"].to_string(), version);
        assert_eq!(answering(&app).await, version);
    }
    choose(&app, "colours", "{\"version\":9}").await.problem(404, "unknown_version", "it has 1, 2");
    choose(&app, "colour", "{\"version\":1}").await.problem(404, "unknown_model", "did you mean `colours`?");
    choose(&app, "colours", "{\"version\":0}").await.problem(404, "unknown_version", "no version 0");
    choose(&app, "colours", "{\"version\":\"1\"}").await.problem(400, "malformed_body", "cannot read the JSON body");
    choose(&app, "colours", "{\"stable\":1}").await.problem(400, "malformed_body", "unknown field `stable`");
    assert_eq!(answering(&app).await, "1");
}

#[tokio::test]
async fn a_version_that_goes_while_it_is_read_is_unknown() {
    let app = unwatched().spawn().await;
    app.send(app.post_image("/predict?model=colours&version=1", plain([0; 3]))).await.ok();
    // Another process deletes it, after it was planned with and before its files are read.
    std::fs::remove_dir_all(app.repository.root().join("colours/1")).expect("it is there");
    // What is loaded has its files open, and builds further sessions from them.
    app.send(app.post_image("/features?model=colours&version=1&layer=relu", plain([0; 3]))).await.ok();
    std::fs::remove_dir_all(app.repository.root().join("other/1")).expect("it is there");
    app.send(app.post_image("/features?model=other", plain([0; 3]))).await.problem(404, "unknown_model", "unknown model `other`");
}

#[tokio::test]
async fn a_choice_is_pinned_until_it_is_taken_back() {
    let app = unwatched().spawn().await;
    let stands = async || {
        let model = app.get("/models/colours").await.ok().json();
        (model["stable"].as_u64(), model["pinned"].as_bool())
    };
    assert_eq!(stands().await, (Some(2), Some(false)));
    let chosen = choose(&app, "colours", "{\"version\":2}").await.ok().json();
    assert_eq!((&chosen["stable"], &chosen["pinned"]), (&json!(2), &json!(true)));
    publish(&app.repository, Tiny::Colours, "colours");
    assert_eq!(choose(&app, "colours", "{\"version\":1}").await.ok().json()["stable"], 1);
    assert_eq!(stands().await, (Some(1), Some(true)));
    let unset = app.send(app.ask(Method::DELETE, "/models/colours/stable")).await.ok().json();
    assert_eq!((&unset["stable"], &unset["pinned"]), (&json!(3), &json!(false)), "the newest answers again");
    assert_eq!(answering(&app).await, "3");
    app.send(app.ask(Method::DELETE, "/models/colours/stable")).await.ok();
    let unknown = app.send(app.ask(Method::DELETE, "/models/colour/stable")).await;
    unknown.problem(404, "unknown_model", "did you mean `colours`?");
}

#[tokio::test]
async fn a_number_is_not_given_again() {
    let app = unwatched().spawn().await;
    assert_eq!(delete(&app, "colours", "2").await.status, 204);
    publish(&app.repository, Tiny::Colours, "colours");
    choose(&app, "colours", "{\"version\":2}").await.problem(404, "unknown_version", "it has 1, 3");
    assert_eq!(delete(&app, "other", "1").await.status, 204);
    publish(&app.repository, Tiny::Thousand, "other");
    choose(&app, "other", "{\"version\":1}").await.problem(404, "unknown_version", "it has 2");
}

#[tokio::test]
async fn a_deleted_version_is_gone_at_once() {
    let app = unwatched().spawn().await;
    choose(&app, "colours", "{\"version\":1}").await.ok();
    delete(&app, "colours", "1").await.problem(409, "version_in_use", "version 1 answers for `colours`, and this one was chosen");
    choose(&app, "colours", "{\"version\":2}").await.ok();
    assert_eq!(delete(&app, "colours", "1").await.status, 204);
    assert_eq!(answering(&app).await, "2");
    delete(&app, "colours", "1").await.problem(404, "unknown_version", "it has 2");
    app.get("/models/colours/versions/1/onnx").await.problem(404, "unknown_version", "it has 2");
    let kept = delete(&app, "colours", "2").await;
    kept.problem(409, "version_in_use", "all that the default model `colours` has");
    assert_eq!(delete(&app, "other", "1").await.status, 204);
    app.get("/models/other").await.problem(404, "unknown_model", "other");
    delete(&app, "colours", "x").await.problem(422, "invalid_parameter", "`version` is `x`");
}

#[tokio::test]
async fn a_version_that_a_job_starts_from_stays() {
    let setup = Setup::empty().with(Tiny::Colours, "colours").with(Tiny::Colours, "colours");
    let (app, jobs) = setup.with_jobs(Plans::default()).await;
    let job = app.send(finetune(&app, "", &json!({"name": "a"}))).await.json();
    let id = job["id"].as_str().expect("a job has an id");
    delete(&app, "colours", "1").await.problem(409, "version_in_use", &format!("job `{id}` uses version 1"));
    jobs.cancel(id).await.expect("it waits");
    assert_eq!(delete(&app, "colours", "1").await.status, 204);
}

#[tokio::test]
async fn a_downloaded_version_is_one_file_with_the_same_answer() {
    let app = unwatched().spawn().await;
    for (model, version) in [("colours", 2), ("other", 1)] {
        let answer = app.get(&format!("/models/{model}/versions/{version}/onnx")).await.ok();
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{model}-{version}.onnx\""));
        assert_eq!(answer.header("graft-version"), version.to_string());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("model.onnx");
        std::fs::write(&file, &answer.body).expect("a file");
        let metadata = app.get(&format!("/models/{model}")).await.ok().json();
        let labels = folder.path().join("labels.txt");
        let names = metadata["versions"].as_array().expect("versions").last().expect("one")["labels"].clone();
        let names: Vec<&str> =
            names.as_array().expect("labels").iter().map(|label| label["label"].as_str().expect("text")).collect();
        std::fs::write(&labels, names.join("\n")).expect("a file");
        assert!(read_labels(&labels).is_ok());
        let settings =
            OnnxSettings { labels: Some(labels), mean: Some([0.0; 3]), scale: Some([1.0; 3]), ..OnnxSettings::default() };
        // Alone in its folder, it holds all of its weights.
        let copy = import_onnx(&app.repository, &runtime(), &format!("{model}-copy"), &file, &settings);
        assert_eq!(copy.expect("it is a model").metadata.labels.len(), names.len());
    }
    let head = app.send(app.ask(Method::HEAD, "/models/colours/versions/1/onnx")).await.ok();
    assert!(head.body.is_empty() && head.header("content-length").parse::<u64>().is_ok_and(|length| length > 0));
}

#[tokio::test]
async fn two_deletions_at_once_leave_the_default_model_a_version() {
    let app = unwatched().spawn().await;
    let (first, second) = tokio::join!(delete(&app, "colours", "1"), delete(&app, "colours", "2"));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    assert_eq!(app.get("/models/colours").await.ok().json()["versions"].as_array().map(Vec::len), Some(1));
}
