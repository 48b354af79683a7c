//! What becomes of a job's result: who answers under its name afterwards, and why.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    finetune::{draw, drawings, ended, submit, upload},
    support::{Graft, Setup, TestApp, Tiny, eventually, plain, publish},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

async fn spawn() -> TestApp {
    Setup::empty().with(Tiny::Convolutions, "seeded").start().await
}

/// A recipe whose model is good at drawings, and one whose model has learnt nothing.
fn good(dataset: &str) -> Value {
    recipe(dataset, 12, 0.002)
}

fn bad(dataset: &str) -> Value {
    recipe(dataset, 1, 1e-9)
}

fn recipe(dataset: &str, epochs: u32, learning_rate: f64) -> Value {
    json!({
        "dataset": dataset,
        "base": "seeded",
        "name": "shapes",
        "head": {"pool": "flatten", "hidden": [64]},
        "phases": [{"trainable_from": "conv2d", "epochs": epochs, "optimizer": {"type": "adam", "learning_rate": learning_rate}}],
    })
}

fn with(mut recipe: Value, field: &str, value: Value) -> Value {
    recipe[field] = value;
    recipe
}

/// The job of `recipe`, once it has succeeded.
async fn trained(app: &TestApp, recipe: &Value) -> Value {
    let accepted = submit(app, recipe).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    job
}

/// Version, whether it is served, and why.
fn outcome(job: &Value) -> (u64, bool, &str) {
    let result = &job["result"];
    let version = result["version"].as_u64().expect("a version");
    (version, result["served"].as_bool().expect("it says so"), result["reason"].as_str().expect("a reason"))
}

/// The version that answers requests without one.
async fn answering(app: &TestApp) -> String {
    let photo = draw("circle", &mut ChaCha8Rng::seed_from_u64(3));
    app.send(app.post_image("/predict?model=shapes", photo)).await.ok().header("graft-version").to_owned()
}

async fn pin(app: &TestApp, version: u32) {
    let request = app.ask(Method::PUT, "/models/shapes/stable").header("Content-Type", "application/json");
    app.send(request.body(json!({"version": version}).to_string())).await.ok();
}

#[tokio::test]
async fn a_better_version_answers_and_a_worse_one_does_not() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(60, 1)).await;
    let first = trained(&app, &bad(&dataset)).await;
    assert_eq!(outcome(&first), (1, true, "new_name"));
    assert!(first["result"].get("comparison").is_none(), "{first}");

    let better = trained(&app, &good(&dataset)).await;
    assert_eq!(outcome(&better), (2, true, "better"));
    let comparison = &better["result"]["comparison"];
    assert_eq!((&comparison["with"], &comparison["images"]), (&json!("shapes@1"), &json!(36)), "{comparison}");
    let accuracy = |of: &str| comparison[of].as_f64().expect("a share");
    assert!(accuracy("accuracy") > 0.7 && accuracy("other_accuracy") < 0.6, "{comparison}");
    assert_eq!(comparison["accuracy"], better["result"]["report"]["accuracy"], "the same images as in the report");
    assert_eq!(comparison["other_accuracy"], first["result"]["report"]["accuracy"], "served as it was measured then");
    assert_eq!(comparison["other_accuracy_interval"].as_array().map(Vec::len), Some(2));
    assert_eq!(answering(&app).await, "2");

    let worse = trained(&app, &bad(&dataset)).await;
    assert_eq!(outcome(&worse), (3, false, "worse"));
    let warnings = worse["warnings"].to_string();
    assert!(warnings.contains("shapes@3 does not answer requests for `shapes` without a version: it has "), "{warnings}");
    assert_eq!(answering(&app).await, "2");
    let model = app.get("/models/shapes").await.ok().json();
    let published: Vec<&Value> =
        model["versions"].as_array().expect("a list").iter().map(|version| &version["published"]).collect();
    assert_eq!(
        (published, &model["stable"], &model["pinned"]),
        (vec![&json!(true), &json!(true), &json!(false)], &json!(2), &json!(false))
    );
    assert_eq!(model["versions"][2]["lineage"]["publication"]["reason"], "worse");
    let photo = draw("circle", &mut ChaCha8Rng::seed_from_u64(3));
    let asked = app.send(app.post_image("/predict?model=shapes&version=3", photo)).await.ok();
    assert_eq!(asked.header("graft-version"), "3", "it answers who asks for it");

    let equal = trained(&app, &good(&dataset)).await;
    assert_eq!(outcome(&equal), (4, true, "equal"));
    assert!(equal["warnings"].to_string().contains("shapes@4 answers requests for `shapes` without a version"), "{equal}");
    assert_eq!(answering(&app).await, "4");

    let kept = trained(&app, &with(good(&dataset), "publish", json!("never"))).await;
    assert_eq!((outcome(&kept), answering(&app).await.as_str()), ((5, false, "never"), "4"));
    let forced = trained(&app, &with(bad(&dataset), "publish", json!("always"))).await;
    assert_eq!((outcome(&forced), answering(&app).await.as_str()), ((6, true, "always"), "6"));
    assert!(forced["result"]["comparison"]["accuracy"].as_f64().is_some(), "it is measured all the same: {forced}");
}

