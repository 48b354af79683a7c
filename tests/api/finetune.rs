//! Fine-tuning from end to end: drawn shapes, a data set, a job on seeded weights, and the model that comes out, served.

use std::{
    io::{Cursor, Write},
    time::{Duration, Instant},
};

use image::{ImageFormat, Rgb, RgbImage};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use reqwest::Method;
use serde_json::{Value, json};
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::support::{Answer, Setup, TestApp, Tiny, eventually};

pub const SHAPES: [&str; 3] = ["circle", "square", "triangle"];
const SIDE: u32 = 32;
/// What `openapi.yaml` promises.
const CANCELLED: Duration = Duration::from_secs(2);

/// A dark shape somewhere on a light ground.
pub fn draw(shape: &str, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut below = |bound: u32| random.next_u32() % bound;
    let radius = 6 + below(5) as i32;
    let mut place = || radius + below((SIDE as i32 - 2 * radius) as u32) as i32;
    let (x0, y0) = (place(), place());
    let ground = [0; 3].map(|_: u8| 160 + below(96) as u8);
    let ink = [0; 3].map(|_: u8| below(96) as u8);
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let (x, y) = (x as i32 - x0, y as i32 - y0);
        let inside = match shape {
            "circle" => x * x + y * y <= radius * radius,
            "square" => x.abs() <= radius && y.abs() <= radius,
            _ => y.abs() <= radius && 2 * x.abs() <= y + radius,
        };
        Rgb(if inside { ink } else { ground })
    });
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).expect("memory can be written to");
    png.into_inner()
}

/// A zip of class folders, `count` drawings each.
pub fn drawings(count: usize, seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for shape in SHAPES {
        for number in 0..count {
            zip.start_file(format!("{shape}/{number}.png"), SimpleFileOptions::default()).expect("the name is new");
            zip.write_all(&draw(shape, &mut random)).expect("memory can be written to");
        }
    }
    zip.finish().expect("memory can be written to").into_inner()
}

pub async fn spawn() -> TestApp {
    Setup::empty()
        .with(Tiny::Convolutions, "seeded")
        .configured(|config| config.jobs.lease = Duration::from_secs(5))
        .start()
        .await
}

pub async fn upload(app: &TestApp, archive: Vec<u8>) -> String {
    let answer = app.send(app.post_typed("/datasets", "application/zip", archive)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("a data set has an id").to_owned()
}

pub async fn submit(app: &TestApp, recipe: &Value) -> Answer {
    app.send(app.post_typed("/jobs/finetune", "application/json", recipe.to_string())).await
}

/// The job once it has ended.
pub async fn ended(app: &TestApp, location: &str) -> Value {
    let state = async || app.get(location).await.json()["state"].as_str().unwrap_or_default().to_owned();
    eventually("the job has ended", async || !matches!(state().await.as_str(), "queued" | "running")).await;
    app.get(location).await.ok().json()
}

pub fn recipe(dataset: &str, name: &str) -> Value {
    json!({
        "dataset": dataset,
        "base": "seeded",
        "name": name,
        "head": {"pool": "flatten", "hidden": [64]},
        "phases": [
            {"trainable": "head", "epochs": 2, "optimizer": {"type": "rmsprop"}},
            {"trainable_from": "conv2d", "epochs": 12, "optimizer": {"type": "adam", "learning_rate": 0.002}},
        ],
    })
}

#[tokio::test]
async fn drawings_teach_seeded_weights_and_the_model_is_served_at_once() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(80, 1)).await;
    let accepted = submit(&app, &recipe(&dataset, "shapes")).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["history"].as_array().map(Vec::len), Some(14), "{job}");
    for known in ["phase", "epoch", "step", "loss", "accuracy", "images_per_second"] {
        assert!(!job[known].is_null(), "{known}: {job}");
    }
    let report = &job["result"]["report"];
    assert!(report["accuracy"].as_f64().is_some_and(|accuracy| accuracy >= 0.9), "{report}");

    let (mut random, mut right) = (ChaCha8Rng::seed_from_u64(2), 0);
    for (shape, _) in (0..20).flat_map(|round| SHAPES.map(|shape| (shape, round))) {
        let answer = app.send(app.post_image("/predict?model=shapes&top_k=1", draw(shape, &mut random))).await.ok();
        assert_eq!(answer.header("graft-pretrained"), "true");
        right += usize::from(answer.json()["predictions"][0]["top_k"][0]["label"] == shape);
    }
    assert!(right >= 54, "{right} of 60 fresh drawings are right");

    let model = app.get("/models/shapes").await.ok().json();
    assert_eq!(model["versions"][0]["labels"].as_array().map(Vec::len), Some(3));
    let again = submit(&app, &recipe(&dataset, "shapes")).await;
    let job = ended(&app, again.header("location")).await;
    assert_eq!(job["result"]["version"], 2, "{job}");
    let [first, second] = [1, 2].map(|version| hash(&app, version));
    assert_eq!(first, second, "the same seed gives the same weights, bit for bit");
}

