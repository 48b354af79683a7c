//! Which model answers a request that names none, as the first minutes meet it: with trained default weights, and without.

use serde_json::{Value, json};

use crate::{
    finetune::{drawings, upload},
    support::{Ran, Setup, TestApp, Tiny, eventually, plain, publish},
};

/// The starter's name over a tiny trained model, and VGG16's over a tiny untrained one with `fc1` and `fc2`.
fn offline() -> Setup {
    Setup::empty()
        .with(Tiny::Thousand, "efficientnet_lite0")
        .with(Tiny::FullyConnected, "vgg16")
        .configured(|config| (config.models.default, config.models.preload) = ("vgg16".to_owned(), None))
}

async fn ask(app: &TestApp, path: &str) -> Value {
    app.send(app.post_image(path, plain([200, 30, 30]))).await.ok().json()
}

/// The plan of a job that names no base.
async fn dry_run(app: &TestApp, dataset: &str) -> Value {
    let recipe = json!({"dataset": dataset, "name": "shapes", "phases": [{"trainable": "head", "epochs": 1}]}).to_string();
    app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", recipe)).await.ok().json()
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["warnings"].as_array().expect("a list").iter().map(|warning| warning["code"].as_str().expect("a code")).collect()
}

#[tokio::test]
async fn without_trained_default_weights_the_starter_answers_and_says_so() {
    let app = offline().spawn().await;
    let answer = ask(&app, "/predict").await;
    assert_eq!(answer["model"], json!({"name": "efficientnet_lite0", "version": 1, "pretrained": true}));
    let detail =
        "no model is named and the default `vgg16` has untrained weights, so `efficientnet_lite0` is used (`models.default`)";
    assert_eq!(answer["warnings"], json!([{"code": "not_the_default", "detail": detail}]));
    let listed = app.get("/models").await.ok().json();
    let default = |name: &str| {
        let models = listed["models"].as_array().expect("a list");
        models.iter().find(|model| model["name"] == name).expect("it is listed")["default"].clone()
    };
    assert_eq!((default("efficientnet_lite0"), default("vgg16")), (json!(true), json!(false)));
}

#[tokio::test]
async fn a_layer_is_answered_by_the_model_that_has_it() {
    let app = offline().spawn().await;
    let answer = ask(&app, "/features?layer=fc2").await;
    assert_eq!(answer["model"]["name"], "vgg16");
    assert_eq!(codes(&answer), ["layer_elsewhere", "untrained"]);
    let untrained = "the weights of `vgg16` are untrained, so its answers mean nothing; `efficientnet_lite0` is trained, with \
                     other layers";
    assert_eq!(answer["warnings"][1]["detail"], untrained);
    let npy = app.send(app.post_image("/features?layer=fc2", plain([0; 3])).header("Accept", "application/x-npy")).await.ok();
    npy.is_from("vgg16", "1", "false");
    let warnings = npy.headers("graft-warning");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("layer_elsewhere; no model is named and `efficientnet_lite0` has no layer `fc2`"),
        "{warnings:?}"
    );
    // Named, the model is not looked for.
    let answer = app.send(app.post_image("/features?layer=fc2&model=efficientnet_lite0", plain([0; 3]))).await;
    answer.problem(422, "unknown_layer", "unknown layer `fc2` for efficientnet_lite0; `vgg16` has it (`model=vgg16`)");
    app.send(app.post_image("/features?layer=fc9", plain([0; 3]))).await.problem(422, "unknown_layer", "unknown layer `fc9`");
    let answer = ask(&app, "/predict?model=vgg16").await;
    assert_eq!(codes(&answer), ["untrained"]);
    let detail = answer["warnings"][0]["detail"].as_str().expect("text");
    assert!(detail.ends_with("`efficientnet_lite0` is trained (`model=efficientnet_lite0`)"), "{detail}");
}

