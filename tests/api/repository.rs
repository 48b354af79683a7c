//! The model repository while it is served: new versions, half-written ones, vanished ones, and which models stay loaded.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Setup, TestApp, Tiny, eventually, plain, publish};

async fn stable(app: &TestApp) -> Value {
    app.get("/models/colours").await.ok().json()["stable"].clone()
}

async fn answering(app: &TestApp) -> String {
    let answer = app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    answer.header("graft-version").to_owned()
}

#[tokio::test]
async fn a_version_published_while_serving_is_found_and_becomes_stable() {
    let app = TestApp::spawn().await;
    assert_eq!(answering(&app).await, "1");
    publish(&app.repository, Tiny::Pair, "colours");
    eventually("version 2 answers", async || answering(&app).await == "2").await;
    assert_eq!(stable(&app).await, 2);
    let old = app.send(app.post_image("/predict?version=1", plain([0; 3]))).await.ok();
    assert_eq!(old.header("graft-version"), "1");
    publish(&app.repository, Tiny::Colours, "fresh");
    eventually("a new model answers", async || app.get("/models/fresh").await.status == 200).await;
    app.send(app.post_image("/models/fresh/predict", plain([0; 3]))).await.ok();
}

#[tokio::test]
async fn a_chosen_version_stays_until_another_is_chosen() {
    let app = Setup::new().with(Tiny::Colours, "colours").spawn().await;
    assert_eq!(answering(&app).await, "2");
    app.repository.pin("colours", 1).expect("version 1 exists");
    eventually("version 1 answers", async || answering(&app).await == "1").await;
    publish(&app.repository, Tiny::Colours, "colours");
    eventually("version 3 is listed", async || {
        app.get("/models/colours").await.ok().json()["versions"].as_array().map(Vec::len) == Some(3)
    })
    .await;
    assert_eq!((answering(&app).await.as_str(), stable(&app).await), ("1", json!(1)));
    app.repository.remove("colours", 1).expect("version 1 exists");
    eventually("the newest answers", async || answering(&app).await == "3").await;
    let gone = app.send(app.post_image("/predict?version=1", plain([0; 3]))).await;
    gone.problem(404, "unknown_version", "it has 2, 3");
}

#[tokio::test]
async fn what_is_half_written_is_reported_and_not_served() {
    let app = TestApp::spawn().await;
    let root = app.repository.root().to_owned();
    fs::create_dir_all(root.join("colours/2")).expect("a folder");
    fs::copy(root.join("colours/1/graph.onnx"), root.join("colours/2/graph.onnx")).expect("a copy");
    fs::create_dir_all(root.join("colours/newest")).expect("a folder");
    fs::create_dir_all(root.join("hollow")).expect("a folder");
    // One that is new may be about to get its first version.
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    fs::File::open(root.join("hollow")).and_then(|folder| folder.set_modified(long_ago)).expect("its time can be set");
    fs::write(root.join("notes.txt"), "mine").expect("a file");
    publish(&app.repository, Tiny::Thousand, "cut");
    fs::write(root.join("cut/1/weights.bin"), "short").expect("a damaged file");
    let problems = async || app.get("/models").await.ok().json()["problems"].clone();
    eventually("every problem is found", async || problems().await.as_array().map(Vec::len) == Some(6)).await;
    let found = problems().await;
    for (path, reason) in [
        ("colours/2", "`metadata.json` is missing: not wholly published"),
        ("colours/newest", "not a version"),
        ("cut/1", "`weights.bin` has 5 bytes, not the 16"),
        ("cut", "holds no whole version"),
        ("hollow", "holds no whole version"),
        ("notes.txt", "not a folder; models are folders"),
    ] {
        let problem = found.as_array().expect("a list").iter().find(|problem| problem["path"] == path);
        let text = problem.and_then(|problem| problem["reason"].as_str()).unwrap_or_default();
        assert!(text.contains(reason), "{path}: `{reason}` is not in {found}");
    }
    assert_eq!((answering(&app).await.as_str(), stable(&app).await), ("1", json!(1)));
    app.get("/models/hollow").await.problem(404, "unknown_model", "unknown model `hollow`");
    app.get("/models/cut").await.problem(404, "unknown_model", "unknown model `cut`");
}

#[tokio::test]
async fn metadata_that_do_not_fit_the_graph_are_reported_and_not_served() {
    let setup = Setup::new();
    let edits = [
        ("tensor", "/output/tensor", json!("nothing"), "`output.tensor` is `nothing`, which the graph does not compute"),
        ("size", "/preprocessing/height", json!(16), "`preprocessing.height` makes that axis 16, but the graph takes"),
        ("order", "/preprocessing/channel_order", json!("grey"), "`preprocessing.channel_order` makes that axis 1"),
        ("layer", "/layers/0/tensor", json!("nothing"), "at the tensor `nothing`, which the graph does not compute"),
    ];
    for (name, field, value, _) in &edits {
        let path = publish(setup.repository(), Tiny::Colours, name).dir().join("metadata.json");
        let mut metadata: Value = serde_json::from_slice(&fs::read(&path).expect("published")).expect("JSON");
        *metadata.pointer_mut(field).expect("a field") = value.clone();
        fs::write(&path, metadata.to_string()).expect("writable");
    }
    let app = setup.spawn().await;
    let problems = app.get("/models").await.ok().json()["problems"].clone();
    for (name, .., expected) in edits {
        let path = format!("{name}/1");
        let problem = problems.as_array().expect("a list").iter().find(|problem| problem["path"] == path);
        let reason = problem.and_then(|problem| problem["reason"].as_str()).unwrap_or_default();
        assert!(reason.starts_with("`metadata.json` does not fit `graph.onnx`: ") && reason.contains(expected), "{problems}");
        let asked = app.send(app.post_image(&format!("/models/{name}/predict"), plain([0; 3]))).await;
        asked.problem(404, "unknown_model", name);
    }
}

#[tokio::test]
async fn the_least_recently_used_model_makes_room() {
    let mut setup = Setup::empty();
    for name in ["a", "b", "c"] {
        setup = setup.with(Tiny::Thousand, name);
    }
    // Each has a little over 16 000 bytes of weights: two fit, three do not.
    let app = setup.configured(|config| config.models.max_loaded_bytes = 40_000).spawn().await;
    let loaded = async || {
        let models = app.get("/models").await.ok().json()["models"].clone();
        let loaded = models.as_array().expect("a list").iter().filter(|model| model["versions"][0]["loaded"] == true);
        loaded.map(|model| model["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>().join("")
    };
    assert_eq!(loaded().await, "");
    for (asked, expected) in
        [("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc"), ("b", "bc"), ("c", "bc"), ("a", "ac")]
    {
        app.send(app.post_image(&format!("/predict?model={asked}"), plain([0; 3]))).await.ok();
        assert_eq!(loaded().await, expected, "after a request for {asked}");
    }
}

#[tokio::test]
async fn configured_models_stay_loaded() {
    let mut setup = Setup::empty();
    for name in ["a", "b", "pinned"] {
        setup = setup.with(Tiny::Thousand, name);
    }
    let setup = setup.configured(|config| {
        config.models.max_loaded_bytes = 40_000;
        config.models.preload = Some(vec!["pinned".to_owned()]);
    });
    let app = setup.spawn().await;
    for asked in ["a", "b", "a", "b"] {
        app.send(app.post_image(&format!("/predict?model={asked}"), plain([0; 3]))).await.ok();
        let pinned = app.get("/models/pinned").await.ok().json()["versions"][0]["loaded"].clone();
        assert_eq!(pinned, true, "after a request for {asked}");
    }
}