fn hash(app: &TestApp, version: u32) -> String {
    let snapshot = app.repository.scan().expect("the repository can be read");
    let model = snapshot.model("shapes").expect("it was registered");
    model.version(version).expect("it was registered").metadata.weights.sha256.clone()
}

#[tokio::test]
async fn a_recipe_that_cannot_be_run_is_refused_with_every_problem() {
    let app = spawn().await;
    let recipe = json!({"dataset": "nothing", "base": "sedeed", "name": "a b", "batch_size": 0});
    let body = submit(&app, &recipe).await.problem(422, "invalid_recipe", "`problems` names each");
    let problems = body["problems"].as_array().expect("a list");
    let fields: Vec<&str> = problems.iter().filter_map(|problem| problem["field"].as_str()).collect();
    assert_eq!(fields, ["base", "dataset", "name", "batch_size"], "{body}");
    assert_eq!(problems[0]["detail"], "unknown model `sedeed`; did you mean `seeded`?");
}

#[tokio::test]
async fn one_problem_hides_no_other() {
    let app = spawn().await;
    let fields = async |recipe: Value| {
        let body = submit(&app, &recipe).await.problem(422, "invalid_recipe", "`problems` names each");
        let problems = body["problems"].as_array().expect("a list").clone();
        let mut fields: Vec<String> =
            problems.iter().map(|problem| problem["field"].as_str().unwrap_or_default().to_owned()).collect();
        fields.sort_unstable();
        fields
    };
    let unreadable =
        json!({"dataset": "none", "name": "-", "batch_size": "x", "hed": 1, "seed": -1, "head": {"hidden": [8, "y"]}});
    assert_eq!(fields(unreadable).await, ["batch_size", "dataset", "head.hidden[1]", "hed", "name", "seed"]);
    let unknown = json!({"dataset": "none", "base": "seeded", "name": "a", "phases": [{"trainable_from": "nolayer"}], "head": {"keep_fc": true}});
    assert_eq!(fields(unknown).await, ["dataset", "head.keep_fc"]);
    let layer = json!({"dataset": "none", "base": "seeded", "name": "a", "phases": [{"trainable_from": "nolayer"}]});
    assert_eq!(fields(layer).await, ["dataset", "phases[0].trainable_from"]);
    assert_eq!(fields(json!({})).await, ["dataset", "name"]);
}

#[tokio::test]
async fn a_field_of_another_type_or_name_is_named() {
    let app = spawn().await;
    for (recipe, field, detail) in [
        (json!({"phases": [{"trainable_from": 2.5}]}), "phases[0].trainable_from", "is `2.5`; use a layer's name or index"),
        (json!({"class_weights": {"a": 1}}), "class_weights", "is `{\"a\":1}`; use `none` or `balanced`"),
        (json!({"phases": [{}, {"epochs": "ten"}]}), "phases[1].epochs", "invalid type: string \"ten\", expected a whole number"),
        (json!({"head": {"hiden": [1]}}), "head.hiden", "unknown field `hiden`, expected one of `pool`, `hidden`"),
        (json!(["dataset"]), "", "is not a JSON object"),
        (json!({"head": ["flatten", [7]]}), "head", "is a list; write it as an object with names"),
        (json!({"phases": [{"trainable": "head"}, [1, "head"]]}), "phases[1]", "is a list; write it as an object with names"),
        (json!({"phases": [{"optimizer": "adam"}]}), "phases[0].optimizer", "write it as `{\"type\": \"adam\"}`"),
        (json!({"epochs": 3}), "epochs", "; it belongs in `phases[]`"),
        (json!({"dropout": 0.5}), "dropout", "; it belongs in `head`"),
        (json!({"head": {"pool": "none"}}), "head.pool", "is `none`; use `avg` or `flatten`"),
    ] {
        let body = submit(&app, &recipe).await.problem(422, "invalid_recipe", "`problems` names each");
        let of_field = |problem: &&Value| problem["field"] == field;
        let problem = body["problems"].as_array().and_then(|problems| problems.iter().find(of_field));
        let problem = problem.unwrap_or_else(|| panic!("no problem with {field}: {body}"));
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(detail)), "{body}");
    }
}

#[tokio::test]
async fn what_has_no_gradient_is_refused_before_anything_is_queued() {
    let app = Setup::empty().with(Tiny::Leaky, "leaky").start().await;
    let dataset = upload(&app, drawings(5, 1)).await;
    let from = |layer: &str| {
        let phases = json!([{"trainable": "head", "epochs": 1}, {"trainable_from": layer, "epochs": 1}]);
        json!({"dataset": dataset, "base": "leaky", "name": "shapes", "phases": phases})
    };
    let body = submit(&app, &from("conv")).await.problem(422, "invalid_recipe", "`problems` names each");
    let detail = "cannot be trained: LeakyRelu node `leaky` has no gradient in graft; train only parameters after `leaky`; \
                  begin at `conv_1` (2) or after it";
    assert_eq!(body["problems"], json!([{"field": "phases[1].trainable_from", "detail": detail}]));
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"], json!([]));
    let accepted = submit(&app, &from("conv_1")).await;
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
}

