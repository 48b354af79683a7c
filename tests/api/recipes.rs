//! What a recipe can say, each through a whole job: what trains changes, what is frozen keeps its bits, and the report holds.

use std::io::{Cursor, Write};

use graft::{graph::Graph, tensor::Tensor};
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    finetune::{drawings, ended, submit, upload},
    support::{Setup, TestApp, Tiny, encoded_fixture, plain},
};

/// Drawings of each shape.
const DRAWINGS: usize = 60;

struct Trainer {
    app: TestApp,
    dataset: String,
}

impl Trainer {
    async fn new(base: Tiny) -> Self {
        Self::on(base, drawings(DRAWINGS, 1)).await
    }

    async fn on(base: Tiny, archive: Vec<u8>) -> Self {
        let app = Setup::empty().with(base, "base").start().await;
        let dataset = upload(&app, archive).await;
        Self { app, dataset }
    }

    /// The job with these fields in place of a short recipe's, once it has succeeded.
    async fn train(&self, name: &str, fields: Value) -> Value {
        let mut recipe = json!({
            "dataset": self.dataset,
            "base": "base",
            "name": name,
            "head": {"pool": "flatten", "hidden": [16]},
            "phases": [{"trainable": "head", "epochs": 3, "optimizer": {"type": "adam"}}],
        });
        for (field, value) in fields.as_object().expect("fields") {
            recipe[field] = value.clone();
        }
        let accepted = submit(&self.app, &recipe).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let job = ended(&self.app, accepted.header("location")).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        job
    }

    /// The stored tensors of the only version of `model` under `names`.
    fn tensors(&self, model: &str, names: &[&str]) -> Vec<Tensor> {
        let snapshot = self.app.repository.scan().expect("the repository can be read");
        let version = &snapshot.model(model).expect("it is there").versions[0];
        let graph = Graph::read(&version.graph_path()).expect("it is a graph");
        names.iter().map(|name| graph.stored(name).unwrap_or_else(|error| panic!("{name}: {error}"))).collect()
    }

    /// Which of `names` hold the same bits in the base and in `model`.
    fn kept<'n>(&self, model: &str, names: &[&'n str]) -> Vec<&'n str> {
        let pairs = self.tensors("base", names).into_iter().zip(self.tensors(model, names)).zip(names);
        pairs.filter(|((before, after), _)| before == after).map(|(_, name)| *name).collect()
    }

    fn hash(&self, model: &str) -> String {
        let snapshot = self.app.repository.scan().expect("the repository can be read");
        snapshot.model(model).expect("it is there").versions[0].metadata.weights.sha256.clone()
    }
}

fn tops(from: &str) -> Value {
    json!([
        {"trainable": "head", "epochs": 2, "optimizer": {"type": "adam"}},
        {"trainable_from": from, "epochs": 10, "optimizer": {"type": "adam", "learning_rate": 0.002}},
    ])
}

fn accuracy(job: &Value) -> f64 {
    job["result"]["report"]["accuracy"].as_f64().expect("it was measured")
}

const NORMALIZATION: [&str; 4] = [
    "batch_normalization/gamma",
    "batch_normalization/beta",
    "batch_normalization/moving_mean",
    "batch_normalization/moving_variance",
];

#[tokio::test]
async fn batch_norm_is_frozen_unless_its_scale_and_shift_are_to_train() {
    let trainer = Trainer::new(Tiny::Block).await;
    let frozen = trainer.train("frozen", json!({"phases": tops("conv2d")})).await;
    assert_eq!(trainer.kept("frozen", &NORMALIZATION), NORMALIZATION);
    assert_eq!(trainer.kept("frozen", &["conv2d/kernel", "conv2d_1/kernel", "conv2d_1/bias"]), [""; 0]);
    let affine = trainer.train("affine", json!({"phases": tops("conv2d"), "batch_norm": "affine"})).await;
    assert_eq!(trainer.kept("affine", &NORMALIZATION), NORMALIZATION[2..]);
    for job in [frozen, affine] {
        assert!(accuracy(&job) >= 0.75, "{job}");
    }
}

