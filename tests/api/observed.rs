//! What operators see of requests: one line of the log each, metrics that say what they are; and headers that browsers keep to.

use std::collections::BTreeMap;

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{Answer, Graft, Setup, TestApp, Tiny, eventually, plain, publish};

/// What a name from outside may try: to end a line, to write another, to clear a terminal, to turn the text around.
const HOSTILE: &str = "a\r\nX-Forged: 1\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[2J\u{202e}\u{2028}";

fn serve() -> (Setup, Graft) {
    let setup = Setup::empty();
    publish(setup.repository(), Tiny::Colours, "colours");
    let graft = Graft::serve(&setup.config().models.dir, "colours", &[]);
    (setup, graft)
}

async fn send(graft: &Graft, method: Method, path: &str, id: &str, body: Vec<u8>) -> Answer {
    let client = Client::builder().no_proxy().build().expect("a client can be built");
    let request = client.request(method, format!("http://{}{path}", graft.address)).header("X-Request-Id", id);
    Answer::to(request.header("Content-Type", "image/png").body(body)).await
}

/// The log's lines about requests by their ids, down to that of `last`, which comes once.
fn lines(graft: &mut Graft, last: &str) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::<String, Vec<Value>>::new();
    while !found.contains_key(last) {
        let line = graft.log_line();
        if !line["total_ms"].is_null() {
            found.entry(line["span"]["id"].as_str().expect("a request has an id").to_owned()).or_default().push(line);
        }
    }
    found
}

#[tokio::test]
async fn a_request_has_one_line() {
    let (_setup, mut graft) = serve();
    let photo = plain([0; 3]);
    let sent = photo.len();
    let answer = send(&graft, Method::POST, "/predict", "photo", photo).await.ok();
    send(&graft, Method::GET, "/nothing", "nothing", Vec::new()).await.problem(404, "not_found", "");
    let mut left = TcpStream::connect(graft.address).await.expect("it listens");
    let head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: left\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n";
    left.write_all(format!("{head}half").as_bytes()).await.expect("it reads");
    drop(left);
    let before = lines(&mut graft, "left");
    send(&graft, Method::GET, "/healthz", "last", Vec::new()).await.ok();
    let after = lines(&mut graft, "last");
    assert!(!after.contains_key("left"), "a client that leaves is written of once: {after:?}");
    let of = |id: &str| match &before[id][..] {
        [line] => line,
        lines => panic!("{id} has {lines:?}"),
    };
    let line = of("photo");
    assert_eq!(
        (&line["status"], &line["model"], &line["version"], &line["images"]),
        (&200.into(), &"colours".into(), &1.into(), &1.into())
    );
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&sent.into(), &answer.text().len().into()));
    for number in ["decode_ms", "queue_ms", "inference_ms", "total_ms"] {
        assert!(line[number].is_f64(), "{number}: {line}");
    }
    let line = of("nothing");
    assert_eq!((&line["status"], &line["code"], &line["message"]), (&404.into(), &"not_found".into(), &"answered".into()));
    assert!(line["bytes_out"].as_u64() > Some(100) && line["model"].is_null(), "{line}");
    // Whether it is seen first that the body ends or that the client has gone is the system's affair, and nobody else's.
    let line = of("left");
    assert_eq!(
        (&line["bytes_in"], &line["status"], &line["message"], &line["code"]),
        (&4.into(), &499.into(), &"its client left".into(), &Value::Null)
    );
    let metrics = send(&graft, Method::GET, "/metrics", "metrics", Vec::new()).await.ok().text();
    assert!(!metrics.contains("code=\"malformed_body\"") && !metrics.contains("status=\"400\""), "{metrics}");
}

