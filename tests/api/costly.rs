//! Images in data sets that take long to decode: plans decode none of them, and what is beside serving decodes within its memory.

use serde_json::json;

use crate::{
    finetune::upload,
    support::{Answer, Setup, TestApp, Tiny, eventually, large_jpeg, plain},
};

/// Two classes of two images each.
fn archive(image: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for number in 0..4 {
        let image = image(number);
        let mut header = tar::Header::new_gnu();
        header.set_size(image.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("{}/{number}", number % 2), image.as_slice()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

fn planning(app: &TestApp, dataset: &str) -> tokio::task::JoinHandle<Answer> {
    let recipe = json!({"dataset": dataset, "base": "base", "name": "new"}).to_string();
    tokio::spawn(Answer::to(app.post_typed("/jobs/finetune?dry_run=true", "application/json", recipe)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_waits_for_no_heavy_image_and_decodes_within_the_memory_of_all() {
    let app = Setup::empty().with(Tiny::Thousand, "base").start().await;
    let heavy = archive(|number| [large_jpeg(8), vec![number]].concat());
    let datasets = [upload(&app, heavy).await, upload(&app, archive(|number| plain([number, 0, 0]))).await];
    let memory = app.engine.decoding_memory().take(u64::MAX).await;
    let estimates = planning(&app, &datasets[0]).await.expect("no panic").ok().json()["estimates"].clone();
    assert!(estimates["minutes"].as_f64() > Some(0.0), "{estimates}");
    let light = planning(&app, &datasets[1]);
    for _ in 0..20 {
        app.get("/healthz").await.ok();
    }
    assert!(!light.is_finished(), "it decodes, and has no memory yet");
    drop(memory);
    light.await.expect("no panic").ok();
    eventually("nothing is held", async || app.engine.decoding_memory().free() == app.engine.decoding_memory().bound()).await;
}
