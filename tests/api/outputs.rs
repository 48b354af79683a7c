//! What an imported graph's output means: every form of it against ONNX Runtime's own numbers, and refusals by name.
//!
//! The models, and what each of them says of one image, are `tests/goldens/outputs.py`'s.

use std::{
    fs,
    path::{Path, PathBuf},
};

use graft::{
    graph::Graph,
    preprocess::{ChannelOrder, Fit, Mode, Preprocessing, Resize},
    registry::{Metadata, OnnxSettings, OutputKind, Repository, import_onnx},
};
use serde_json::{Value, json};

use crate::support::{Close, Ran, Setup, TestApp, fixture, plain, runtime};

/// A model of the fixtures.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/models/{name}.onnx"))
}

/// Values from 0 to 1, as the models take them.
pub fn settings() -> OnnxSettings {
    OnnxSettings {
        mode: Some(Mode::None),
        scale: Some([1.0 / 255.0; 3]),
        resize: Some(Resize::Nearest),
        ..OnnxSettings::default()
    }
}

/// Imports a model of the fixtures under a name of its own; the error with its causes if it is refused.
pub fn import(repository: &Repository, name: &str, settings: &OnnxSettings) -> Result<graft::registry::ModelVersion, String> {
    import_file(repository, name, &file(name), settings)
}

/// Imports `file` as `name`; the error with its causes if it is refused.
pub fn import_file(
    repository: &Repository,
    name: &str,
    file: &Path,
    settings: &OnnxSettings,
) -> Result<graft::registry::ModelVersion, String> {
    import_onnx(repository, &runtime(), name, file, settings).map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })
}

fn expected() -> serde_json::Map<String, Value> {
    let text = fs::read_to_string(file("outputs").with_extension("json")).expect("a fixture");
    serde_json::from_str(&text).expect("an object")
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|value| value.as_f64().expect("a number")).collect()
}

/// The scores that a model gives the image, by class, and the ranking as it came.
pub async fn scores(app: &TestApp, model: &str, classes: usize) -> Vec<f64> {
    let path = format!("/models/{model}/predict?top_k={classes}");
    let answer = app.send(app.post_image(&path, fixture("models/outputs.png"))).await.ok().json();
    let ranked = answer["predictions"][0]["top_k"].as_array().expect("classes").clone();
    let mut scores = vec![f64::NAN; classes];
    let mut last = f64::INFINITY;
    for class in ranked {
        let score = class["score"].as_f64().expect("a score");
        assert!(score <= last, "{model} ranks {answer}");
        last = score;
        scores[class["index"].as_u64().expect("an index") as usize] = score;
    }
    scores
}