#[tokio::test]
async fn hostile_names_forge_neither_lines_nor_headers() {
    let (_setup, mut graft) = serve();
    let encoded: String = HOSTILE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let paths = [
        format!("/models/{encoded}/predict"),
        format!("/models/colours/versions/{encoded}/predict"),
        format!("/features?layer={encoded}"),
        format!("/predict?model={encoded}"),
        format!("/predict?{encoded}=1"),
        format!("/{encoded}"),
        format!("/jobs/{encoded}"),
        format!("/datasets/{encoded}"),
    ];
    for path in &paths {
        let answer = send(&graft, Method::POST, path, "hostile", plain([0; 3])).await;
        assert!(answer.status >= 400 && answer.header("x-forged").is_empty(), "{path}");
    }
    let mut form =
        format!("--x\r\nContent-Disposition: form-data; name=\"image\"; filename*=UTF-8''{encoded}\r\n\r\n").into_bytes();
    form.extend_from_slice(b"no image\r\n--x--\r\n");
    let answer = graft.post("/predict", "multipart/form-data; boundary=x", form).await;
    assert!(answer.status >= 400 && answer.header("x-forged").is_empty());
    // An id that is no word is replaced.
    let answer = send(&graft, Method::GET, "/healthz", "a b\"}", Vec::new()).await.ok();
    assert_eq!(answer.header("x-request-id").len(), 36);
    send(&graft, Method::GET, "/healthz", "last", Vec::new()).await.ok();
    // Every line is one JSON value, or reading it would fail.
    let found = lines(&mut graft, "last");
    assert_eq!(found["hostile"].len(), paths.len());
    assert!(!found.values().flatten().any(|line| line["message"] == "forged"));
}

#[tokio::test]
async fn every_metric_says_what_it_is() {
    let app = TestApp::spawn().await;
    app.send(app.post_image("/predict", plain([0; 3]))).await.ok();
    app.get("/nothing").await.problem(404, "not_found", "");
    let text = app.get("/metrics").await.ok().text();
    let described = |kind: &str| -> Vec<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix(&format!("# {kind} "))?.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let (helps, types) = (described("HELP"), described("TYPE"));
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().expect("a line has a name");
        let family = |name: &str| helps.iter().any(|own| own == name) && types.iter().any(|own| own == name);
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(family(name) || family(base), "{name} has no HELP or no TYPE");
    }
    for name in
        ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_threads", "process_cpu_seconds_total"]
    {
        assert!(app.metric(name).await > 0.0, "{name}");
    }
    assert!(text.contains("# TYPE process_cpu_seconds_total counter") && text.contains("process_start_time_seconds "));
    assert!(app.metric("graft_refusals_total{code=\"not_found\"}").await >= 1.0);
    assert!(app.metric("graft_connections_open").await >= 1.0);
    for state in ["queued", "running", "succeeded", "failed", "cancelled"] {
        assert!(text.contains(&format!("graft_jobs{{state=\"{state}\"}} 0")), "{state}");
    }
    let idle = TcpStream::connect(app.address).await.expect("it listens");
    eventually("it is counted", async || app.metric("graft_connections_open").await >= 2.0).await;
    drop(idle);
    eventually("it is counted no more", async || app.metric("graft_connections_open").await < 2.0).await;
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is_not_for() {
    let app = TestApp::spawn().await;
    let svg = app.post_image("/features?layer=probs", plain([0; 3])).header("Accept", "image/svg+xml");
    let mut answers = vec![(false, app.send(svg).await), (false, app.send(app.post_image("/predict", plain([0; 3]))).await.ok())];
    for path in ["/models", "/healthz", "/metrics", "/openapi.yaml", "/nothing", "/docs/", "/docs/swagger-ui-bundle.js"] {
        answers.push((path.starts_with("/docs"), app.get(path).await));
    }
    answers.push((false, app.send(app.ask(Method::GET, "/models").header("Host", "evil.example")).await));
    for (is_page, answer) in answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", ""),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {}", answer.text());
        }
        let policy = answer.header("content-security-policy");
        let scripts = policy.split("; ").find(|part| part.starts_with("script-src"));
        assert_eq!(scripts, is_page.then_some("script-src 'self'"), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(["no-store", "no-cache"].contains(&answer.header("cache-control")), "{}", answer.header("cache-control"));
    }
}
