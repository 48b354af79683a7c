//! A data set with a test folder, from the upload to the job's end: what is in it is measured once and nothing else.

use serde_json::{Value, json};

use crate::{
    finetune::{ended, submit},
    support::{Setup, TestApp, Tiny},
};

async fn spawn() -> TestApp {
    Setup::empty().with(Tiny::Convolutions, "seeded").start().await
}

/// Sends an archive of `tests/fixtures/archives` as a browser's form does.
async fn send(app: &TestApp, name: &str) -> Value {
    let path = format!("{}/tests/fixtures/archives/{name}", env!("CARGO_MANIFEST_DIR"));
    let archive = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut form = format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n").into_bytes();
    form.extend(archive);
    form.extend(b"\r\n--x--\r\n");
    let answer = app.send(app.post_typed("/datasets", "multipart/form-data; boundary=x", form)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn recipe(dataset: &Value, name: &str) -> Value {
    let phases = json!([{"trainable": "head", "epochs": 2, "optimizer": {"type": "rmsprop"}}]);
    json!({"dataset": dataset["id"], "base": "seeded", "name": name, "head": {"pool": "flatten", "hidden": []}, "phases": phases})
}

#[tokio::test]
async fn a_test_split_is_measured_once_at_the_end() {
    let app = spawn().await;
    let dataset = send(&app, "training_testing.zip").await;
    let classes = ["ants", "bees"].map(|name| json!({"name": name, "train": 3, "val": 0, "test": 2}));
    assert_eq!(dataset["classes"], json!(classes));
    let accepted = submit(&app, &recipe(&dataset, "tested")).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let validation = &job["recipe"]["validation"];
    let counts = ["train", "val", "test"].map(|split| validation[split].as_u64());
    assert_eq!(counts, [Some(4), Some(2), Some(4)], "validation images are drawn from those to train on: {validation}");
    let result = &job["result"];
    assert_eq!((&result["report"]["images"], &result["test"]["images"]), (&json!(2), &json!(4)), "{result}");
    let paths = |report: &Value| {
        let worst = report["worst"].as_array().expect("a list").iter();
        worst.map(|worst| worst["path"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert!(paths(&result["test"]).iter().all(|path| path.starts_with("Testing/")), "{result}");
    assert!(paths(&result["report"]).iter().all(|path| path.starts_with("Training/")), "{result}");
    let model = app.get("/models/tested").await.ok().json();
    assert_eq!(model["versions"][0]["lineage"]["test"], result["test"]);
}

#[tokio::test]
async fn a_data_set_without_a_test_split_has_no_test_report() {
    let app = spawn().await;
    let dataset = send(&app, "training_validation.zip").await;
    let accepted = submit(&app, &recipe(&dataset, "untested")).await;
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!((&job["state"], &job["result"]["report"]["images"]), (&json!("succeeded"), &json!(4)), "{job}");
    assert!(job["result"].get("test").is_none(), "{job}");
}

#[tokio::test]
async fn what_is_to_be_known_of_a_data_set_is_told_wherever_it_is_used() {
    let app = spawn().await;
    let sent = send(&app, "dup_across_classes.zip").await;
    let warning = "`ants/d.jpg` and `bees/d.jpg` are the same photo in two classes; keep the right one";
    assert_eq!(sent["warnings"], json!([warning]));
    let path = format!("/datasets/{}", sent["id"].as_str().expect("it has an id"));
    assert_eq!(app.get(&path).await.ok().json()["warnings"], json!([warning]));
    let body = recipe(&sent, "planned").to_string();
    let planned = app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", body)).await.ok().json();
    let warnings = planned["warnings"].as_array().expect("a list");
    assert!(warnings.contains(&json!(format!("dataset: {warning}"))), "{planned}");
}