#[tokio::test]
async fn trained_default_weights_take_over_when_they_come() {
    let app = offline().spawn().await;
    assert_eq!(ask(&app, "/predict").await["model"]["name"], "efficientnet_lite0");
    publish(&app.repository, Tiny::Thousand, "vgg16");
    eventually("the default answers", async || ask(&app, "/predict").await["model"]["name"] == "vgg16").await;
    let answer = ask(&app, "/predict").await;
    assert_eq!((&answer["warnings"], &answer["model"]["version"]), (&json!([]), &json!(2)));
    let features = ask(&app, "/features?layer=avg_pool").await;
    assert_eq!((&features["warnings"], &features["model"]["name"]), (&json!([]), &json!("vgg16")));
    let dataset = upload(&app, drawings(5, 1)).await;
    let plan = dry_run(&app, &dataset).await;
    assert_eq!(plan["base"], json!({"model": "vgg16", "version": 2}), "{plan}");
    assert!(!plan["warnings"].to_string().contains("no model is named"), "{plan}");
    eventually("it is loaded", async || app.get("/models/vgg16").await.json()["versions"][1]["loaded"] == true).await;
}

#[tokio::test]
async fn ready_is_when_any_model_can_answer() {
    let bare = |setup: Setup| setup.configured(|config| config.models.preload = None);
    let app = bare(Setup::empty()).start().await;
    app.get("/readyz").await.problem(503, "not_ready", "cannot answer yet");
    publish(&app.repository, Tiny::Untrained, "raw");
    eventually("an untrained model is better than none", async || app.get("/readyz").await.status == 200).await;
    assert_eq!(codes(&ask(&app, "/predict").await), ["not_the_default", "untrained"]);
}

#[tokio::test]
async fn a_default_that_cannot_be_loaded_gives_way() {
    let setup = offline().with(Tiny::Thousand, "vgg16");
    let graph = setup.config().models.dir.join("vgg16/2/graph.onnx");
    let bytes = std::fs::read(&graph).expect("it was published");
    std::fs::write(&graph, vec![b'x'; bytes.len()]).expect("it can be damaged");
    let app = setup.spawn().await;
    let answer = ask(&app, "/predict").await;
    assert_eq!(answer["model"]["name"], "efficientnet_lite0");
    assert_eq!(ask(&app, "/predict?version=1").await["model"], json!({"name": "vgg16", "version": 1, "pretrained": false}));
    let detail = answer["warnings"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("the default `vgg16` cannot answer this"), "{detail}");
    // Once it has been loaded after all, it answers again.
    let mended = graph.with_extension("mended");
    std::fs::write(&mended, bytes).and_then(|()| std::fs::rename(&mended, &graph)).expect("it can be mended");
    assert_eq!(ask(&app, "/predict?model=vgg16").await["model"]["version"], 2);
    assert_eq!(ask(&app, "/predict").await["model"]["name"], "vgg16");
}

#[tokio::test]
async fn a_job_without_a_base_starts_from_what_answers() {
    let app = offline().spawn().await;
    let dataset = upload(&app, drawings(5, 1)).await;
    let plan = dry_run(&app, &dataset).await;
    assert_eq!(plan["base"], json!({"model": "efficientnet_lite0", "version": 1}), "{plan}");
    let warning = plan["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("base: no model is named and the default `vgg16` has untrained weights"), "{plan}");
}

#[test]
fn the_doctor_follows_the_rule() {
    let setup = offline();
    let doctor = Ran::graft(&setup.config().models.dir, &["doctor"]);
    let said = doctor.ok();
    let note = "warn  models: no model is named and the default `vgg16` has untrained weights, so `efficientnet_lite0` is used";
    assert!(said.contains(note), "{said}");
    assert!(said.contains("ok    models: efficientnet_lite0 version 1"), "{said}");
    let setup = Setup::empty();
    let doctor = Ran::graft(&setup.config().models.dir, &["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.stdout.contains("FAIL  models: unknown model `vgg16`; the repository has no model yet"), "{doctor:?}");
}
