//! `/healthz`, `/readyz` and `/metrics`: what orchestrators and Prometheus ask.

use serde_json::json;

use crate::support::{Setup, TestApp, Tiny, eventually, plain, publish};

#[tokio::test]
async fn ready_is_when_every_configured_model_is_warm() {
    let preload = Some(["colours", "late"].map(str::to_owned).to_vec());
    let app = Setup::new().configured(|config| config.models.preload = preload).start().await;
    eventually("`colours` is warm", async || !app.get("/readyz").await.text().contains(r#""model":"colours""#)).await;
    let body = app.get("/readyz").await.problem(503, "not_ready", "1 of the configured models cannot answer yet");
    assert_eq!(body["missing"], json!([{"model": "late", "reason": "unknown model `late`; there are `colours`"}]));
    app.get("/healthz").await.ok();
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    publish(&app.repository, Tiny::Thousand, "late");
    eventually("`late` is warm", async || app.get("/readyz").await.status == 200).await;
    assert_eq!(app.get("/readyz").await.ok().json(), json!({"status": "ready"}));
    assert_eq!(app.get("/models/late").await.ok().json()["versions"][0]["loaded"], true);
}

#[tokio::test]
async fn a_configured_model_that_does_not_load_says_why() {
    let setup = Setup::new()
        .with(Tiny::Thousand, "broken")
        .configured(|config| config.models.preload = Some(vec!["colours".to_owned(), "broken".to_owned()]));
    let graph = setup.config().models.dir.join("broken/1/graph.onnx");
    let bytes = std::fs::read(&graph).expect("it was published");
    std::fs::write(&graph, vec![b'x'; bytes.len()]).expect("it can be damaged");
    let app = setup.start().await;
    eventually("the failure is known", async || app.get("/readyz").await.text().contains("cannot be used")).await;
    let body = app.get("/readyz").await.problem(503, "not_ready", "`missing` names each");
    assert_eq!(body["missing"][0]["model"], "broken");
    let answer = app.send(app.post_image("/predict?model=broken", plain([0; 3]))).await;
    let body = answer.problem(404, "unknown_version", "`graph.onnx` is damaged");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("put the file back from a backup")), "{body}");
}

#[tokio::test]
async fn alive_is_alive() {
    let app = Setup::empty().start().await;
    assert_eq!(app.get("/healthz").await.ok().json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn metrics_count_requests_images_and_runs() {
    let app = Setup::new().with(Tiny::Colours, "counted").spawn().await;
    let images = [("a", plain([0; 3])), ("b", plain([0; 3])), ("c", plain([0; 3]))];
    app.send(app.post_form("/models/counted/predict", &images)).await.ok();
    app.send(app.post_image("/models/counted/predict", Vec::new())).await.problem(422, "bad_images", "");
    let answer = app.get("/metrics").await.ok();
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for (line, expected) in [
        ("graft_images_total{model=\"counted\",outcome=\"answered\"}", 3.0),
        ("graft_images_total{model=\"counted\",outcome=\"refused\"}", 1.0),
        ("graft_batch_images_sum{model=\"counted\"}", 3.0),
        ("graft_queue_seconds_count{model=\"counted\"}", 3.0),
        ("graft_queue_images{model=\"counted\"}", 0.0),
    ] {
        assert_eq!(app.metric(line).await, expected, "{line}\n{}", answer.text());
    }
    let rendering = "graft_work_running{lane=\"encode\"}";
    assert!(app.metric(rendering).await >= 1.0, "metrics are rendered where answers are written: {}", answer.text());
    let requests = "graft_requests_total{route=\"/models/{model}/predict\",method=\"POST\",status=\"200\"}";
    assert!(app.metric(requests).await >= 1.0, "{}", answer.text());
    assert!(!answer.text().contains("/models/counted"), "labels are templates, not what a client chose");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_stops_listening() {
    let app = TestApp::spawn().await;
    let address = app.address;
    drop(app);
    eventually("nobody listens", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
}
