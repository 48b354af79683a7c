//! Scores that say how often they are right, and photos that are unlike those trained on: from a job to an answer and back in.

use std::{fs, path::Path};

use graft::registry::{OnnxSettings, import_onnx};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use crate::{
    finetune::{SHAPES, draw, drawings, ended, recipe, submit, upload},
    support::{Close, Setup, TestApp, Tiny, eventually, png, runtime},
};

/// A server with `shapes`, taught drawings, and the result of the job.
async fn taught(change: Value) -> (TestApp, Value) {
    let app = Setup::empty().with(Tiny::Convolutions, "seeded").start().await;
    let dataset = upload(&app, drawings(60, 1)).await;
    let result = teach(&app, &dataset, "shapes", change).await;
    (app, result)
}

async fn teach(app: &TestApp, dataset: &str, name: &str, change: Value) -> Value {
    let mut recipe = recipe(dataset, name);
    recipe["phases"][1]["epochs"] = json!(5);
    recipe.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
    let accepted = submit(app, &recipe).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    job["result"].clone()
}

/// Scores by class.
async fn scores(app: &TestApp, model: &str, query: &str, image: &[u8]) -> [f64; 3] {
    let path = format!("/predict?model={model}&top_k=3{query}");
    let answer = app.send(app.post_image(&path, image)).await.ok().json();
    let mut scores = [0.0; 3];
    for class in answer["predictions"][0]["top_k"].as_array().expect("a list") {
        scores[class["index"].as_u64().expect("a number") as usize] = class["score"].as_f64().expect("a number");
    }
    scores
}

async fn version(app: &TestApp, model: &str) -> Value {
    app.get(&format!("/models/{model}")).await.ok().json()["versions"][0].clone()
}

/// Whether two places say the same of a calibration; JSON has float32 with as many digits as each likes.
#[track_caller]
fn same(found: &Value, expected: &Value) {
    for key in ["temperature", "error_before", "error_after", "loss_before", "loss_after"] {
        let numbers = [found, expected].map(|of| [of[key].as_f64().expect("a number")]);
        Close::ROUNDING.check(key, &numbers[0], &numbers[1]);
    }
    assert_eq!((&found["logits"], &found["images"]), (&expected["logits"], &expected["images"]));
}

