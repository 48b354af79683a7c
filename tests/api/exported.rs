//! The way out and back: a version that is downloaded and imported again is the same, to the last bit.

use std::fs;

use graft::registry::{Metadata, OnnxSettings, WeightsOrigin, import_onnx};
use serde_json::{Value, json};

use crate::{
    outputs::{import, settings},
    support::{Ran, Setup, TestApp, Tiny, fixture, png, runtime},
};

/// What must survive: everything but names, numbers, times and where the bytes lie.
fn kept(metadata: &Metadata) -> Metadata {
    let weights = WeightsOrigin { source: String::new(), sha256: String::new(), bytes: 0 };
    Metadata { name: String::new(), version: 0, created: String::new(), weights, assumptions: Vec::new(), ..metadata.clone() }
}

async fn predictions(app: &TestApp, model: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for image in [fixture("models/outputs.png"), fixture("espresso.jpg"), png(40, 30, |x, y| [x as u8 * 6, y as u8 * 8, 7])] {
        for route in ["predict", "features"] {
            let answer = app.send(app.post_image(&format!("/models/{model}/{route}"), image.clone())).await;
            found.push(answer.json().get("predictions").or(answer.json().get("features")).cloned().unwrap_or_default());
        }
    }
    found
}

/// Downloads version 1 of `model` and imports it as `copy`, with no setting at all.
async fn copy(app: &TestApp, model: &str) -> Metadata {
    let answer = app.get(&format!("/models/{model}/versions/1/onnx")).await.ok();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.onnx");
    fs::write(&file, &answer.body).expect("a file");
    let copy = import_onnx(&app.repository, &runtime(), &format!("{model}-copy"), &file, &OnnxSettings::default());
    let metadata = copy.unwrap_or_else(|error| panic!("{model}: {error}")).metadata;
    assert!(metadata.assumptions.is_empty(), "{model}: {:?}", metadata.assumptions);
    Metadata::clone(&metadata)
}

#[tokio::test]
async fn an_exported_version_comes_back_as_it_was() {
    let setup = Setup::empty()
        .with(Tiny::Colours, "colours")
        .with(Tiny::Pair, "pair")
        .with(Tiny::Topless, "topless")
        .with(Tiny::Untrained, "untrained")
        .with(Tiny::FullyConnected, "connected");
    for name in ["sigmoid_binary", "out_log_softmax", "out_u8s8_uint8_output", "out_one_logit"] {
        import(setup.repository(), name, &settings()).expect("a classifier");
    }
    let app = setup.spawn().await;
    let snapshot = app.repository.scan().expect("readable");
    for model in &snapshot.models {
        let original = model.version(1).expect("published");
        let copied = copy(&app, &model.name).await;
        assert_eq!(kept(&copied), kept(&original.metadata), "{}", model.name);
        let found = predictions(&app, &model.name).await;
        crate::support::eventually("the copy is served", async || {
            app.get(&format!("/models/{}-copy", model.name)).await.status == 200
        })
        .await;
        assert_eq!(predictions(&app, &format!("{}-copy", model.name)).await, found, "{}", model.name);
    }
}

/// Lineage, WordNet ids and flags that win; evaluation of the copy as of the original.
#[tokio::test]
async fn lineage_and_labels_come_back_and_flags_win() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let path = setup.repository().root().join("colours/1/metadata.json");
    let mut metadata: Value = serde_json::from_slice(&fs::read(&path).expect("published")).expect("JSON");
    let text = "x".repeat(64);
    metadata["lineage"] = json!({
        "job": "j", "base": "b@1", "base_sha256": text, "dataset": text, "recipe": {"seed": 1}, "metrics": {"accuracy": 0.5}
    });
    metadata["labels"][0]["wnid"] = json!("n01440764");
    fs::write(&path, metadata.to_string()).expect("writable");
    let app = setup.spawn().await;
    let copied = copy(&app, "colours").await;
    assert_eq!(copied.lineage.as_ref().map(|lineage| lineage.base.as_str()), Some("b@1"));
    assert_eq!(copied.labels[0].wnid.as_deref(), Some("n01440764"));

    let photos = tempfile::tempdir().expect("a folder");
    for (class, colour) in [("red", [200, 0, 0]), ("green", [0, 200, 0]), ("blue", [90, 0, 80])] {
        fs::create_dir(photos.path().join(class)).expect("a folder");
        fs::write(photos.path().join(class).join("a.png"), png(9, 9, |_, _| colour)).expect("a file");
    }
    let folder = photos.path().display().to_string();
    let report = |model: &str| {
        let ran = Ran::graft(app.repository.root(), &["evaluate", model, &folder, "--json"]);
        serde_json::from_str::<Value>(ran.ok()).expect("JSON")["report"].clone()
    };
    assert_eq!(report("colours"), report("colours-copy"));

    let answer = app.get("/models/colours/versions/1/onnx").await.ok();
    let file = photos.path().join("model.onnx");
    fs::write(&file, &answer.body).expect("a file");
    let flags = OnnxSettings { mean: Some([1.0; 3]), ..OnnxSettings::default() };
    let changed = import_onnx(&app.repository, &runtime(), "changed", &file, &flags).expect("a classifier").metadata;
    assert_eq!((changed.preprocessing.mean, changed.preprocessing.scale), ([1.0; 3], [1.0; 3]));
    assert_eq!(changed.labels, copied.labels);
}
