//! More than the server can do at once: full queues, clients that leave, requests and bodies that take too long.
//!
//! The `slow` model computes for seconds when an image is bright, so what waits behind it waits for certain.

use std::time::Duration;

use reqwest::RequestBuilder;
use tokio::task::JoinHandle;

use crate::support::{Answer, Setup, TestApp, Tiny, eventually, plain};

/// Keeps the worker busy for some seconds, and for less than a request may take.
const BRIGHT: [u8; 3] = [255; 3];

const BLACK: [u8; 3] = [0; 3];

fn sent(request: RequestBuilder) -> JoinHandle<Answer> {
    tokio::spawn(Answer::to(request))
}

/// Waits until as many images hold places in front of `model`.
async fn waiting(app: &TestApp, model: &str, images: f64) {
    let line = format!("graft_queue_images{{model=\"{model}\"}}");
    eventually("the queue has that length", async || app.metric(&line).await == images).await;
}

#[tokio::test]
async fn a_full_queue_is_503_with_retry_after() {
    let setup = Setup::empty().with(Tiny::Slow, "full").configured(|config| config.runtime.queue_images = 2);
    let app = setup.spawn().await;
    app.send(app.post_image("/predict?model=full", plain(BLACK))).await.ok();
    let detail = "the queue of full is full (2 images wait); try again shortly";
    let three = vec![("x", plain(BLACK)); 3];
    app.send(app.post_form("/predict?model=full", &three)).await.problem(503, "queue_full", detail);
    let slow = sent(app.post_form("/predict?model=full", &[("bright", plain(BRIGHT)), ("black", plain(BLACK))]));
    waiting(&app, "full", 2.0).await;
    app.send(app.post_image("/predict?model=full", plain(BLACK))).await.problem(503, "queue_full", detail);
    app.send(app.post_image("/features?model=full", plain(BLACK))).await.problem(503, "queue_full", detail);
    slow.await.expect("no panic").ok();
    app.send(app.post_image("/predict?model=full", plain(BLACK))).await.ok();
}

#[tokio::test]
async fn an_image_whose_client_left_is_not_computed() {
    let setup = Setup::empty().with(Tiny::Slow, "left");
    // One decoder keeps images in the order they came: the second cannot overtake the first on its way to the worker, and in no case
    // they are computed together.
    let app = setup.configured(|config| (config.runtime.decode_threads, config.runtime.max_batch) = (1, 1)).spawn().await;
    let post = |colour| app.post_image("/predict?model=left", plain(colour));
    let slow = sent(post(BRIGHT));
    waiting(&app, "left", 1.0).await;
    let leaving = sent(post(BLACK));
    waiting(&app, "left", 2.0).await;
    leaving.abort();
    // The slow one, and whoever asks for the metrics.
    eventually("it has left", async || app.metric("graft_requests_in_flight").await == 2.0).await;
    slow.await.expect("no panic").ok();
    app.send(post(BLACK)).await.ok();
    assert_eq!(app.metric("graft_batch_images_sum{model=\"left\"}").await, 2.0, "the first image and the last");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503() {
    let setup = Setup::empty().with(Tiny::Slow, "late");
    let app = setup.configured(|config| config.server.request_timeout = Duration::from_millis(300)).spawn().await;
    let answer = app.send(app.post_image("/predict?model=late", plain(BRIGHT))).await;
    answer.problem(503, "timeout", "no answer within 300 ms (`server.request_timeout_ms`)");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408_and_gives_its_memory_back() {
    let setup = Setup::new().configured(|config| {
        config.server.body_idle_timeout = Duration::from_millis(100);
        config.server.max_buffered_bytes = 3000;
    });
    let app = setup.spawn().await;
    let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 3000\r\n\r\n";
    let answer = app.raw(&format!("{head}beginning")).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains("\"code\":\"body_timeout\"")
            && answer.contains("no byte of the body arrived for 100 ms (`server.body_idle_timeout_ms`)"),
        "{answer}"
    );
    app.send(app.post_image("/predict", plain(BLACK))).await.ok();
}
