//! Clients that hang up, stop reading, or only open connections: what runs goes on and is bounded, and others are answered.
//!
//! Each test looks at what runs: at threads by their names, at connections, at who still gets answers.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Plans, Setup, TestApp, Tiny, eventually, finetune, plain, png, threads};

/// An open connection on which a `POST` of `image` was sent.
async fn posted(app: &TestApp, path: &str, image: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(app.address).await.expect("it listens");
    let length = image.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.write_all(image).await.expect("it reads");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_images_are_decoded_one_by_one_and_end_with_their_clients() {
    let app = TestApp::spawn().await;
    let heavy = png(7000, 7000, |_, _| [200; 3]);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(posted(&app, "/predict", &heavy).await);
    }
    eventually("one is decoded", async || threads("graft-lane") > 0).await;
    for _ in 0..3 {
        app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
        assert!(threads("graft-lane") <= 1, "heavy images have one thread");
    }
    drop(clients);
    eventually("nothing is decoded any more", async || threads("graft-lane") == 0).await;
    eventually("no image has a place", async || app.metric("graft_queue_images{model=\"colours\"}").await == 0.0).await;
    app.send(app.post_image("/predict", plain([9; 3]))).await.ok();
}

#[tokio::test]
async fn a_load_goes_on_whoever_leaves_and_is_one() {
    let app = Setup::new().with(Tiny::Thousand, "late").spawn().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(posted(&app, "/predict?model=late", &plain([9; 3])).await);
    }
    eventually("it is being loaded", async || threads("graft-late") > 0).await;
    drop(clients);
    let is_loaded = async || app.get("/models/late").await.ok().json()["versions"][0]["loaded"] == true;
    eventually("it is loaded, though nobody waited", is_loaded).await;
    app.send(app.post_image("/predict?model=late", plain([9; 3]))).await.ok();
    assert_eq!(threads("graft-late"), 1);
}

#[tokio::test]
async fn a_plan_has_its_place_until_it_is_made() {
    let (planner, gate) = Plans::gated();
    let setup = Setup::empty().configured(|config| config.server.max_client_percent = 10);
    let (app, _) = setup.with_jobs(planner).await;
    let request = finetune(&app, "?dry_run=true", &json!({"name": "slow"}));
    let first = tokio::spawn(request.send());
    gate.reached.notified().await;
    first.abort();
    let another = async || app.send(finetune(&app, "?dry_run=true", &json!({"name": "cats"}))).await;
    assert!(first.await.is_err_and(|error| error.is_cancelled()), "its client has left");
    for _ in 0..20 {
        app.get("/healthz").await.ok();
    }
    another().await.problem(503, "busy", "as many jobs and dry runs are being planned as may");
    app.ask(reqwest::Method::DELETE, "/datasets/none").send().await.expect("others do not wait for plans");
    gate.open.send(()).expect("the planner waits");
    eventually("its place is free", async || another().await.status == 200).await;
}

#[tokio::test]
async fn a_plan_that_takes_too_long_is_given_up_and_keeps_its_place() {
    let (planner, gate) = Plans::gated();
    let setup = Setup::empty().configured(|config| {
        (config.server.max_client_percent, config.server.request_timeout) = (10, Duration::from_millis(300));
    });
    let (app, _) = setup.with_jobs(planner).await;
    let plan = async |name: &str| app.send(finetune(&app, "?dry_run=true", &json!({"name": name}))).await;
    plan("slow").await.problem(503, "timeout", "the job was not planned within 300 ms (`server.request_timeout_ms`)");
    plan("cats").await.problem(503, "busy", "as many jobs and dry runs are being planned as may");
    gate.open.send(()).expect("the planner waits");
    eventually("its place is free", async || plan("cats").await.status == 200).await;
}

#[tokio::test]
async fn who_reads_nothing_loses_the_connection_and_others_are_answered() {
    let setup = Setup::new().configured(|config| config.server.write_timeout = Duration::from_millis(200));
    let app = setup.spawn().await;
    let mut stalled = TcpStream::connect(app.address).await.expect("it listens");
    // More answers than the kernel keeps for the two of them.
    let request = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let asked = 16;
    stalled.write_all(request.repeat(asked).as_bytes()).await.expect("it reads");
    let one = app.get("/docs/swagger-ui-bundle.js").await.ok().text().len();
    let open = || connections(&app).len();
    eventually("it stalls", async || open() > 0).await;
    eventually("it is closed by the server", async || open() == 0).await;
    let mut read = Vec::new();
    stalled.read_to_end(&mut read).await.ok();
    assert!(read.len() < asked * one, "{} bytes of {asked} answers of {one} arrived", read.len());
    app.get("/healthz").await.ok();
}

/// Ports of those whose connections the server has open; the test client's own, which it keeps for later, are left out.
fn connections(app: &TestApp) -> Vec<u16> {
    let port = format!("{:04X}", app.address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux tells");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Those with something unsent: an idle connection has nothing.
    let stalled = rows.filter(|row| row[1].ends_with(&port) && row[3] == "01" && !row[4].starts_with("00000000"));
    stalled.filter_map(|row| u16::from_str_radix(row[2].rsplit(':').next()?, 16).ok()).collect()
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let app = Setup::new().configured(|config| config.server.max_connections = 8).spawn().await;
    // One address has half of them, the test's own client one of these.
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(app.address).await.expect("the system accepts"));
    }
    let mut refused = 0;
    for stream in idle.iter_mut().skip(4) {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it is closed in order");
        refused += usize::from(answer.starts_with("HTTP/1.1 503") && answer.contains("`server.max_client_percent`"));
    }
    assert_eq!(refused, 4, "those beyond the share read why");
    app.get("/healthz").await.ok();
    drop(idle);
    let answers = async || {
        let mut stream = TcpStream::connect(app.address).await.expect("it listens");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200")
    };
    eventually("there are places again", answers).await;
}

#[tokio::test]
async fn one_client_has_a_share_of_streams() {
    let setup = Setup::empty().configured(|config| config.jobs.max_streams = 2);
    let (app, _jobs) = setup.with_jobs(Plans::default()).await;
    let id = app.send(finetune(&app, "", &json!({"name": "cats"}))).await.json()["id"].as_str().expect("an id").to_owned();
    let _first = app.ask(reqwest::Method::GET, &format!("/jobs/{id}/events")).send().await.expect("it answers");
    let second = app.get(&format!("/jobs/{id}/events")).await;
    second.problem(503, "too_many_streams", "1 event streams are open, the share of one client (`server.max_client_percent`)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_refused_and_ends_its_connection() {
    let app = TestApp::spawn().await;
    for (target, host) in [("example.com:443", "example.com:443"), ("localhost:80", "localhost"), ("localhost:80", "other")] {
        let mut stream = TcpStream::connect(app.address).await.expect("it listens");
        stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        // To the end of the connection, which the client leaves open.
        stream.read_to_string(&mut answer).await.expect("it answers");
        let head = answer.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 405 ") && head.contains("connection: close"), "{answer}");
        assert!(head.contains("application/problem+json") && answer.contains("graft is no proxy"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_nobody_serves_is_ignored() {
    let app = TestApp::spawn().await;
    let mut stream = TcpStream::connect(app.address).await.expect("it listens");
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answers = String::new();
    stream.write_all(format!("{upgrade}{last}").as_bytes()).await.expect("it reads");
    stream.read_to_string(&mut answers).await.expect("it answers");
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 2, "{answers}");
}
