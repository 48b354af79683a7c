//! Clients that hang up at each stage of their work: what runs ends or keeps what bounds it, and all of it comes back.
//!
//! Work waits for as long as a test holds the memory that images are decoded in.

use std::{net::Ipv4Addr, path::Path};

use crate::{
    finetune::drawings,
    support::{Setup, TestApp, Tiny, eventually, plain, png, threads},
};

const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A request as it is sent.
fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn an_image_that_waits_to_be_decoded_is_given_up() {
    let app = TestApp::spawn().await;
    let decoding = app.engine.decoding_memory().take(u64::MAX).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(app.asked(CLIENT, &post("/predict", "image/png", &plain([9; 3]))).await);
    }
    let places = async || app.metric("graft_queue_images{model=\"colours\"}").await;
    eventually("they have their places", async || places().await == 8.0).await;
    assert!(app.engine.admissions().memory().used() > 0);
    drop(clients);
    eventually("their places are free", async || places().await == 0.0).await;
    eventually("so is their memory", async || app.engine.admissions().memory().used() == 0).await;
    drop(decoding);
    app.gives_all_back().await;
    app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_rare_layers_are_built_one_at_a_time_and_leave_nothing() {
    let setup = Setup::new().with(Tiny::Block, "rare").configured(|config| config.runtime.cut_cache_bytes = 1);
    let app = setup.spawn().await;
    let listed = app.get("/models/rare/layers").await.ok().json();
    let layers: Vec<String> = listed["layers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|layer| layer["name"].as_str().map(str::to_owned))
        .collect();
    let photo = png(32, 32, |x, y| [x as u8, y as u8, 0]);
    let path = |layer: &str| format!("/features?model=rare&layer={layer}&pool=none");
    app.send(app.post_image(&path(&layers[0]), photo.clone())).await.ok();
    for _ in 0..4 {
        let decoding = app.engine.decoding_memory().take(u64::MAX).await;
        let mut clients = Vec::new();
        for layer in &layers {
            clients.push(app.asked(CLIENT, &post(&path(layer), "image/png", &photo)).await);
        }
        let places = async || app.metric("graft_queue_images{model=\"rare\"}").await;
        eventually("they have their places", async || places().await == layers.len() as f64).await;
        drop(decoding);
        app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
        // Threads of those that are built may be about to end.
        assert!(threads("build-rare") < layers.len(), "they are not all built at once");
        drop(clients);
        app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
    }
    eventually("nothing is built any more", async || threads("build-rare") == 0).await;
    app.gives_all_back().await;
    for layer in &layers {
        app.send(app.post_image(&path(layer), photo.clone())).await.ok();
    }
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn an_upload_whose_images_are_checked_ends_and_leaves_nothing() {
    let setup = Setup::empty().with(Tiny::Colours, "colours").configured(|config| config.datasets.max_uploads = 1);
    let folder = setup.config().data.dir.join("datasets");
    let app = setup.start().await;
    let decoding = app.engine.decoding_memory().take(u64::MAX).await;
    let client = app.asked(CLIENT, &post("/datasets", "application/zip", &drawings(5, 1))).await;
    let unpacked =
        || std::fs::read_dir(&folder).into_iter().flatten().flatten().any(|upload| entries(&upload.path().join("images")) > 0);
    eventually("it is unpacked", async || unpacked()).await;
    let another = async || app.send(app.post_typed("/datasets", "application/zip", "no archive")).await;
    another().await.problem(503, "busy", "");
    drop(client);
    // Nobody has given the memory back that it waits for.
    eventually("its place is free", async || another().await.status == 422).await;
    eventually("its files are gone", async || entries(&folder) == 0).await;
    drop(decoding);
    app.gives_all_back().await;
    let sent = app.send(app.post_typed("/datasets", "application/zip", drawings(5, 1))).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
}