async fn problem_of(app: &TestApp, path: &str) -> String {
    let problems = async || app.get("/models").await.ok().json()["problems"].as_array().expect("a list").clone();
    eventually("the problem is found", async || problems().await.iter().any(|problem| problem["path"] == path)).await;
    let problems = problems().await;
    let problem = problems.iter().find(|problem| problem["path"] == path).expect("it was found");
    problem["reason"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn scores_are_calibrated_and_can_be_had_as_trained() {
    let (app, result) = taught(json!({})).await;
    let calibration = &result["calibration"];
    let temperature = calibration["temperature"].as_f64().expect("a number");
    assert!(temperature > 0.0 && calibration["images"] == 36, "{result}");
    same(&version(&app, "shapes").await["calibration"], calibration);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for shape in SHAPES {
        let image = draw(shape, &mut random);
        let (found, trained) =
            (scores(&app, "shapes", "", &image).await, scores(&app, "shapes", "&calibration=none", &image).await);
        let scaled = trained.map(|score| score.powf(1.0 / temperature));
        let sum: f64 = scaled.iter().sum();
        Close::ROUNDING.check(shape, &found, &scaled.map(|score| score / sum));
        assert!((found[0] - trained[0]).abs() > 1e-3, "{found:?} {trained:?}");
        let path = "/models/shapes/features?layer=predictions&top_k=3&calibration=none";
        let answer = app.send(app.post_image(path, image)).await.ok().json();
        let layer: Vec<f64> = answer["features"][0]["layers"]["predictions"]["data"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect();
        Close::ROUNDING.check("the layer is what is served", &layer, &found);
        let best = trained.iter().copied().fold(0.0, f64::max);
        Close::ROUNDING.check(
            "its classes are as asked",
            &[answer["features"][0]["top_k"][0]["score"].as_f64().unwrap()],
            &[best],
        );
        assert!(answer["features"][0].get("novelty").is_none());
    }
    let asked = app.send(app.post_image("/predict?model=shapes&calibration=all", draw("circle", &mut random))).await;
    asked.problem(422, "invalid_parameter", "`calibration` is `all`; it may be `none`");
}

#[tokio::test]
async fn a_recipe_without_calibration_and_a_model_without_it_change_nothing() {
    let (app, calibrated) = taught(json!({})).await;
    let dataset = app.get("/datasets").await.ok().json()["datasets"][0]["id"].as_str().expect("an id").to_owned();
    let plain = teach(&app, &dataset, "plain", json!({"calibration": "none"})).await;
    assert!(plain.get("calibration").is_none() && version(&app, "plain").await.get("calibration").is_none(), "{plain}");
    let error = |result: &Value| result["report"]["calibration_error"].as_f64().expect("a number");
    let before = calibrated["calibration"]["error_before"].as_f64().expect("a number");
    Close::ROUNDING.check("the error before", &[error(&plain)], &[before]);
    let loss = [plain["report"]["loss"].as_f64().expect("a number")];
    Close::ROUNDING.check("the loss before", &loss, &[calibrated["calibration"]["loss_before"].as_f64().expect("a number")]);
    let image = draw("square", &mut ChaCha8Rng::seed_from_u64(6));
    let trained = scores(&app, "shapes", "&calibration=none", &image).await;
    Close::ROUNDING.check("the same seed", &scores(&app, "plain", "", &image).await, &trained);
    assert_eq!(scores(&app, "plain", "", &image).await, scores(&app, "plain", "&calibration=none", &image).await);
    let brief = json!({"validation_split": 0.0, "phases": [{"trainable": "head", "epochs": 1}]});
    let unmeasured = teach(&app, &dataset, "unmeasured", brief).await;
    assert!(unmeasured.get("calibration").is_none(), "{unmeasured}");
    assert_eq!(version(&app, "unmeasured").await["novelty"]["measured_on"], "training");
    let refused = submit(&app, &json!({"dataset": dataset, "name": "a", "base": "seeded", "calibration": "platt"})).await;
    let refused = refused.problem(422, "invalid_recipe", "`problems` names each");
    let expected = json!([{"field": "calibration", "detail": "is `platt`; use `temperature` or `none`"}]);
    assert_eq!(refused["problems"], expected);
}

#[tokio::test]
async fn what_is_downloaded_is_calibrated_and_comes_back_so() {
    let (app, result) = taught(json!({})).await;
    let file = app.get("/models/shapes/versions/1/onnx").await.ok();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    fs::write(&path, &file.body).expect("a file");
    let copy = import_onnx(&app.repository, &runtime(), "copy", &path, &OnnxSettings::default()).expect("it is whole");
    same(&json!(copy.metadata.calibration), &result["calibration"]);
    assert_eq!(copy.metadata.novelty, None, "its references stay here");
    eventually("the copy is served", async || app.get("/models/copy").await.status == 200).await;
    let image = draw("triangle", &mut ChaCha8Rng::seed_from_u64(7));
    for query in ["", "&calibration=none"] {
        assert_eq!(scores(&app, "copy", query, &image).await, scores(&app, "shapes", query, &image).await, "{query}");
    }
}

#[tokio::test]
async fn what_was_never_seen_is_novel() {
    let (app, _) = taught(json!({})).await;
    let novelty = version(&app, "shapes").await["novelty"].clone();
    assert_eq!((&novelty["layer"], &novelty["measured_on"]), (&json!("flatten"), &json!("validation")));
    assert!(novelty["references"].as_u64().is_some_and(|references| (16..=144).contains(&references)), "{novelty}");
    let ask = async |image: Vec<u8>| {
        let answer = app.send(app.post_image("/predict?model=shapes", image)).await.ok().json();
        let found = answer["predictions"][0]["novelty"].clone();
        assert_eq!(found["threshold"], novelty["threshold"]);
        let [distance, threshold] = ["distance", "threshold"].map(|key| found[key].as_f64().expect("a number"));
        assert_eq!(found["novel"], distance > threshold, "{found}");
        found["novel"] == true
    };
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut known = 0;
    for (shape, _) in (0..20).flat_map(|round| SHAPES.map(|shape| (shape, round))) {
        known += usize::from(!ask(draw(shape, &mut random)).await);
    }
    assert!(known >= 50, "{known} of 60 fresh drawings are known");
    for (width, offset) in [(2, 0), (3, 1), (4, 2), (5, 0)] {
        let stripes = png(32, 32, |x, y| if (x + y + offset) / width % 2 == 0 { [250, 20, 20] } else { [20, 20, 250] });
        assert!(ask(stripes).await, "stripes of {width} are novel");
    }
    let other = app.send(app.post_image("/features?model=shapes&top_k=1", draw("circle", &mut random))).await.ok().json();
    assert!(other["features"][0].get("novelty").is_none(), "{other}");
}

/// Writes `path` at once: no scan finds it half-written.
fn replace(path: &Path, contents: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, contents).expect("writable");
    fs::rename(&new, path).expect("writable");
}

#[tokio::test]
async fn what_was_edited_or_damaged_is_told_by_the_scan() {
    let (app, _) = taught(json!({})).await;
    let dir = app.repository.root().join("shapes/1");
    let metadata: Value = serde_json::from_slice(&fs::read(dir.join("metadata.json")).expect("published")).expect("JSON");
    let edited = async |change: &dyn Fn(&mut Value), expected: &str| {
        let mut edited = metadata.clone();
        change(&mut edited);
        replace(&dir.join("metadata.json"), edited.to_string().as_bytes());
        let reason = problem_of(&app, "shapes/1").await;
        assert!(reason.contains(expected), "{reason}");
        replace(&dir.join("metadata.json"), metadata.to_string().as_bytes());
        eventually("it is served again", async || app.get("/models/shapes").await.status == 200).await;
    };
    let fit = "`metadata.json` does not fit `graph.onnx`: `calibration` says temperature";
    edited(&|metadata| metadata["calibration"]["temperature"] = json!(1.25), fit).await;
    edited(&|metadata| metadata["calibration"]["logits"] = json!("nothing"), fit).await;
    edited(&|metadata| metadata["calibration"]["temperature"] = json!(0.0), "`calibration.temperature` is 0").await;
    edited(&|metadata| metadata["novelty"]["layer"] = json!("nothing"), "`novelty.layer` is `nothing`").await;
    edited(&|metadata| metadata["novelty"]["references"] = json!(3), "`novelty.npy` has not the 3 finite vectors").await;

    let references = fs::read(dir.join("novelty.npy")).expect("published");
    replace(&dir.join("novelty.npy"), &references[..references.len() / 2]);
    assert!(problem_of(&app, "shapes/1").await.contains("`novelty.npy`: the .npy ends early"));
    fs::remove_file(dir.join("novelty.npy")).expect("it is there");
    eventually("that it is gone is told", async || problem_of(&app, "shapes/1").await.contains("cannot be read: No such file"))
        .await;

    // As an earlier graft published it.
    let mut earlier = metadata;
    for field in ["calibration", "novelty"] {
        earlier.as_object_mut().expect("an object").remove(field).expect("it is said");
    }
    replace(&dir.join("metadata.json"), earlier.to_string().as_bytes());
    eventually("it is served again", async || app.get("/models/shapes").await.status == 200).await;
    let image = draw("circle", &mut ChaCha8Rng::seed_from_u64(9));
    let answer = app.send(app.post_image("/predict?model=shapes&calibration=none", image)).await.ok().json();
    assert!(answer["predictions"][0].get("novelty").is_none(), "{answer}");
}
