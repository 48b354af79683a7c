//! Jobs of other kinds than fine-tuning: a version measured on a data set, a file imported.

use graft::config::Config;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::{
    finetune::{SHAPES, drawings, ended, submit, upload},
    support::{Answer, Setup, TestApp, Tiny, encoded_fixture, plain},
};

async fn post(app: &TestApp, route: &str, body: &Value) -> Answer {
    app.send(app.post_typed(route, "application/json", body.to_string())).await
}

async fn trained(app: &TestApp, dataset: &str) {
    let phases = json!([{"trainable_from": "conv2d", "epochs": 6, "optimizer": {"type": "adam", "learning_rate": 0.002}}]);
    let head = json!({"pool": "flatten", "hidden": [64]});
    let recipe = json!({"dataset": dataset, "base": "seeded", "name": "shapes", "head": head, "phases": phases});
    let accepted = submit(app, &recipe).await;
    let job = ended(app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
}

#[tokio::test]
async fn a_version_is_measured_on_a_data_set() {
    let app = Setup::empty().with(Tiny::Convolutions, "seeded").start().await;
    let dataset = upload(&app, drawings(20, 1)).await;
    trained(&app, &dataset).await;
    let fresh = upload(&app, drawings(10, 7)).await;
    let plan = post(&app, "/jobs/evaluate?dry_run=true", &json!({"model": "shapes", "dataset": fresh})).await.ok().json();
    assert_eq!(
        (&plan["kind"], &plan["model"], &plan["version"], &plan["images"]),
        (&json!("evaluate"), &json!("shapes"), &json!(1), &json!(30))
    );
    let accepted = post(&app, "/jobs/evaluate", &json!({"model": "shapes@1", "dataset": fresh})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!((&job["state"], &job["kind"], &job["history"]), (&json!("succeeded"), &json!("evaluate"), &json!([])), "{job}");
    let (result, report) = (&job["result"], &job["result"]["report"]);
    assert_eq!(
        (&result["model"], &result["version"], &result["split"], &report["images"]),
        (&json!("shapes"), &json!(1), &Value::Null, &json!(30))
    );
    assert_eq!(report["confusion"].as_array().map(Vec::len), Some(SHAPES.len()));
    assert!(report["accuracy"].as_f64().is_some_and(|accuracy| accuracy > 0.4), "{report}");
    // On what it was trained on, it says so.
    let own = post(&app, "/jobs/evaluate?dry_run=true", &json!({"model": "shapes", "dataset": dataset})).await.ok().json();
    assert_eq!(own["warnings"], json!(["dataset: the model was trained on 48 of the images"]));
    let listed = app.get("/jobs").await.ok().json();
    assert_eq!((&listed["jobs"][0]["kind"], &listed["jobs"][1]["kind"]), (&json!("evaluate"), &json!("finetune")));
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_every_reason() {
    let app = Setup::empty().with(Tiny::Colours, "colours").start().await;
    let dataset = upload(&app, drawings(2, 1)).await;
    let refused = async |body: Value| {
        let answer = post(&app, "/jobs/evaluate", &body).await.problem(422, "invalid_recipe", "`problems` names each");
        let problems = answer["problems"].as_array().expect("a list").iter();
        problems
            .map(|problem| format!("{} {}", problem["field"].as_str().unwrap_or("?"), problem["detail"].as_str().unwrap_or("?")))
            .collect::<Vec<_>>()
    };
    let both = refused(json!({})).await;
    assert!(both.len() == 2 && both[0].starts_with("model is missing") && both[1].starts_with("dataset is missing"), "{both:?}");
    let other = refused(json!({"model": "colours", "dataset": dataset})).await;
    assert!(other[0].starts_with("dataset has classes that `colours` does not have: `circle` names no class"), "{other:?}");
    let split = refused(json!({"model": "colours", "dataset": dataset, "split": "dev"})).await;
    assert_eq!(split, ["split is `dev`; use `train`, `val`, `test` or `all`"]);
    let unknown = refused(json!({"model": "colors", "dataset": dataset})).await;
    assert_eq!(unknown, ["model unknown model `colors`; did you mean `colours`?"]);
    assert_eq!(refused(json!(["colours", dataset])).await, [" is not a JSON object"]);
    let field = refused(json!({"modle": "colours"})).await;
    assert!(field[0].contains("unknown field `modle`"), "{field:?}");
}

fn importing(config: &mut Config) {
    config.models.max_import_bytes = 1 << 20;
}

fn onnx() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/softmax_cast.onnx")).expect("a fixture")
}

#[tokio::test]
async fn no_file_is_imported_unless_the_configuration_says_so() {
    let app = Setup::empty().with(Tiny::Colours, "colours").start().await;
    let answer = app.send(app.post_image("/jobs/import?name=flowers", onnx())).await;
    answer.problem(403, "disabled", "is off; set `models.max_import_bytes` to the size of the largest file that it may take");
}

#[tokio::test]
async fn an_onnx_file_is_imported_and_served() {
    let app = Setup::empty().with(Tiny::Colours, "colours").configured(importing).start().await;
    let accepted = app.send(app.post_image("/jobs/import?name=flowers&settings={\"mode\":\"none\"}", onnx())).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(
        (&job["state"], &job["result"]["version"], &job["result"]["served"]),
        (&json!("succeeded"), &json!(1), &json!(true)),
        "{job}"
    );
    assert_eq!(job["settings"]["mode"], "none", "{job}");
    let labels: Vec<String> =
        (0..job["result"]["classes"].as_u64().expect("a number")).map(|class| format!("flower {class}")).collect();
    let answer = app.send(app.post_image("/predict?model=flowers", plain([9; 3]))).await.ok();
    assert_eq!(answer.header("graft-version"), "1");

    // A form with labels; the name exists, and so the version is registered alone.
    let form = || {
        let file = Part::bytes(onnx()).file_name("flowers.onnx");
        Form::new().text("name", "flowers").text("labels", json!(labels).to_string()).part("file", file)
    };
    let accepted = app.send(app.ask(reqwest::Method::POST, "/jobs/import").multipart(form())).await;
    assert!(accepted.json()["warnings"].to_string().contains("its version 1 goes on answering"), "{}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(
        (&job["result"]["version"], &job["result"]["served"], &job["file"]),
        (&json!(2), &json!(false), &json!("flowers.onnx")),
        "{job}"
    );
    let answer = app.send(app.post_image("/predict?model=flowers", plain([9; 3]))).await.ok();
    assert_eq!(answer.header("graft-version"), "1");
    let answer = app.send(app.post_image("/predict?model=flowers&version=2", plain([9; 3]))).await.ok().json();
    let label = answer["predictions"][0]["top_k"][0]["label"].as_str().expect("a label");
    assert!(label.starts_with("flower "), "{answer}");
    let accepted = app.send(app.ask(reqwest::Method::POST, "/jobs/import").multipart(form().text("replace", "true"))).await;
    assert_eq!(ended(&app, accepted.header("location")).await["result"]["served"], true);
    let answer = app.send(app.post_image("/predict?model=flowers", plain([9; 3]))).await.ok();
    assert_eq!(answer.header("graft-version"), "3");
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_or_fails_with_the_reason() {
    let app = Setup::empty().with(Tiny::Colours, "colours").configured(importing).start().await;
    let send = async |query: &str, bytes: Vec<u8>| app.send(app.post_image(&format!("/jobs/import{query}"), bytes)).await;
    let problems = |answer: Answer| answer.problem(422, "invalid_recipe", "`problems` names each")["problems"].to_string();
    assert!(problems(send("", onnx()).await).contains("is missing; it is required"));
    assert!(problems(send("?name=vgg16", onnx()).await).contains("kept for weights of vgg16"));
    assert!(problems(send("?name=a&architecture=alexnet", onnx()).await).contains("it may be `vgg16`"));
    assert!(problems(send("?name=a&settings={\"mod\":1}", onnx()).await).contains("unknown field `mod`"));
    assert!(problems(send("?name=a&settings=[]", onnx()).await).contains("is an array"));
    assert!(problems(send("?name=a&settings={\"mean\":1e39}", onnx()).await).contains("too large for float32"));
    assert!(
        problems(send("?name=a&settings={\"labels\":\"/etc/passwd\"}", onnx()).await).contains("send the labels as `labels`")
    );
    assert!(problems(send("?name=a", b"\x89HDF\r\n\x1a\n and more".to_vec()).await).contains("the file holds weights"));
    send("?nam=a", onnx()).await.problem(422, "invalid_parameter", "did you mean `name`?");
    send("?name=a", vec![0; (1 << 20) + 1]).await.problem(
        413,
        "body_too_large",
        "larger than 1048576 bytes (`models.max_import_bytes`)",
    );
    let accepted = send("?name=a", encoded_fixture("cmyk.jpg")).await;
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("import")), "{job}");
    app.get("/models/a").await.problem(404, "unknown_model", "a");
    // What a client reads names its file, and no folder of the server.
    let failed = async |query: &str, name: &str, bytes: Vec<u8>| {
        let form = Form::new().part("file", Part::bytes(bytes).file_name(name.to_owned()));
        let asked = app.ask(reqwest::Method::POST, &format!("/jobs/import{query}")).multipart(form);
        let accepted = app.send(asked).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let job = ended(&app, accepted.header("location")).await;
        let detail = job["error"]["detail"].as_str().unwrap_or_else(|| panic!("it failed: {job}")).to_owned();
        assert!(!detail.contains("imports") && !detail.contains("data.dir"), "{detail}");
        detail
    };
    let cut = b"\x89HDF\r\n\x1a\n and more".to_vec();
    let detail = failed("?name=a&architecture=vgg16", "mine.h5", cut).await;
    assert!(detail.starts_with("cannot read weights from mine.h5"), "{detail}");
    let detail = failed("?name=a&labels=[\"a\",\"b\"]", "mine.onnx", onnx()).await;
    assert!(detail.contains("the list holds 2 labels, but the graph has"), "{detail}");
    let both = send("?name=a&architecture=vgg16&labels=[\"a\"]", onnx()).await;
    assert!(problems(both).contains("is for ONNX classifiers"));
}

#[tokio::test]
async fn a_key_is_of_one_kind_of_job() {
    let app = Setup::empty().with(Tiny::Colours, "colours").configured(|config| config.jobs.workers = 0).start().await;
    let dataset = upload(&app, drawings(4, 1)).await;
    let body = json!({"dataset": dataset, "name": "shapes", "phases": [{"trainable": "head"}]});
    let send = async |route: &str| {
        let request = app.ask(reqwest::Method::POST, route).header("Content-Type", "application/json");
        app.send(request.header("Idempotency-Key", "k").body(body.to_string())).await
    };
    assert_eq!(send("/jobs/finetune").await.status, 202);
    send("/jobs/evaluate").await.problem(422, "idempotency_key_reused", "use a new key");
    assert_eq!(send("/jobs/finetune").await.status, 202);
}

#[tokio::test]
async fn a_cancelled_import_leaves_room_for_the_next_at_once() {
    // Nobody runs jobs here.
    let app = Setup::empty().with(Tiny::Colours, "colours");
    let app = app.configured(|config| (importing(config), config.jobs.workers = 0).1).start().await;
    for _ in 0..6 {
        let accepted = app.send(app.post_image("/jobs/import?name=flowers", onnx())).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let cancel = format!("{}/cancel", accepted.header("location"));
        assert_eq!(app.send(app.ask(reqwest::Method::POST, &cancel)).await.ok().json()["state"], "cancelled");
    }
}
