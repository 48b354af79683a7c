//! Who is not let in: requests by a strange name, pages of other origins, and everyone where no key exists.

use reqwest::Method;

use crate::support::{Answer, Graft, Setup, TestApp, Tiny, plain, publish};

/// A request with `headers`, of a body that a form on any page can send.
async fn send(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = app.ask(method, path).header("Content-Type", "text/plain").body("{}");
    app.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
}

#[tokio::test]
async fn a_strange_host_reaches_no_route() {
    let app = TestApp::spawn().await;
    for path in ["/", "/models", "/healthz", "/readyz", "/metrics", "/docs/", "/openapi.yaml", "/nothing"] {
        send(&app, Method::GET, path, &[("Host", "evil.example:80")]).await.problem(421, "unknown_host", "`server.hosts`");
    }
    for (method, path) in [(Method::POST, "/predict"), (Method::DELETE, "/models/colours/versions/1"), (Method::OPTIONS, "/jobs")]
    {
        let answer = send(&app, method, path, &[("Host", "evil.example")]).await;
        answer.problem(421, "unknown_host", "not known as `evil.example`");
    }
    for host in ["localhost", "localhost:1", "[::1]:8080", "127.9.9.9"] {
        send(&app, Method::GET, "/models", &[("Host", host)]).await.ok();
    }
    let answer = app.raw("GET /models HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_host"), "{answer}");
    let answer = app.raw("GET /models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("is named twice"), "{answer}");
    let answer = app.raw("GET http://evil.example/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn names_that_are_configured_are_known() {
    let setup = Setup::new().configured(|config| config.server.hosts = vec!["graft.example".to_owned()]);
    let app = setup.start().await;
    send(&app, Method::GET, "/models", &[("Host", "Graft.Example:8443")]).await.ok();
    send(&app, Method::GET, "/models", &[("Host", "other.example")]).await.problem(421, "unknown_host", "");
}

#[tokio::test]
async fn a_page_elsewhere_changes_nothing() {
    let app = TestApp::spawn().await;
    let changing = [
        (Method::POST, "/datasets"),
        (Method::POST, "/jobs/finetune"),
        (Method::POST, "/jobs/x/cancel"),
        (Method::POST, "/predict"),
        (Method::PUT, "/models/colours/stable"),
        (Method::DELETE, "/models/colours/versions/1"),
        (Method::DELETE, "/datasets/x"),
    ];
    for (method, path) in changing {
        for headers in [[("Origin", "http://evil.example")], [("Origin", "null")], [("Sec-Fetch-Site", "cross-site")]] {
            let answer = send(&app, method.clone(), path, &headers).await;
            answer.problem(403, "foreign_origin", "`server.cors_origins`");
        }
    }
    assert_eq!(app.get("/datasets").await.ok().json()["datasets"], serde_json::json!([]));
    app.get("/models/colours").await.ok();
    let own = format!("http://{}", app.address);
    let photo = app.post_image("/predict", plain([0; 3])).header("Origin", own).header("Sec-Fetch-Site", "same-origin");
    let answer = app.send(photo).await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), "");
    // Reading is for the browser to refuse: without a header it shows the page nothing.
    let answer = send(&app, Method::GET, "/models", &[("Origin", "http://evil.example")]).await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), "");
    send(&app, Method::OPTIONS, "/predict", &[("Origin", "http://evil.example")]).await.problem(405, "method_not_allowed", "");
    let asking = [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "DELETE")];
    let answer = send(&app, Method::OPTIONS, "/models/colours/versions/1", &asking).await;
    answer.problem(403, "foreign_origin", "`http://evil.example` may change nothing here; an origin that may is listed in");
}

#[tokio::test]
async fn a_page_that_is_allowed_reads_answers_and_errors() {
    let origin = "https://app.example";
    let app = Setup::new().configured(|config| config.server.cors_origins = vec![origin.to_owned()]).spawn().await;
    let asking = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let answer = send(&app, Method::OPTIONS, "/predict", &asking).await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    assert_eq!(answer.header("access-control-allow-headers"), "authorization,content-type");
    assert!(answer.header("access-control-allow-methods").contains("DELETE"));
    let photo = app.post_image("/predict", plain([0; 3])).header("Origin", origin).header("Sec-Fetch-Site", "cross-site");
    let answer = app.send(photo).await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    let exposed = answer.header("access-control-expose-headers").to_owned();
    for name in ["graft-model", "graft-version", "graft-pretrained", "server-timing", "x-request-id"] {
        assert!(!answer.header(name).is_empty() && exposed.contains(name), "{name}: {exposed}");
    }
    let answer = app.send(app.post_image("/predict", Vec::new()).header("Origin", origin)).await;
    assert_eq!(answer.header("access-control-allow-origin"), origin, "a page reads why it is refused");
    // Nobody else profits.
    for other in ["https://app.example.evil.example", "http://app.example", "null"] {
        let answer = send(&app, Method::OPTIONS, "/predict", &[("Origin", other), asking[1], asking[2]]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
        send(&app, Method::POST, "/predict", &[("Origin", other)]).await.problem(403, "foreign_origin", "");
    }
}

#[tokio::test]
async fn any_page_may_be_allowed() {
    let app = Setup::new().configured(|config| config.server.cors_origins = vec!["*".to_owned()]).spawn().await;
    let photo = app.post_image("/predict", plain([0; 3])).header("Origin", "http://any.example");
    assert_eq!(app.send(photo).await.ok().header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn others_are_not_answered_without_keys_unless_allowed() {
    let setup = Setup::empty();
    publish(setup.repository(), Tiny::Colours, "colours");
    let models = &setup.config().models.dir;
    let open = ("GRAFT__SERVER__HOST", "0.0.0.0");
    let refusal = Graft::refusal(models, "colours", &[open]);
    assert!(
        refusal.line().contains("`graft keys create`") && refusal.line().contains("`server.allow_anonymous`"),
        "{}",
        refusal.log
    );
}
