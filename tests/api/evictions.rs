//! What goes to make room for a model while requests are at work.
//!
//! A model is busy for as long as a test holds the memory that its image is to be decoded in.

use tokio::task::JoinHandle;

use crate::support::{Answer, Setup, TestApp, Tiny, eventually, plain, threads};

/// A server that has room for so many models of the size of `kept`, which stays.
async fn room_for(models: u64, setup: Setup) -> TestApp {
    let snapshot = setup.repository().scan().expect("it can be read");
    let bytes = snapshot.model("kept").expect("it was published").versions[0].metadata.weights.bytes;
    assert!(bytes > 0, "what counts has a size");
    let setup = setup.configured(|config| {
        config.models.preload = Some(vec!["kept".to_owned()]);
        config.models.max_loaded_bytes = models * bytes;
    });
    setup.spawn().await
}

fn path(model: &str) -> String {
    format!("/models/{model}/predict")
}

async fn predict(app: &TestApp, model: &str) -> Answer {
    app.send(app.post_image(&path(model), plain([0; 3]))).await
}

/// A request whose image has its place in front of `model`, and is not decoded yet.
async fn busy(app: &TestApp, model: &str) -> JoinHandle<Answer> {
    let asking = tokio::spawn(Answer::to(app.post_image(&path(model), plain([0; 3]))));
    let line = format!("graft_queue_images{{model=\"{model}\"}}");
    eventually("it has a place", async || app.metric(&line).await == 1.0).await;
    asking
}

async fn is_loaded(app: &TestApp, model: &str) -> bool {
    app.get(&format!("/models/{model}")).await.ok().json()["versions"][0]["loaded"] == true
}

#[tokio::test]
async fn a_model_behind_a_busy_one_waits_until_that_has_answered() {
    let names = ["kept", "busy", "next"];
    let app = room_for(2, names.into_iter().fold(Setup::empty(), |setup, name| setup.with(Tiny::Thousand, name))).await;
    predict(&app, "busy").await.ok();
    let decoding = app.engine.decoding_memory().take(u64::MAX).await;
    let busy = busy(&app, "busy").await;
    let next = tokio::spawn(Answer::to(app.post_image(&path("next"), plain([0; 3]))));
    eventually("the busy one is to go", async || !is_loaded(&app, "busy").await).await;
    for _ in 0..20 {
        app.get("/healthz").await.ok();
    }
    assert_eq!((threads("graft-busy"), threads("graft-next")), (1, 0), "both together have no room");
    assert!(!busy.is_finished() && !next.is_finished());
    drop(decoding);
    busy.await.expect("no panic").ok();
    next.await.expect("no panic").ok();
    assert!(is_loaded(&app, "next").await && is_loaded(&app, "kept").await);
    eventually("its thread has ended", async || threads("graft-busy") == 0).await;
    app.gives_all_back().await;
}

#[tokio::test]
async fn an_idle_model_goes_before_a_busy_one() {
    let names = ["kept", "busy", "idle", "next"];
    let app = room_for(3, names.into_iter().fold(Setup::empty(), |setup, name| setup.with(Tiny::Thousand, name))).await;
    predict(&app, "busy").await.ok();
    let decoding = app.engine.decoding_memory().take(u64::MAX).await;
    let busy = busy(&app, "busy").await;
    // It has been used before the idle one, and would have to go first.
    let idle = app.send(app.post_image(&path("idle"), b"no image".to_vec())).await;
    assert_eq!(idle.status, 422, "{}", idle.text());
    assert!(is_loaded(&app, "idle").await, "what is no image needs no memory, and its model is loaded");
    let next = app.send(app.post_image(&path("next"), b"no image".to_vec())).await;
    assert_eq!(next.status, 422, "{}", next.text());
    assert_eq!((is_loaded(&app, "busy").await, is_loaded(&app, "idle").await), (true, false));
    assert!(!busy.is_finished());
    drop(decoding);
    busy.await.expect("no panic").ok();
    app.gives_all_back().await;
}

#[tokio::test]
async fn what_cannot_fit_is_refused_at_once_and_a_busy_model_stays() {
    let setup = Setup::empty().with(Tiny::Thousand, "kept").with(Tiny::Thousand, "busy").with(Tiny::FullyConnected, "large");
    let app = room_for(2, setup).await;
    predict(&app, "busy").await.ok();
    let decoding = app.engine.decoding_memory().take(u64::MAX).await;
    let busy = busy(&app, "busy").await;
    for _ in 0..3 {
        predict(&app, "large").await.problem(503, "model_too_large", "`models.max_loaded_bytes`");
    }
    assert!(is_loaded(&app, "busy").await && is_loaded(&app, "kept").await && !busy.is_finished());
    drop(decoding);
    busy.await.expect("no panic").ok();
    app.gives_all_back().await;
}