#[tokio::test]
async fn a_pinned_version_stays_until_the_choice_is_taken_back() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(40, 1)).await;
    trained(&app, &bad(&dataset)).await;
    pin(&app, 1).await;
    let plan = app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", good(&dataset).to_string())).await.ok();
    assert!(plan.json()["warnings"].to_string().contains("version 1 is pinned and goes on answering"), "{}", plan.text());
    let better = trained(&app, &good(&dataset)).await;
    assert_eq!(outcome(&better), (2, false, "pinned"));
    assert!(
        better["result"]["detail"].as_str().is_some_and(|text| text.contains("), more than the version that answered")),
        "{better}"
    );
    assert_eq!(answering(&app).await, "1");
    let delete = async |version: u32| app.send(app.ask(Method::DELETE, &format!("/models/shapes/versions/{version}"))).await;
    delete(1).await.problem(
        409,
        "version_in_use",
        "version 1 answers for `shapes`, and this one was chosen; choose which answers in its place first",
    );
    let model = app.send(app.ask(Method::DELETE, "/models/shapes/stable")).await.ok().json();
    assert_eq!((&model["stable"], &model["pinned"]), (&json!(2), &json!(false)));
    assert_eq!(answering(&app).await, "2", "it was found better when it was made");
    // What was registered and not published answers only if somebody says so.
    let kept = trained(&app, &with(good(&dataset), "publish", json!("never"))).await;
    assert_eq!(outcome(&kept), (3, false, "never"));
    assert_eq!(delete(1).await.status, 204);
    delete(2).await.problem(409, "version_in_use", "version 2 answers for `shapes`, and no other was published");
    pin(&app, 3).await;
    assert_eq!((delete(2).await.status, answering(&app).await.as_str()), (204, "3"));
    let unset = app.send(app.ask(Method::DELETE, "/models/shapes/stable")).await;
    unset.problem(409, "version_in_use", "no version of `shapes` was published");
}

#[tokio::test]
async fn a_choice_that_cannot_be_read_has_no_other_in_its_place() {
    let setup = Setup::empty().with(Tiny::Colours, "shapes").with(Tiny::Colours, "shapes").with(Tiny::Convolutions, "seeded");
    let stable = setup.config().models.dir.join("shapes/stable");
    std::fs::write(&stable, "7").expect("written");
    let app = setup.start().await;
    let answer = app.send(app.post_image("/predict?model=shapes", plain([9; 3]))).await;
    answer.problem(404, "unknown_version", "version 7 was chosen for model `shapes`, and is not there or not whole; it has 1, 2");
    let dataset = upload(&app, drawings(5, 1)).await;
    let recipe = json!({"dataset": dataset, "base": "seeded", "name": "shapes", "phases": [{"trainable": "head"}]});
    let refused = submit(&app, &recipe).await.problem(422, "invalid_recipe", "problem")["problems"].to_string();
    assert!(refused.contains("version 7 was chosen, which is not there or not whole"), "{refused}");
    let predicted =
        async || app.send(app.post_image("/predict?model=shapes", plain([9; 3]))).await.ok().header("graft-version").to_owned();
    pin(&app, 1).await;
    assert_eq!(predicted().await, "1");
    std::fs::write(&stable, "7").expect("written");
    app.send(app.ask(Method::DELETE, "/models/shapes/stable")).await.ok();
    assert_eq!(predicted().await, "2", "the way out of a choice that is gone");
    // What nobody can read goes with the last version.
    std::fs::write(&stable, "7").expect("written");
    for version in [1, 2] {
        let path = format!("/models/shapes/versions/{version}");
        assert_eq!(app.send(app.ask(Method::DELETE, &path)).await.status, 204);
    }
    assert!(!stable.exists());
}

