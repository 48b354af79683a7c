//! What one client may have of what all share, and what is left for the others: clients here are addresses of the loopback.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpSocket, net::TcpStream};

use crate::support::{Answer, Graft, Setup, TestApp, Tiny, eventually, plain};

const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Somebody with another address than the test's own client.
fn somebody() -> Client {
    let builder = Client::builder().no_proxy().local_address(IpAddr::V4(OTHER));
    builder.build().expect("a client without TLS can be built")
}

fn request(app: &TestApp, client: &Client, method: Method, path: &str) -> reqwest::RequestBuilder {
    client.request(method, format!("http://{}{path}", app.address)).header("Content-Type", "application/octet-stream")
}

#[tokio::test]
async fn a_full_share_of_a_queue_leaves_the_rest_to_others() {
    let setup = Setup::empty().with(Tiny::Slow, "slow").configured(|config| {
        (config.runtime.queue_images, config.server.max_images) = (4, 2);
    });
    let app = setup.spawn().await;
    app.send(app.post_image("/predict?model=slow", plain([0; 3]))).await.ok();
    let bright = [("a", plain([255; 3])), ("b", plain([255; 3]))];
    let slow = tokio::spawn(Answer::to(app.post_form("/predict?model=slow", &bright)));
    eventually("they wait", async || app.metric("graft_queue_images{model=\"slow\"}").await == 2.0).await;
    let refused = app.send(app.post_image("/predict?model=slow", plain([0; 3]))).await;
    refused.problem(503, "queue_full", "2 images of this client, its share (`server.max_client_percent`), wait");
    let other = request(&app, &somebody(), Method::POST, "/predict?model=slow").body(plain([0; 3]));
    Answer::to(other).await.ok();
    slow.await.expect("no panic").ok();
}

#[tokio::test]
async fn a_large_request_does_not_hold_up_a_single_photo() {
    let setup = Setup::empty().with(Tiny::Slow, "slow").configured(|config| config.runtime.max_batch = 1);
    let app = setup.spawn().await;
    app.send(app.post_image("/predict?model=slow", plain([0; 3]))).await.ok();
    let grey: Vec<(&str, Vec<u8>)> = (0..16).map(|_| ("x", plain([120; 3]))).collect();
    let large = tokio::spawn(Answer::to(app.post_form("/predict?model=slow", &grey)));
    eventually("they wait", async || app.metric("graft_queue_images{model=\"slow\"}").await >= 8.0).await;
    app.send(app.post_image("/predict?model=slow", plain([0; 3]))).await.ok();
    assert!(!large.is_finished(), "the photo was answered before the last of sixteen");
    large.await.expect("no panic").ok();
}

#[tokio::test]
async fn what_is_declared_and_not_sent_takes_nothing_from_others() {
    let app = Setup::new().configured(|config| config.server.max_buffered_bytes = 300_000).spawn().await;
    let mut silent = Vec::new();
    for _ in 0..18 {
        let mut stream = TcpStream::connect(app.address).await.expect("it listens");
        let head =
            "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 150000\r\n\r\nbeginning";
        stream.write_all(head.as_bytes()).await.expect("it reads");
        silent.push(stream);
    }
    for _ in 0..4 {
        app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
    }
}

#[tokio::test]
async fn one_client_has_a_share_of_uploads() {
    let app = Setup::new().configured(|config| config.datasets.max_uploads = 2).spawn().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    let mut slow = socket.connect(app.address).await.expect("it listens");
    let head = "POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\nContent-Length: 1000000\r\n\r\nP";
    slow.write_all(head.as_bytes()).await.expect("it reads");
    let upload = |client: &Client| Answer::to(request(&app, client, Method::POST, "/datasets").body("no archive"));
    let own = Client::builder().no_proxy().build().expect("a client");
    eventually("its share is full", async || upload(&own).await.status == 503).await;
    upload(&own).await.problem(503, "busy", "`server.max_client_percent`");
    upload(&somebody()).await.problem(422, "bad_archive", "");
    drop(slow);
    eventually("it is free again", async || upload(&own).await.status == 422).await;
}

#[tokio::test]
async fn a_model_that_cannot_fit_unloads_no_other() {
    let setup = Setup::new().with(Tiny::Slow, "other").with(Tiny::Thousand, "large");
    let bytes = |name: &str| {
        let snapshot = setup.repository().scan().expect("it can be read");
        let model = snapshot.models.iter().find(|model| model.name == name).expect("it was published");
        model.versions[0].metadata.weights.bytes
    };
    let bound = bytes("large") + bytes("colours") - 1;
    assert!(bound >= bytes("colours") + bytes("other"), "two of them fit");
    let app = setup.configured(|config| config.models.max_loaded_bytes = bound).spawn().await;
    app.send(app.post_image("/predict?model=other", plain([0; 3]))).await.ok();
    let refused = app.send(app.post_image("/predict?model=large", plain([0; 3]))).await;
    refused.problem(503, "model_too_large", "`models.max_loaded_bytes`");
    let loaded = app.get("/models/other").await.ok().json()["versions"][0]["loaded"].clone();
    assert_eq!(loaded, Value::Bool(true), "it was not unloaded for nothing");
}

#[tokio::test]
async fn open_files_are_looked_at_before_connections_need_them() {
    let setup = Setup::empty().with(Tiny::Colours, "colours");
    let models = &setup.config().models.dir;
    let refusal = Graft::refusal_with_files(models, "colours", 200);
    assert!(refusal.log.contains("this process may open 200 files") && refusal.log.contains("ulimit -n"), "{}", refusal.log);
    let graft = Graft::with_files(models, "colours", 256);
    let mut idle = Vec::new();
    for _ in 0..256 {
        idle.extend(TcpStream::connect(graft.address).await);
    }
    let answer = somebody().get(format!("http://{}/healthz", graft.address));
    Answer::to(answer).await.ok();
}
