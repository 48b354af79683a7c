//! Imported classifiers of every kind as bases of a job: what is accepted trains, is exported, and is served, here and elsewhere.

use std::path::PathBuf;

use graft::{
    preprocess::{Mode, Resize},
    registry::{OnnxSettings, import_onnx},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::json;

use crate::{
    finetune::{SHAPES, draw, drawings, ended, submit, upload},
    support::{Setup, runtime},
};

/// Trains a head on `file`, a classifier below `tests/fixtures`, and asks the model that comes out.
async fn check(file: &str) {
    let setup = Setup::empty().configured(|config| config.models.preload = Some(Vec::new()));
    let settings = OnnxSettings {
        mode: Some(Mode::None),
        resize: Some(Resize::Nearest),
        output_tensor: file.contains("two_outputs").then(|| "logits".to_owned()),
        ..OnnxSettings::default()
    };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    import_onnx(setup.repository(), &runtime(), "base", &path, &settings).expect("a classifier");
    let app = setup.start().await;
    let dataset = upload(&app, drawings(6, 1)).await;
    let phases = json!([{"trainable": "head", "epochs": 1, "optimizer": {"type": "rmsprop"}}]);
    let accepted = submit(&app, &json!({"dataset": dataset, "base": "base", "name": "shapes", "phases": phases})).await;
    assert_eq!(accepted.status, 202, "{file}: {}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{file}: {job}");
    let photo = draw("circle", &mut ChaCha8Rng::seed_from_u64(2));
    let answer = app.send(app.post_image("/predict?model=shapes", photo)).await.ok().json();
    assert_eq!(answer["predictions"][0]["top_k"].as_array().map(Vec::len), Some(SHAPES.len()), "{file}: {answer}");
    let exported = tempfile::NamedTempFile::new().expect("a file");
    let onnx = app.get("/models/shapes/versions/1/onnx").await.ok().body;
    std::fs::write(exported.path(), &onnx).expect("it can be written");
    let copy = import_onnx(&app.repository, &runtime(), "copy", exported.path(), &OnnxSettings::default());
    let copy = copy.unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(copy.metadata.labels.iter().map(|label| label.label.as_str()).eq(SHAPES), "{file}");
}

#[tokio::test]
async fn a_float16_base_gets_a_float32_head() {
    for file in ["models/fp16_inside.onnx", "inputs/colours_float16.onnx", "models/out_float64.onnx"] {
        check(file).await;
    }
}

#[tokio::test]
async fn an_int8_base_trains_behind_its_frontier() {
    check("models/int8_qdq.onnx").await;
}

#[tokio::test]
async fn bases_of_other_inputs_are_fed_as_they_are_served() {
    for file in ["inputs/uint8_nhwc.onnx", "inputs/nhwc_normalize_then_transpose.onnx", "inputs/grey_nchw.onnx"] {
        check(file).await;
    }
}

#[tokio::test]
async fn bases_of_every_output_lose_their_own_top() {
    for file in
        ["models/softmax_cast.onnx", "models/softmax_squeeze.onnx", "models/sigmoid_binary.onnx", "models/two_outputs.onnx"]
    {
        check(file).await;
    }
}