#[tokio::test]
async fn without_validation_images_nothing_takes_a_place_and_with_few_the_newer_does() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(10, 1)).await;
    let blind = with(bad(&dataset), "validation_split", json!(0.0));
    assert_eq!(outcome(&trained(&app, &blind).await), (1, true, "new_name"));
    let dry = app.ask(Method::POST, "/jobs/finetune?dry_run=true").header("Content-Type", "application/json");
    let dry = app.send(dry.body(blind.to_string())).await.ok().json()["warnings"].to_string();
    assert!(dry.contains("version 1 goes on answering, as no validation image tells which is better"), "{dry}");
    assert_eq!(outcome(&trained(&app, &blind).await), (2, false, "no_validation"));
    assert_eq!(answering(&app).await, "1");
    // The first was trained on every image: none is left that tells.
    let few = trained(&app, &bad(&dataset)).await;
    assert_eq!(outcome(&few), (3, true, "few_images"));
    assert_eq!(few["result"]["comparison"]["images"], 0, "{few}");
    let few = trained(&app, &good(&dataset)).await;
    assert_eq!((outcome(&few), &few["result"]["comparison"]["images"]), ((4, true, "few_images"), &json!(6)));
    assert!(few["warnings"].to_string().contains("6 images that neither version was trained on say too little"), "{few}");
}

#[tokio::test]
async fn only_images_that_neither_version_was_trained_on_are_compared() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(40, 1)).await;
    trained(&app, &bad(&dataset)).await;
    // Another split: most of its validation images were trained on by the first.
    let other = trained(&app, &with(good(&dataset), "seed", json!(9))).await;
    let images = other["result"]["comparison"]["images"].as_u64().expect("a number");
    assert!(images < 20, "{other}");
    // Its base was trained on most images too.
    let onward = with(with(good(&dataset), "base", json!("shapes@2")), "seed", json!(10));
    let onward = trained(&app, &with(onward, "phases", json!([{"trainable": "head", "epochs": 1}]))).await;
    assert!(onward["result"]["comparison"]["images"].as_u64().is_some_and(|images| images < 20), "{onward}");
}

#[tokio::test]
async fn a_name_with_other_labels_is_taken_only_when_the_request_says_so() {
    let app = Setup::empty().with(Tiny::Convolutions, "seeded").with(Tiny::Colours, "googlenet").start().await;
    let dataset = upload(&app, drawings(4, 1)).await;
    let named = |name: &str| with(bad(&dataset), "name", json!(name));
    let refused = submit(&app, &named("googlenet")).await.problem(422, "invalid_recipe", "a problem");
    let detail = refused["problems"][0]["detail"].as_str().expect("text");
    assert_eq!(refused["problems"][0]["field"], "name");
    assert!(
        detail.starts_with("is `googlenet`, a model with other labels (red, green, blue, lime); choose another name"),
        "{detail}"
    );
    for known in ["vgg16", "efficientnet_lite0", "inception_v3_notop"] {
        let refused = submit(&app, &named(known)).await.problem(422, "invalid_recipe", "a problem");
        let detail = refused["problems"][0]["detail"].as_str().expect("text");
        assert!(detail.contains("kept for weights of"), "{detail}");
    }
    let replacing = with(named("googlenet"), "replace", json!(true));
    let plan = app.send(app.post_typed("/jobs/finetune?dry_run=true", "application/json", replacing.to_string())).await.ok();
    let warning = "name: `googlenet` exists; the new version will answer in its place, with other labels";
    assert!(plan.text().contains(warning), "{}", plan.text());
    let job = trained(&app, &replacing).await;
    assert_eq!(outcome(&job), (2, true, "replaced"));
    let photo = draw("circle", &mut ChaCha8Rng::seed_from_u64(3));
    let answer = app.send(app.post_image("/predict?model=googlenet", photo)).await.ok().json();
    assert_eq!(answer["predictions"][0]["top_k"].as_array().map(Vec::len), Some(3), "{answer}");
}

