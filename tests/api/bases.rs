//! Imported classifiers of every kind as bases of a job: what is accepted trains, is exported, and is served, here and elsewhere.

use std::path::PathBuf;

use graft::{
    preprocess::{Mode, Resize},
    registry::{OnnxSettings, import_onnx},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use crate::{
    finetune::{SHAPES, draw, drawings, ended, submit, upload},
    support::{Setup, TestApp, runtime},
};

/// A server with `file`, a classifier below `tests/fixtures`, as `base`, and a data set.
async fn with_base(file: &str) -> (TestApp, String) {
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
    (app, dataset)
}

/// Trains `phases` into the model `name`, and asks what comes out; the job's recipe.
async fn train(app: &TestApp, dataset: &str, name: &str, phases: &Value) -> Value {
    let accepted = submit(app, &json!({"dataset": dataset, "base": "base", "name": name, "phases": phases})).await;
    assert_eq!(accepted.status, 202, "{name}: {}", accepted.text());
    let job = ended(app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{name}: {job}");
    let photo = draw("circle", &mut ChaCha8Rng::seed_from_u64(2));
    let answer = app.send(app.post_image(&format!("/predict?model={name}"), photo)).await.ok().json();
    assert_eq!(answer["predictions"][0]["top_k"].as_array().map(Vec::len), Some(SHAPES.len()), "{name}: {answer}");
    let exported = tempfile::NamedTempFile::new().expect("a file");
    let onnx = app.get(&format!("/models/{name}/versions/1/onnx")).await.ok().body;
    std::fs::write(exported.path(), &onnx).expect("it can be written");
    let copy = import_onnx(&app.repository, &runtime(), &format!("{name}_copy"), exported.path(), &OnnxSettings::default());
    let copy = copy.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(copy.metadata.labels.iter().map(|label| label.label.as_str()).eq(SHAPES), "{name}");
    job["recipe"].clone()
}

fn head() -> Value {
    json!({"trainable": "head", "epochs": 1, "optimizer": {"type": "rmsprop"}})
}

fn from(start: u64) -> Value {
    json!({"trainable_from": start, "epochs": 1, "optimizer": {"type": "sgd", "learning_rate": 0.01, "momentum": 0.9}})
}

/// Trains a head on `file`, and then from the first layer that can train, whose weights must be `expected`; none when the plan
/// must refuse every layer.
async fn check(file: &str, expected: &[&str]) {
    let (app, dataset) = with_base(file).await;
    train(&app, &dataset, "head_alone", &json!([head()])).await;
    let mut start = 0;
    loop {
        let phases = json!([head(), from(start)]);
        let body = json!({"dataset": dataset, "base": "base", "name": "n", "phases": phases});
        let planned = app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", body.to_string())).await;
        if planned.status == 422 {
            let detail = planned.json()["problems"][0]["detail"].as_str().expect("what is wrong").to_owned();
            let named = detail.rsplit_once("egin at `").or(detail.rsplit_once("start at `"));
            let next = named.and_then(|(_, layer)| layer.split(['(', ')']).nth(1)?.parse::<u64>().ok());
            let Some(next) = next.filter(|next| *next > start) else {
                assert!(detail.contains("use `\"trainable\": \"head\"`"), "{file} from {start}: {detail}");
                assert_eq!(expected, [""; 0], "{file} from {start}: {detail}");
                return;
            };
            start = next;
            continue;
        }
        let recipe = train(&app, &dataset, "inside", &phases).await;
        let weights = recipe["phases"][1]["parameters"].as_array().expect("a list");
        let names: Vec<&str> = weights.iter().filter_map(|weight| weight["name"].as_str()).collect();
        assert_eq!(names, expected, "{file} from {start}");
        return;
    }
}

#[tokio::test]
async fn a_float16_base_trains_in_float32() {
    check("models/fp16_inside.onnx", &["w0/float32", "b0/float32"]).await;
    check("models/half_convolutions.onnx", &["kernel0/float32", "kernel1/float32", "kernel2/float32"]).await;
    check("inputs/colours_float16.onnx", &["w"]).await;
}

#[tokio::test]
async fn bases_of_float64_and_bfloat16_train_in_float32() {
    check("models/out_float64.onnx", &["kernel"]).await;
    check("models/double_dense.onnx", &["kernel", "hidden/float32"]).await;
    check("models/bfloat16_weights.onnx", &["kernel/float32"]).await;
    check("inputs/colours_float64.onnx", &["w"]).await;
}

#[tokio::test]
async fn an_int8_base_trains_in_float32() {
    check("models/int8_qdq.onnx", &["w0_DequantizeLinear_Output/float32", "b0/float32"]).await;
    for file in ["models/out_qdq_u8s8_softmax.onnx", "models/out_qdq_s8s8_logits.onnx"] {
        check(file, &["kernel_DequantizeLinear_Output/float32"]).await;
    }
}

#[tokio::test]
async fn a_base_that_computes_in_integers_keeps_them() {
    for file in ["models/out_u8s8_softmax.onnx", "models/out_dynamic_int8.onnx"] {
        check(file, &[]).await;
    }
}

#[tokio::test]
async fn bases_of_other_inputs_are_fed_as_they_are_served() {
    for file in ["inputs/uint8_nhwc.onnx", "inputs/nhwc_normalize_then_transpose.onnx"] {
        check(file, &["w0", "b0"]).await;
    }
    check("inputs/grey_nchw.onnx", &["w"]).await;
}

#[tokio::test]
async fn bases_of_every_output_lose_their_own_top() {
    for file in [
        "models/logits.onnx",
        "models/softmax_cast.onnx",
        "models/softmax_squeeze.onnx",
        "models/sigmoid_binary.onnx",
        "models/two_outputs.onnx",
    ] {
        check(file, &["w0", "b0"]).await;
    }
}