/// Softmax, its logarithm, sigmoids and logits, plain, written out, through casts and reshapes, in float16, float64 and int8.
#[tokio::test]
async fn every_form_of_output_gives_onnx_runtimes_own_scores() {
    let setup = Setup::empty();
    let models: Vec<(String, Value)> = expected().into_iter().filter(|(_, says)| says.get("kind").is_some()).collect();
    for (name, _) in &models {
        import(setup.repository(), name, &settings()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let app = setup.configured(|config| config.models.default = "logits".to_owned()).spawn().await;
    for (name, says) in &models {
        let expected = numbers(&says["scores"]);
        let found = scores(&app, name, expected.len()).await;
        Close::ROUNDING.check(name, &found, &expected);
        let model = app.get(&format!("/models/{name}")).await.ok().json();
        let version = &model["versions"][0];
        assert_eq!([&version["output"]["kind"], &version["output"]["found_by"]], [&says["kind"], &says["found_by"]], "{name}");
        assert_eq!(version["classes"], expected.len(), "{name}");
    }
    assert!(models.len() >= 25);
}

#[test]
fn what_has_no_vector_of_classes_is_refused_by_name() {
    let setup = Setup::empty();
    let refused: Vec<(String, String)> =
        expected().into_iter().filter_map(|(name, says)| Some((name, says.get("refused")?.as_str()?.to_owned()))).collect();
    for (name, words) in &refused {
        let error = import(setup.repository(), name, &settings()).expect_err(name);
        assert!(error.contains(words), "{name}: {error}");
        assert!(error.contains("--output-tensor"), "{name} names no way out: {error}");
    }
    assert!(refused.len() >= 9);
    assert!(setup.repository().scan().expect("readable").models.is_empty(), "nothing half-made stays");
}

#[tokio::test]
async fn one_of_several_outputs_can_be_named() {
    let setup = Setup::empty();
    let with = |tensor: &str| OnnxSettings { output_tensor: Some(tensor.to_owned()), ..settings() };
    for (model, tensor, kind) in [
        ("two_outputs", "prob", OutputKind::Probabilities),
        ("two_outputs", "logits", OutputKind::Logits),
        ("out_label_and_scores", "p", OutputKind::Probabilities),
        ("out_zip_map", "logits", OutputKind::Logits),
        ("out_label", "logits", OutputKind::Logits),
        ("out_one_softmax", "logit", OutputKind::BinaryLogit),
    ] {
        let version = import(setup.repository(), model, &with(tensor)).unwrap_or_else(|error| panic!("{model}: {error}"));
        let output = version.metadata.output.clone().expect("it is a classifier");
        assert_eq!((output.tensor.as_str(), output.kind), (tensor, kind), "{model}");
    }
    let error = import(setup.repository(), "two_outputs", &with("probs")).expect_err("no such tensor");
    assert!(error.contains("the graph computes no `probs`; did you mean `prob`?"), "{error}");
    let error = import(setup.repository(), "out_label", &with("label")).expect_err("no scores");
    assert!(error.contains("`--output-tensor logits` takes that"), "{error}");
    let app = setup.configured(|config| config.models.default = "two_outputs".to_owned()).spawn().await;
    // Both outputs of that graph say the same, once a softmax is taken of one of them.
    let [first, second] = ["1", "2"].map(|version| format!("two_outputs/versions/{version}"));
    let (first, second) = (scores(&app, &first, 5).await, scores(&app, &second, 5).await);
    Close::ROUNDING.check("two_outputs", &first, &second);
    Close::SCORE.check("two_outputs", &first, &[0.99994, 9e-6, 5e-5, 0.0, 0.0]);
}

#[tokio::test]
async fn a_given_kind_counts_more_than_what_is_found() {
    let setup = Setup::empty();
    let given = |kind: &str| OnnxSettings { output_kind: Some(kind.parse().expect("a kind")), ..settings() };
    import(setup.repository(), "logits", &given("independent-logits")).expect("a sigmoid per class");
    import(setup.repository(), "sigmoid_binary", &given("binary")).expect("one number");
    let error = import(setup.repository(), "softmax_cast", &given("binary")).expect_err("five numbers");
    assert!(error.contains("`binary` is for a single number, but `out` has 5 an image"), "{error}");
    let app = setup.configured(|config| config.models.default = "logits".to_owned()).spawn().await;
    let raw = numbers(&expected()["logits"]["raw"]);
    let sigmoids: Vec<f64> = raw.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect();
    Close::ROUNDING.check("sigmoids", &scores(&app, "logits", 5).await, &sigmoids);
    let model = app.get("/models/logits").await.ok().json();
    assert_eq!(model["versions"][0]["output"], json!({"tensor": "logits", "kind": "independent_logits", "found_by": "given"}));
}

/// A graph that adds up the logits of its batch: alone among those before it, the first image gets its own.
#[tokio::test]
async fn no_image_changes_the_scores_of_another() {
    let setup = Setup::empty().configured(|config| config.models.default = "sums".to_owned());
    let sums = import(setup.repository(), "out_sums_over_the_batch", &settings()).expect("a classifier");
    assert_eq!(sums.metadata.fixed_batch, Some(1));
    let first = import(setup.repository(), "out_first_of_the_batch", &settings()).expect("a classifier");
    assert_eq!(first.metadata.fixed_batch, Some(1), "it leaves out what follows the first");
    let alone = import(setup.repository(), "out_log_softmax", &settings()).expect("a classifier");
    assert_eq!(alone.metadata.fixed_batch, None);
    let app = setup.start().await;
    let photos = [("a", fixture("models/outputs.png")), ("b", plain([9, 200, 30])), ("c", fixture("models/outputs.png"))];
    let answer = app.send(app.post_form("/models/out_sums_over_the_batch/predict", &photos)).await.ok().json();
    assert_eq!(answer["predictions"][0]["top_k"], answer["predictions"][2]["top_k"], "{answer}");
    assert_ne!(answer["predictions"][0]["top_k"], answer["predictions"][1]["top_k"], "{answer}");
}

#[tokio::test]
async fn one_sigmoid_is_two_classes_with_names_of_their_own() {
    let setup = Setup::empty();
    let folder = tempfile::tempdir().expect("a folder");
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "cat\ndog\n").expect("a file");
    let named = OnnxSettings { labels: Some(labels), ..settings() };
    import(setup.repository(), "sigmoid_binary", &named).expect("two labels for two classes");
    let app = setup.configured(|config| config.models.default = "sigmoid_binary".to_owned()).spawn().await;
    let answer = app.send(app.post_image("/predict", fixture("models/outputs.png"))).await.ok().json();
    let top = answer["predictions"][0]["top_k"].clone();
    assert_eq!([&top[0]["label"], &top[1]["label"]], ["dog", "cat"]);
    Close::ROUNDING.check("p", &[top[0]["score"].as_f64().expect("a score")], &[0.995_942]);
    app.send(app.post_image("/predict?top_k=2", fixture("models/outputs.png"))).await.ok();
}

/// Imports the fixture `logits` with these properties of its file.
fn with_properties(repository: &Repository, properties: &[(&str, &str)]) -> Result<Metadata, String> {
    let graph = Graph::read(&file("logits")).expect("a fixture");
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    fs::write(&path, graph.with_properties("", properties).to_bytes()).expect("a file");
    let imported = import_onnx(repository, &runtime(), "described", &path, &OnnxSettings::default());
    imported.map(|version| Metadata::clone(&version.metadata)).map_err(|error| error.to_string())
}

#[test]
fn what_other_exporters_say_of_their_files_is_read() {
    let setup = Setup::empty();
    let import = |properties: &[(&str, &str)]| with_properties(setup.repository(), properties);
    let names = "{0: 'cat', 1: 'dog', 2: \"cow's\", 3: 'hen', 4: 'pig'}";
    let metadata = import(&[("author", "Ultralytics"), ("task", "classify"), ("names", names)]).expect("a classifier");
    let labels: Vec<&str> = metadata.labels.iter().map(|label| label.label.as_str()).collect();
    assert_eq!(labels, ["cat", "dog", "cow's", "hen", "pig"]);
    let Preprocessing { fit, mean, scale, .. } = metadata.preprocessing;
    assert_eq!((fit, mean, scale), (Fit::CenterCrop { shorter_side: 32 }, [0.0; 3], [1.0 / 255.0; 3]));

    let error = import(&[("author", "Ultralytics"), ("task", "detect"), ("names", names)]).expect_err("a detector");
    assert!(error.contains("says that its task is `detect`"), "{error}");

    let metadata = import(&[("Image.BitmapPixelFormat", "Bgr8"), ("Image.NominalPixelRange", "Normalized_1_1")]);
    let Preprocessing { channel_order, mean, .. } = metadata.expect("a classifier").preprocessing;
    assert_eq!((channel_order, mean), (ChannelOrder::Bgr, [127.5; 3]));

    let metadata = import(&[("classes", "[\"a\", \"b\"]")]).expect("a classifier");
    assert_eq!(metadata.labels[4].label, "class_4");
    let assumed: Vec<String> = metadata.assumptions.iter().map(ToString::to_string).collect();
    assert!(assumed.iter().any(|line| line.contains("`classes` has 2 for 5 classes")), "{assumed:?}");

    let error = import(&[("graft.format", "99")]).expect_err("of the future");
    assert!(error.contains("`graft.format` of the file is 99"), "{error}");
    let error = import(&[("graft.labels", "[]")]).expect_err("not by graft");
    assert!(error.contains("`graft.labels` of the file is of no use without `graft.format`"), "{error}");

    let of_task = |task| import(&[("task", task)]).expect("a classifier").assumptions;
    let warned = |task| of_task(task).into_iter().find(|assumption| assumption.setting == "output_tensor");
    let said = warned("detect").map(|assumption| assumption.assumed).unwrap_or_default();
    assert_eq!(said, "`logits`, as scores of classes, though the file's property `task` says `detect`");
    assert!(warned("classify").is_none() && warned("image-classification").is_none());
}

#[test]
fn an_import_says_what_it_assumed_and_which_flag_changes_it() {
    let setup = Setup::empty();
    let models = &setup.config().models.dir;
    let path = |name: &str| file(name).display().to_string();
    let ran = Ran::graft(models, &["import", &path("out_unknown_operators"), "--name", "bare"]);
    let said = ran.ok();
    for line in [
        "output `y`: probabilities, from trial runs",
        "assumed mode torch (RGB, less ImageNet's mean, over its deviation); `--mode` changes it",
        "assumed resize bilinear; `--resize` changes it",
        "assumed shorter_side none (both sides are stretched); `--shorter-side` changes it",
        "assumed output_kind probabilities (by the values that trial runs gave); `--output-kind` changes it",
        "assumed labels class_0 … class_4; `--labels` changes it",
    ] {
        assert!(said.lines().any(|found| found == line), "`{line}` is not in {said}");
    }
    let told = ["--mode", "none", "--resize", "nearest", "--shorter-side", "32", "--output-kind", "probabilities"];
    let path = path("out_unknown_operators");
    let ran = Ran::graft(models, &[&["import", &path, "--name", "told"], &told[..]].concat());
    assert_eq!(ran.ok().matches("assumed").count(), 1, "{}", ran.ok());
    let listed = Ran::graft(models, &["models"]);
    assert!(listed.ok().contains("5 classes probabilities"), "{}", listed.ok());
}