#[tokio::test]
async fn a_name_that_is_taken_while_the_job_runs_is_not_taken_over() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(20, 1)).await;
    let accepted = submit(&app, &recipe(&dataset, 30, 0.002)).await;
    publish(&app.repository, Tiny::Colours, "shapes");
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!((&job["state"], outcome(&job)), (&json!("succeeded"), (2, false, "other_labels")), "{job}");
    assert_eq!(answering(&app).await, "1");
    // Not even `always` gives the users of a model other labels.
    let accepted =
        submit(&app, &with(with(recipe(&dataset, 30, 0.002), "name", json!("forms")), "publish", json!("always"))).await;
    publish(&app.repository, Tiny::Colours, "forms");
    let job = ended(&app, accepted.header("location")).await;
    assert_eq!(outcome(&job), (2, false, "other_labels"), "{job}");
}

#[tokio::test]
async fn two_processes_on_one_store_decide_together() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded").with(Tiny::Convolutions, "seeded");
    let setup = setup.configured(|config| config.jobs.workers = 0);
    let models = setup.config().models.dir.clone();
    let accepting = setup.start().await;
    let dataset = upload(&accepting, drawings(40, 1)).await;
    let delete = async |path: String| accepting.send(accepting.ask(Method::DELETE, &path)).await;
    let of_first = with(bad(&dataset), "base", json!("seeded@1"));
    let waiting = submit(&accepting, &of_first).await.json();
    let id = waiting["id"].as_str().expect("an id");

    // Another process, which runs what this one accepts; both refuse to remove what is used, and accept no job of what is gone.
    let variables = [("GRAFT__JOBS__NICE", "0"), ("GRAFT__TELEMETRY__LOG_LEVEL", "warn,graft::app=info")];
    let running = Graft::serve(&models, "seeded", &variables);
    let first = running.ended(&format!("/jobs/{id}")).await;
    assert_eq!((&first["state"], outcome(&first)), (&json!("succeeded"), (1, true, "new_name")), "{first}");
    let served = async || accepting.get("/models/shapes").await.status == 200;
    eventually("what the one makes, the other serves", served).await;
    assert_eq!(answering(&accepting).await, "1");

    let second = submit(&accepting, &with(recipe(&dataset, 30, 0.002), "base", json!("seeded@1"))).await;
    let second = second.header("location").to_owned();
    eventually("the other process trains", async || running.get(&second).await["state"] == "running").await;
    delete(format!("/datasets/{dataset}")).await.problem(409, "dataset_in_use", "is used by job");
    delete("/models/seeded/versions/1".to_owned()).await.problem(409, "version_in_use", "uses version 1");
    pin(&accepting, 1).await;
    let second = running.ended(&second).await;
    assert_eq!((&second["state"], outcome(&second)), (&json!("succeeded"), (2, false, "pinned")), "{second}");
    assert_eq!(answering(&accepting).await, "1");

    let refused = async |recipe: &Value, reasons: [&str; 2]| {
        let answer = running.post("/jobs/finetune", "application/json", recipe.to_string()).await;
        let problems = answer.problem(422, "invalid_recipe", "problem")["problems"].to_string();
        assert!(reasons.iter().any(|reason| problems.contains(reason)), "{problems}");
    };
    assert_eq!(delete("/models/seeded/versions/2".to_owned()).await.status, 204);
    // The other may have seen it go, or find that it went.
    refused(&with(of_first.clone(), "base", json!("seeded@2")), ["`seeded` has no version 2", "`seeded@2` is no longer"]).await;
    assert_eq!(delete(format!("/datasets/{dataset}")).await.status, 204);
    refused(&of_first, [&dataset, "data set"]).await;
}