#[tokio::test]
async fn a_dry_run_tells_recipe_and_costs() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(5, 1)).await;
    let body = recipe(&dataset, "shapes").to_string();
    let plan = app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", body)).await.ok().json();
    let phase = &plan["recipe"]["phases"][1];
    assert_eq!((&phase["trainable"]["layer"], &phase["frontier"][0]["bytes"]), (&json!("conv2d"), &json!(4 * 3 * 32 * 32)));
    for (warning, begins) in ["name: no other model is trained", "base: `seeded@1` has untrained weights"].into_iter().enumerate()
    {
        assert!(plan["warnings"][warning].as_str().is_some_and(|warning| warning.starts_with(begins)), "{plan}");
    }
    assert_eq!(plan["estimates"]["phases"].as_array().map(Vec::len), Some(2), "{plan}");
    assert!(plan["estimates"]["cache_bytes"].as_u64().is_some_and(|bytes| bytes >= 15 * 4 * 3 * 32 * 32), "{plan}");
    assert!(plan["estimates"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{plan}");
    assert!(plan["estimates"]["minutes"].as_f64().is_some_and(|minutes| minutes > 0.0), "{plan}");
    assert_eq!(app.get("/jobs").await.ok().json()["jobs"], json!([]));
}

#[tokio::test]
async fn a_cancelled_job_ends_at_once_and_leaves_nothing() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(40, 1)).await;
    let mut endless = recipe(&dataset, "shapes");
    endless["phases"][1]["epochs"] = json!(1000);
    let job = submit(&app, &endless).await.header("location").to_owned();
    let epochs = async || app.get(&job).await.json()["history"].as_array().map_or(0, Vec::len);
    eventually("the second phase trains", async || epochs().await >= 3).await;
    let running = app.get(&job).await.json();
    for known in ["phase", "epoch", "step", "loss", "accuracy", "images_per_second", "estimated_finish"] {
        assert!(!running[known].is_null(), "{known}: {running}");
    }
    let asked = Instant::now();
    let answer = app.send(app.ask(Method::POST, &format!("{job}/cancel"))).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(ended(&app, &job).await["state"], "cancelled");
    assert!(asked.elapsed() < CANCELLED, "{:?}", asked.elapsed());
    app.get("/models/shapes").await.problem(404, "unknown_model", "shapes");
    app.send(app.ask(Method::POST, &format!("{job}/cancel"))).await.problem(409, "job_finished", "cancelled");
    assert_eq!(app.send(app.ask(Method::DELETE, &format!("/datasets/{dataset}"))).await.status, 204, "nobody uses it");
    let dataset = upload(&app, drawings(5, 1)).await;
    let next = submit(&app, &recipe(&dataset, "shapes")).await;
    assert_eq!(ended(&app, next.header("location")).await["state"], "succeeded", "the next job runs");
}

#[tokio::test]
async fn a_job_whose_loss_is_no_number_fails_and_one_whose_base_is_gone_too() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded").with(Tiny::Block, "removed").with(Tiny::Convolutions, "lost");
    let app = setup.configured(|config| config.jobs.lease = Duration::from_secs(5)).start().await;
    let dataset = upload(&app, drawings(20, 1)).await;
    let mut wild = recipe(&dataset, "wild");
    wild["phases"] = json!([{"trainable_from": "conv2d", "epochs": 1000, "optimizer": {"type": "sgd", "learning_rate": 1e6}}]);
    let mut orphan = recipe(&dataset, "orphan");
    orphan["base"] = json!("removed");
    let mut first = recipe(&dataset, "first");
    first["phases"][1]["epochs"] = json!(1000);
    let first = submit(&app, &first).await.header("location").to_owned();
    let [wild, orphan] = [submit(&app, &wild).await, submit(&app, &orphan).await].map(|job| job.header("location").to_owned());
    std::fs::remove_dir_all(app.repository.root().join("removed")).expect("it is there");
    assert_eq!(app.send(app.ask(Method::POST, &format!("{first}/cancel"))).await.status, 202);
    for (job, code, detail) in
        [(wild, "diverged", "the learning rate of 1000000 is too high; try 0.001"), (orphan, "base_gone", "removed@1")]
    {
        let job = ended(&app, &job).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job}");
        assert!(job["error"]["detail"].as_str().is_some_and(|text| text.contains(detail)), "{job}");
    }
    let mut orphan = recipe(&dataset, "orphan");
    (orphan["base"], orphan["phases"][0]["epochs"]) = (json!("lost"), json!(300));
    let orphan = submit(&app, &orphan).await.header("location").to_owned();
    let trains = async || app.get(&orphan).await.json()["history"].as_array().is_some_and(|epochs| !epochs.is_empty());
    eventually("it trains its head", trains).await;
    std::fs::remove_dir_all(app.repository.root().join("lost")).expect("it is there");
    assert_eq!(ended(&app, &orphan).await["error"]["code"], "base_gone", "the second phase reads the base again");
    let models = app.get("/models").await.ok().json();
    assert_eq!(models["models"].as_array().map(Vec::len), Some(1), "nothing is registered: {models}");
    app.send(app.post_image("/features?model=seeded", draw("circle", &mut ChaCha8Rng::seed_from_u64(1)))).await.ok();
}
