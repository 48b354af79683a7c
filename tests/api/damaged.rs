//! Model files that are not what was published: named, not served, not replaced in silence, and never a crash.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Ran, Setup, TestApp, Tiny, eventually, plain};

/// Changes a byte of `file` in place; its size and its time of modification stay.
fn flip(file: &Path) {
    let before = fs::metadata(file).and_then(|metadata| metadata.modified()).expect("a file");
    let file = OpenOptions::new().read(true).write(true).open(file).expect("writable");
    let at = file.metadata().expect("a file").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
    file.set_modified(before).expect("its time can be set");
}

async fn reason(app: &TestApp, path: &str) -> String {
    let problems = app.get("/models").await.ok().json()["problems"].clone();
    let problem = problems.as_array().expect("a list").iter().find(|problem| problem["path"] == path);
    problem.and_then(|problem| problem["reason"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_changed_byte_is_found_when_a_model_loads() {
    for file in ["weights.bin", "graph.onnx"] {
        let setup = Setup::new().with(Tiny::Thousand, "many").with(Tiny::Thousand, "many");
        let root = setup.repository().root().to_owned();
        flip(&root.join("many/2").join(file));
        let app = setup.spawn().await;
        let asked = async |path: &str| app.send(app.post_image(path, plain([0; 3]))).await;
        for _ in 0..2 {
            // Version 1 is whole, and does not answer for it.
            let problem =
                asked("/models/many/predict").await.problem(404, "unknown_version", "version 2 of `many` cannot be used");
            let detail = problem["detail"].as_str().expect("text");
            assert!(detail.contains(&format!("`{file}` is damaged: its SHA-256 is ")), "{detail}");
        }
        asked("/models/many/predict?version=1").await.ok();
        asked("/predict").await.ok();
        if file == "weights.bin" {
            eventually("it is reported", async || reason(&app, "many/2").await.contains("`weights.bin` is damaged")).await;
        }
        app.get("/models/many/versions/2/onnx").await.problem(404, "unknown_version", "damaged");
        let doctor = Ran::graft(&root, &["doctor"]);
        assert_eq!(doctor.code, Some(1), "{doctor:?}");
        assert!(doctor.stdout.contains("FAIL  models: version 2 of `many` cannot be used"), "{doctor:?}");
        // The file from a backup: nothing need be restarted.
        flip(&root.join("many/2").join(file));
        asked("/models/many/predict").await.ok();
    }
}

#[tokio::test]
async fn metadata_carry_their_own_sum() {
    let setup = Setup::new().with(Tiny::Colours, "edited");
    let path = setup.repository().root().join("edited/1/metadata.json");
    let text = fs::read_to_string(&path).expect("published");
    let first = serde_json::from_str::<Value>(&text).expect("JSON")["labels"][0]["label"].clone();
    fs::write(&path, text.replacen(&first.to_string(), "\"other\"", 1)).expect("writable");
    let app = setup.spawn().await;
    eventually("it is reported", async || reason(&app, "edited/1").await.contains("`metadata.json` is damaged")).await;
    assert_eq!(first, json!("red"));
}

/// A page of a mapped file that is cut off is a signal that ends the process.
#[tokio::test]
async fn a_file_that_is_cut_off_while_it_is_served_is_no_crash() {
    let setup = Setup::empty().with(Tiny::Thousand, "many");
    let root = setup.repository().root().to_owned();
    let app = setup.spawn().await;
    let asked = async |path: &str| app.send(app.post_image(path, plain([0; 3]))).await;
    let before = asked("/predict?model=many").await.ok().json()["predictions"].clone();
    let weights = root.join("many/1/weights.bin");
    OpenOptions::new().write(true).open(&weights).and_then(|file| file.set_len(0)).expect("cut off");
    assert_eq!(asked("/predict?model=many").await.json()["predictions"], before, "what is loaded is graft's own");
    eventually("it is reported", async || reason(&app, "many/1").await.contains("it is loaded, and answers until")).await;
    // Looks at the repository twice.
    let chosen = app.ask(Method::PUT, "/models/many/stable").header("Content-Type", "application/json").body("{\"version\":1}");
    app.send(chosen).await.ok();
    assert_eq!(asked("/models/many/predict").await.ok().json()["predictions"], before, "nor does it leave its clients alone");
    assert_eq!(app.send(app.ask(Method::DELETE, "/models/many/versions/1")).await.status, 204);
    asked("/models/many/predict").await.problem(404, "unknown_model", "many");
}

#[tokio::test]
async fn a_file_that_is_copied_over_while_it_is_served_changes_no_answer() {
    let setup = Setup::empty().with(Tiny::Thousand, "many");
    let root = setup.repository().root().to_owned();
    let app = setup.spawn().await;
    let asked = async || app.send(app.post_image("/predict?model=many", plain([0; 3]))).await;
    let before = asked().await.ok().json()["predictions"].clone();
    let weights = root.join("many/1/weights.bin");
    let length = fs::metadata(&weights).expect("a file").len() as usize;
    OpenOptions::new().write(true).open(&weights).and_then(|file| file.write_all_at(&vec![7; length], 0)).expect("written");
    assert_eq!(asked().await.ok().json()["predictions"], before);
    let report = async || Ran::graft(&root, &["doctor"]).stdout;
    assert!(report().await.contains("version 1 of `many` cannot be used"), "{}", report().await);
}
