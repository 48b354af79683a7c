//! Versions that an earlier graft published: what it guessed of their outputs is looked into again, and said.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    outputs::{import, numbers, scores, settings},
    support::{Close, Setup, fixture},
};

/// Makes `metadata.json` of a version what an earlier graft would have written: format 1, and its guess.
fn aged(version: &Path, kind: &str, labels: usize) -> Vec<u8> {
    let path = version.join("metadata.json");
    let mut metadata: Value = serde_json::from_slice(&fs::read(&path).expect("published")).expect("JSON");
    metadata["format"] = json!(1);
    let tensor = metadata["output"]["tensor"].clone();
    metadata["output"] = json!({"tensor": tensor, "kind": kind});
    metadata["labels"] = (0..labels).map(|index| json!({"label": format!("class_{index}")})).collect();
    metadata.as_object_mut().expect("an object").remove("assumptions");
    fs::write(&path, metadata.to_string()).expect("writable");
    fs::read(&path).expect("just written")
}

#[tokio::test]
async fn a_wrong_guess_of_an_earlier_graft_is_corrected_and_said() {
    // What is asked, the guess, its labels, and what it is.
    let models = [
        ("softmax_cast", "logits", 5, "probabilities", "graph", true),
        ("softmax_squeeze", "logits", 5, "probabilities", "graph", true),
        ("int8_qdq", "logits", 5, "probabilities", "graph", true),
        ("sigmoid_binary", "logits", 1, "binary", "graph", true),
        ("out_multi_label", "logits", 5, "independent", "graph", true),
        ("out_log_softmax", "logits", 5, "log_probabilities", "graph", true),
        ("out_unknown_operators", "logits", 5, "probabilities", "probe", true),
        ("logits", "logits", 5, "logits", "graph", false),
        ("out_softmax_of_opset_11", "probabilities", 5, "probabilities", "graph", false),
        // Only a user could have said so.
        ("out_sigmoid_written_out", "probabilities", 5, "probabilities", "given", false),
    ];
    let setup = Setup::empty();
    let mut written = Vec::new();
    for (name, kind, labels, ..) in models {
        let version = import(setup.repository(), name, &settings()).expect("a classifier");
        written.push((version.dir().join("metadata.json"), aged(version.dir(), kind, labels)));
    }
    let app = setup.configured(|config| config.models.default = "logits".to_owned()).spawn().await;
    let text = fs::read_to_string(crate::outputs::file("outputs").with_extension("json")).expect("a fixture");
    let expected: Value = serde_json::from_str(&text).expect("JSON");
    for (name, _, _, kind, found_by, corrected) in models {
        let right = numbers(&expected[name]["scores"]);
        Close::ROUNDING.check(name, &scores(&app, name, right.len()).await, &right);
        let version = app.get(&format!("/models/{name}")).await.ok().json()["versions"][0].clone();
        assert_eq!([&version["output"]["kind"], &version["output"]["found_by"]], [kind, found_by], "{name}");
        let said = version["correction"].as_str().unwrap_or_default();
        assert_eq!(said.contains(&format!("took its output for logits; it holds {kind}")), corrected, "{name}: {said}");
        let answer = app.send(app.post_image(&format!("/models/{name}/predict"), fixture("models/outputs.png"))).await.ok();
        let warned = answer.json()["warnings"].as_array().expect("a list").iter().any(|note| note["code"] == "corrected");
        assert_eq!(warned, corrected, "{name}");
    }
    for (path, before) in written {
        assert_eq!(fs::read(&path).expect("still there"), before, "a version never changes");
    }
}