#[tokio::test]
async fn training_may_begin_inside_a_block() {
    let trainer = Trainer::new(Tiny::Block).await;
    let weights = ["conv2d/kernel", "conv2d_1/kernel", "conv2d_2/kernel", "conv2d_3/kernel"];
    let job = trainer.train("inside", json!({"phases": tops("conv2d_2")})).await;
    let phase = &job["recipe"]["phases"][1];
    let frontier: Vec<&str> = phase["frontier"].as_array().expect("a list").iter().filter_map(|t| t["tensor"].as_str()).collect();
    assert_eq!(frontier.len(), 2, "one path's tensor, and what the other begins with: {phase}");
    let warnings = job["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains("lies inside"))), "{job}");
    assert_eq!(trainer.kept("inside", &weights), weights[..2], "what lies before it is frozen");
    assert!(accuracy(&job) >= 0.75, "{job}");
}

#[tokio::test]
async fn inverted_residual_blocks_train_from_any_layer() {
    let trainer = Trainer::new(Tiny::Inverted).await;
    let weights = ["conv2d/kernel", "depthwise_conv2d/kernel", "conv2d_1/kernel", "conv2d_2/kernel", "depthwise_conv2d_1/kernel"];
    let whole = trainer.train("whole", json!({"phases": tops("zero_padding2d"), "batch_norm": "affine"})).await;
    assert_eq!(trainer.kept("whole", &weights), [""; 0]);
    assert_eq!(trainer.kept("whole", &NORMALIZATION), NORMALIZATION[2..]);
    let top = trainer.train("top", json!({"phases": tops("conv2d_2")})).await;
    assert_eq!(top["recipe"]["phases"][1]["frontier"][0]["tensor"], "add");
    assert_eq!(trainer.kept("top", &weights), weights[..3]);
    let inside = trainer.train("inside", json!({"phases": tops("depthwise_conv2d")})).await;
    let frontier: Vec<&str> = inside["recipe"]["phases"][1]["frontier"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|t| t["tensor"].as_str())
        .collect();
    assert_eq!(frontier, ["activation"], "the sum reads it too");
    for job in [whole, top, inside] {
        let losses: Vec<f64> =
            job["history"].as_array().expect("a list").iter().filter_map(|epoch| epoch["loss"].as_f64()).collect();
        assert!(losses[losses.len() - 1] < 0.8 * losses[0], "it learns: {losses:?}");
    }
}

#[tokio::test]
async fn vgg16_may_keep_its_own_dense_layers() {
    let trainer = Trainer::new(Tiny::FullyConnected).await;
    let job = trainer.train("kept", json!({"head": {"keep_fc": true, "hidden": []}, "phases": tops("fc1")})).await;
    assert_eq!((&job["recipe"]["head"]["on"], &job["recipe"]["head"]["params"]), (&json!("fc2"), &json!(41 * 3)));
    assert_eq!(trainer.kept("kept", &["conv2d_1/kernel", "fc1/kernel", "fc2/kernel"]), ["conv2d_1/kernel"]);
    assert!(accuracy(&job) >= 0.55, "{job}");
    let features = trainer.app.send(trainer.app.post_image("/features?model=kept&layer=fc2", plain([9; 3]))).await;
    assert_eq!(
        features.ok().json()["features"][0]["layers"]["fc2"]["shape"],
        json!([40]),
        "its layers are served by their names"
    );
}

#[tokio::test]
async fn without_validation_images_nothing_is_claimed_and_the_export_is_compared_all_the_same() {
    let trainer = Trainer::new(Tiny::Convolutions).await;
    let job = trainer.train("blind", json!({"validation_split": 0})).await;
    let report = &job["result"]["report"];
    assert_eq!((&report["images"], &report["accuracy"], &report["loss"]), (&json!(0), &json!(null), &json!(null)), "{report}");
    let model = trainer.app.get("/models/blind").await.ok().json();
    let lineage = &model["versions"][0]["lineage"];
    assert_eq!((&lineage["base"], &lineage["metrics"]["images"]), (&json!("base@1"), &json!(0)), "{lineage}");
    assert_eq!(lineage["recipe"]["validation"]["val"], 0, "{lineage}");
}

#[tokio::test]
async fn a_phase_ends_early_when_validation_no_longer_improves() {
    let trainer = Trainer::new(Tiny::Convolutions).await;
    let stopping = json!({"patience": 2, "min_delta": 1000.0});
    let mut phases = tops("conv2d_2");
    phases[1]["epochs"] = json!(50);
    let job = trainer.train("early", json!({"early_stopping": stopping, "phases": phases})).await;
    let epochs: Vec<_> = job["history"].as_array().expect("a list").iter().map(|epoch| epoch["phase"].as_u64()).collect();
    assert_eq!(epochs, [1, 1, 2, 2, 2].map(Some), "two epochs without improvement after the first");
}

#[tokio::test]
async fn every_choice_makes_another_model_and_a_repetition_the_same() {
    let trainer = Trainer::new(Tiny::Convolutions).await;
    let mut seen = Vec::new();
    for (name, fields) in [
        ("plain", json!({})),
        ("flipped", json!({"horizontal_flip": true})),
        ("dropped", json!({"head": {"pool": "flatten", "hidden": [16], "dropout": 0.5}})),
        ("pooled", json!({"head": {"pool": "avg", "hidden": [16]}})),
        ("seeded", json!({"seed": 1})),
        ("batched", json!({"batch_size": 7})),
        ("decayed", json!({"phases": [{"trainable": "head", "epochs": 3, "optimizer": {"type": "adam"}, "l2": 0.01}]})),
        (
            "slowed",
            json!({"phases": [{"trainable": "head", "epochs": 3, "optimizer": {"type": "adam"}, "learning_rate_decay": 0.1}]}),
        ),
        ("cosine", json!({"phases": [{"trainable": "head", "epochs": 3, "optimizer": {"type": "adam", "schedule": "cosine"}}]})),
    ] {
        trainer.train(name, fields.clone()).await;
        let hash = trainer.hash(name);
        assert!(!seen.contains(&hash), "{name} changes nothing");
        seen.push(hash);
        let again = format!("{name}-again");
        trainer.train(&again, fields).await;
        assert_eq!(seen.last(), Some(&trainer.hash(&again)), "{name} is not the same twice");
    }
}

#[tokio::test]
async fn a_folder_for_validation_is_what_is_measured() {
    let counts = [("train/red", 6), ("train/blue", 5), ("val/red", 3), ("val/blue", 4)];
    let classes = counts.map(|(name, count)| (name, if name.ends_with("red") { [150, 20, 20] } else { [20, 20, 150] }, count));
    // None is the same as another.
    let shifted =
        classes.map(|(name, colour, count)| (name, colour.map(|value| value + 10 * u8::from(name.starts_with("val"))), count));
    let trainer = Trainer::on(Tiny::Colours, coloured(&shifted)).await;
    let job = trainer.train("split", json!({"head": {"hidden": [16]}})).await;
    let validation = &job["recipe"]["validation"];
    assert_eq!((&validation["split"], &validation["train"], &validation["val"]), (&json!(null), &json!(11), &json!(7)));
    let report = &job["result"]["report"];
    let images: Vec<_> = report["classes"].as_array().expect("a list").iter().map(|class| class["images"].as_u64()).collect();
    assert_eq!((&report["images"], images), (&json!(7), vec![Some(4), Some(3)]), "{report}");
    assert!(report["worst"][0]["path"].as_str().is_some_and(|path| path.starts_with("val/")), "{report}");
}

#[tokio::test]
async fn photos_are_turned_as_they_say_at_training_and_at_serving() {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (class, file) in [("a", "exif_6.png"), ("a", "exif_3.jpg"), ("b", "exif_8.webp"), ("b", "xmp_5.jpg")] {
        archive.start_file(format!("{class}/{file}"), SimpleFileOptions::default()).expect("the name is new");
        archive.write_all(&encoded_fixture(file)).expect("memory can be written to");
    }
    let archive = archive.finish().expect("memory can be written to").into_inner();
    let trainer = Trainer::on(Tiny::Convolutions, archive).await;
    let whole = json!({"validation_split": 0});
    trainer.train("turned", whole.clone()).await;
    trainer.train("as-stored", json!({"validation_split": 0, "preprocessing": {"orientation": "ignore"}})).await;
    assert_ne!(trainer.hash("turned"), trainer.hash("as-stored"));
    let answer = async |model: &str, orientation: &str| {
        let path = format!("/predict?model={model}{orientation}");
        trainer.app.send(trainer.app.post_image(&path, encoded_fixture("exif_6.png"))).await.ok().json()["predictions"][0]["top_k"].clone()
    };
    assert_eq!(answer("turned", "").await, answer("turned", "&orientation=exif").await);
    assert_ne!(answer("turned", "").await, answer("turned", "&orientation=ignore").await);
    assert_eq!(answer("as-stored", "").await, answer("as-stored", "&orientation=ignore").await);
}

#[tokio::test]
async fn a_later_job_reads_what_an_earlier_one_cached() {
    let trainer = Trainer::new(Tiny::Convolutions).await;
    let caching = async |job: Value| {
        let path = format!("/jobs/{}/events", job["id"].as_str().expect("a job has an id"));
        let events = trainer.app.get(&path).await.ok().text();
        let of_caching = events.split("\n\n").find(|event| event.contains("event: caching")).expect("it caches").to_owned();
        let data = of_caching.lines().find_map(|line| line.strip_prefix("data:")).expect("an event has data").to_owned();
        let data: Value = serde_json::from_str(&data).expect("it is JSON");
        [data["done"].as_u64(), data["total"].as_u64()].map(|count| count.expect("a number"))
    };
    let images = 3 * DRAWINGS as u64;
    let first = trainer.train("first", json!({"phases": tops("conv2d_2")})).await;
    assert_eq!(caching(first).await, [0, images]);
    let second = trainer.train("second", json!({"phases": tops("conv2d_2"), "seed": 5})).await;
    assert_eq!(caching(second).await, [images, images], "another seed has the same images");
    let flipped = trainer.train("flipped", json!({"phases": tops("conv2d_2"), "horizontal_flip": true})).await;
    let [done, total] = caching(flipped).await;
    assert!(done == images && total > images, "only the mirrored ones are missing: {done} of {total}");
}

#[tokio::test]
async fn balanced_classes_weigh_what_they_lack_in_number() {
    let archive = coloured(&[("blue", [20, 20, 200], 6), ("green", [20, 200, 20], 12), ("red", [200, 20, 20], 24)]);
    let trainer = Trainer::on(Tiny::Convolutions, archive).await;
    let plain = trainer.train("plain", json!({})).await;
    let balanced = trainer.train("balanced", json!({"class_weights": "balanced"})).await;
    assert_eq!(plain["recipe"]["class_weights"], json!([1.0, 1.0, 1.0]));
    let weights: Vec<f64> =
        balanced["recipe"]["class_weights"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    let counts: Vec<f64> = balanced["recipe"]["validation"]["classes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|class| class["train"].as_f64())
        .collect();
    // scikit-learn's `balanced`: images / (classes · images of the class).
    let expected: Vec<f64> = counts.iter().map(|count| counts.iter().sum::<f64>() / (3.0 * count)).collect();
    assert_eq!(weights, expected);
    assert_ne!(trainer.hash("plain"), trainer.hash("balanced"));
}

#[tokio::test]
async fn the_head_sits_on_the_features_of_a_user_s_own_graph() {
    let archive = coloured(&[("blue", [20, 20, 200], 15), ("green", [20, 200, 20], 15), ("red", [200, 20, 20], 15)]);
    let trainer = Trainer::on(Tiny::Colours, archive).await;
    let phases = json!([
        {"trainable": "head", "epochs": 30, "optimizer": {"type": "adam", "learning_rate": 0.01}},
        {"trainable_from": "conv", "epochs": 2, "optimizer": {"type": "sgd", "learning_rate": 1e-9}},
    ]);
    let job = trainer.train("own", json!({"phases": phases, "validation_split": 0.3, "seed": 1})).await;
    let losses: Vec<f64> = job["history"].as_array().expect("a list").iter().filter_map(|epoch| epoch["loss"].as_f64()).collect();
    assert!(losses[0] > 1.0 && losses[29] < 0.1, "{losses:?}");
    let base = trainer.app.get("/models/base").await.ok().json();
    assert_eq!(job["recipe"]["head"]["on"], base["versions"][0]["features_layer"], "{base}");
    assert!(accuracy(&job) >= 0.99, "{job}");
}

/// A zip of plain images, so many of each colour, each a little different.
fn coloured(classes: &[(&str, [u8; 3], u8)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, colour, count) in classes {
        for number in 0..*count {
            archive.start_file(format!("{name}/{number}.png"), SimpleFileOptions::default()).expect("the name is new");
            archive.write_all(&plain(colour.map(|value| value + number))).expect("memory can be written to");
        }
    }
    archive.finish().expect("memory can be written to").into_inner()
}
