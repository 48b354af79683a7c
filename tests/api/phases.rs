//! Where a phase starts, and what a job says of learning rates that do not train.

use serde_json::{Value, json};

use crate::{
    finetune::{drawings, ended, recipe, spawn, submit, upload},
    support::TestApp,
};

/// The job of the usual recipe on few drawings with these phases, once it has succeeded.
async fn trained(app: &TestApp, dataset: &str, name: &str, phases: &Value) -> Value {
    let mut recipe = recipe(dataset, name);
    recipe["phases"] = phases.clone();
    let accepted = submit(app, &recipe).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let job = ended(app, accepted.header("location")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    job
}

#[tokio::test]
async fn a_phase_starts_from_the_best_epoch_or_from_the_last() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(20, 1)).await;
    for start in ["best", "last"] {
        let phases = json!([
            {"trainable": "head", "epochs": 6, "optimizer": {"type": "adam"}},
            {"trainable": "head", "epochs": 1, "optimizer": {"type": "sgd", "learning_rate": 10.0}},
            {"trainable": "head", "epochs": 1, "optimizer": {"type": "sgd", "learning_rate": 1e-9}, "start_from": start},
        ]);
        let job = trained(&app, &dataset, start, &phases).await;
        let loss = |epoch: &Value| epoch["val_loss"].as_f64().expect("it was measured");
        let [.., ruined, after] = job["history"].as_array().expect("a list").as_slice() else { panic!("{job}") };
        let best = &job["result"]["best"];
        assert!(
            best["phase"] == 1 && loss(ruined) > 2.0 * loss(best),
            "the second phase spoils what the first one taught: {job}"
        );
        let from = if start == "best" { best } else { ruined };
        assert!((loss(after) - loss(from)).abs() < 1e-3 * loss(from), "{start}: {job}");
    }
}

#[tokio::test]
async fn rates_that_do_not_train_are_warned_of() {
    let app = spawn().await;
    let dataset = upload(&app, drawings(5, 1)).await;
    let phases = json!([{"trainable": "head", "epochs": 3, "optimizer": {"type": "sgd", "learning_rate": 10.0}}]);
    let job = trained(&app, &dataset, "wild", &phases).await;
    let warnings: Vec<&str> = job["warnings"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for expected in [
        "validation: 3 images say little: each one moves the accuracy by 0.333",
        "phase 1: the training loss",
        "the accuracy on the validation images, 0.3333, is no better than always naming their commonest class",
    ] {
        assert_eq!(warnings.iter().filter(|warning| warning.starts_with(expected)).count(), 1, "{expected}: {job}");
    }
    assert!(
        warnings.iter().any(|warning| warning.contains("10") && warning.contains("0.001")),
        "the rate, and one to try: {job}"
    );
}
