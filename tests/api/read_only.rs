//! A data folder that becomes read-only: a job waits for it and goes on, what would write is refused, and the server serves on.

use serde_json::json;

use crate::{
    finetune::{drawings, recipe},
    support::{Setup, Tiny, Volume, eventually, png},
};

#[tokio::test]
async fn a_job_waits_until_its_folder_can_be_written_and_others_are_told() {
    let setup = Setup::empty().with(Tiny::Convolutions, "seeded");
    let Some(volume) = Volume::serve(&setup, &[("GRAFT__JOBS__NICE", "0")]) else { return };
    let graft = &volume.graft;
    let uploaded = graft.post("/datasets", "application/zip", drawings(5, 1)).await;
    let dataset = uploaded.json()["id"].as_str().expect("a data set has an id").to_owned();
    let mut recipe = recipe(&dataset, "shapes");
    // So many that it trains still when its folder is locked.
    recipe["phases"] = json!([{"trainable": "head", "epochs": 300}]);
    let submitted = graft.post("/jobs/finetune", "application/json", recipe.to_string()).await;
    assert_eq!(submitted.status, 202, "{}", submitted.text());
    let job = submitted.header("location");
    let epochs = async || graft.get(job).await["history"].as_array().map_or(0, Vec::len);
    eventually("it trains", async || epochs().await > 0).await;

    volume.lock();
    let waiting = async || graft.get(job).await["waiting"]["detail"].as_str().map(str::to_owned);
    // Where the store's connections have been opened anew since, not even that can be written down.
    let deletion = async || graft.delete(uploaded.header("location")).await.status;
    eventually("it waits", async || waiting().await.is_some() || deletion().await == 503).await;
    if let Some(detail) = waiting().await {
        assert!(detail.contains("data.dir") && !detail.contains(&setup.config().data.dir.display().to_string()), "{detail}");
    }
    graft.post("/datasets", "application/zip", drawings(5, 2)).await.problem(507, "storage_full", "");
    // 409 where the store can be asked whether a job uses it.
    let refused = deletion().await;
    assert!(matches!(refused, 409 | 503), "a job uses it: {refused}");
    let features = graft.post("/features?layer=max_pooling2d_2", "image/png", png(32, 32, |_, _| [1, 2, 3])).await;
    assert_eq!(features.status, 200, "it serves on: {}", features.text());
    assert_eq!(graft.get(job).await["state"], "running", "it waits, and is no failure");
    let before = epochs().await;
    assert!(before < 300, "it had not ended before");

    volume.unlock();
    let ended = graft.ended(job).await;
    assert_eq!((&ended["state"], ended["history"].as_array().map(Vec::len)), (&json!("succeeded"), Some(300)), "{ended}");
    assert_eq!(graft.post("/datasets", "application/zip", drawings(5, 2)).await.status, 201, "and uploads are taken again");
}
