//! Doors over a router: what holds a place in flight, and who is said to ask.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use tokio::sync::Notify;

use super::*;
use crate::{
    access::{Key, Limits, NewKey},
    config::Auth,
    http::{compress, testing::answer},
    work::Lane,
};

/// A door to one who may have one request in flight, and the key.
fn door() -> (Door, NewKey) {
    let new = NewKey::random().expect("the system has randomness");
    let key = Key {
        id: new.id.clone(),
        name: "ci".parse().expect("a name"),
        digest: new.digest,
        scope: Scope::Predict,
        limits: Limits { in_flight: Some(1), ..Limits::default() },
        created: SystemTime::now(),
        expires: None,
        revoked: None,
    };
    (Door::new(Gate::new(Auth::Auto, vec![key], true, Instant::now()), true), new)
}

fn behind(routes: Router, door: Door) -> Router {
    let guard = middleware::from_fn(|request: Request, next: Next| pass(Scope::Predict.into(), request, next));
    routes.route_layer(guard).layer(middleware::from_fn_with_state(door, identify))
}

fn ask(key: &NewKey) -> Request {
    Request::get("/").header("X-API-Key", key.reveal()).body(Body::empty()).expect("valid")
}

#[tokio::test]
async fn work_that_goes_on_holds_its_place() {
    let [begun, finish] = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let (begin, finished) = (Arc::clone(&begun), Arc::clone(&finish));
    let handler = async move |request: Request| {
        let admitted = request.extensions().get::<Admitted>().cloned().expect("a key let it in");
        let work = tokio::spawn(async move {
            begin.notify_one();
            finished.notified().await;
            drop(admitted);
        });
        work.await.expect("no panic");
    };
    let (door, key) = door();
    let router = behind(Router::new().route("/", get(handler)), door);
    let first = tokio::spawn({
        let (router, request) = (router.clone(), ask(&key));
        async move { answer(&router, request).await }
    });
    begun.notified().await;
    // As a client does that hangs up.
    first.abort();
    assert!(first.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(answer(&router, ask(&key)).await.0.as_u16(), 429, "its work goes on");
    finish.notify_one();
    finish.notify_one();
    let free = async {
        while answer(&router, ask(&key)).await.0.as_u16() != 200 {
            finish.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("its work has ended");
}

#[tokio::test]
async fn an_answer_that_is_not_read_holds_its_place() {
    use tower::ServiceExt as _;
    let (door, key) = door();
    let router = behind(Router::new().route("/", get(async || "an answer")), door);
    let unread = router.clone().oneshot(ask(&key)).await.expect("a router is infallible");
    assert_eq!(unread.status().as_u16(), 200);
    let (status, headers, _) = answer(&router, ask(&key)).await;
    assert_eq!((status.as_u16(), headers["retry-after"].as_bytes()), (429, b"1".as_slice()));
    drop(unread);
    let (status, headers, _) = answer(&router, ask(&key)).await;
    assert_eq!(status.as_u16(), 200);
    assert_eq!(headers["ratelimit-policy"], r#""in-flight";q=1;qu="concurrent-requests""#);
    assert_eq!(headers["content-length"], "9", "a held body is as long as before");
}

#[tokio::test]
async fn who_has_read_an_answer_may_ask_the_next_at_once() {
    use futures_util::StreamExt as _;
    use tower::ServiceExt as _;
    let (door, key) = door();
    let router = behind(Router::new().route("/", get(async || "x".repeat(200_000))), door);
    let mut body = router.clone().oneshot(ask(&key)).await.expect("a router is infallible").into_body().into_data_stream();
    let mut read = 0;
    while read < 200_000 {
        assert_eq!(answer(&router, ask(&key)).await.0.as_u16(), 429, "after {read} bytes");
        read += body.next().await.expect("there is more").expect("it arrives").len();
    }
    // What is on its way is still held by whoever writes it.
    assert_eq!(answer(&router, ask(&key)).await.0.as_u16(), 200);
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_compressed_answer_holds_its_place_until_it_is_sent() {
    use tower::ServiceExt as _;
    let (door, key) = door();
    let compress = middleware::from_fn_with_state(Lane::new("test", 1, usize::MAX), compress::compress);
    let router = behind(Router::new().route("/", get(async || "text ".repeat(1000))), door).layer(compress);
    let mut request = ask(&key);
    request.headers_mut().insert("accept-encoding", "gzip".parse().expect("valid"));
    let (parts, unread) = router.clone().oneshot(request).await.expect("a router is infallible").into_parts();
    assert_eq!(parts.headers["content-encoding"], "gzip");
    // As hyper does once it has written the head.
    drop(parts);
    assert_eq!(answer(&router, ask(&key)).await.0.as_u16(), 429);
    drop(unread);
    assert_eq!(answer(&router, ask(&key)).await.0.as_u16(), 200);
}

#[tokio::test]
async fn who_asks_is_known_behind_the_door_and_before_it() {
    use tower::ServiceExt as _;
    let says = async |request: Request| {
        let extensions = request.extensions();
        let client = client(extensions).to_string();
        assert!(!request.headers().contains_key("x-api-key") && !request.headers().contains_key("authorization"));
        client
    };
    let (door, key) = door();
    let router = behind(Router::new().route("/", get(says)), door);
    let response = router.clone().oneshot(ask(&key)).await.expect("a router is infallible");
    assert_eq!(response.extensions().get::<Client>().and_then(Client::key_name), Some("ci"));
    let mut nobody = Request::get("/").body(Body::empty()).expect("valid");
    nobody.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 9))));
    let refused = router.oneshot(nobody).await.expect("a router is infallible");
    assert_eq!(refused.extensions().get::<Client>().map(Client::to_string).as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn a_route_that_nobody_prepared_is_shut() {
    let guard = middleware::from_fn(|request: Request, next: Next| pass(Needs::Nothing, request, next));
    let router = Router::new().route("/", get(async || "an answer")).route_layer(guard);
    let request = Request::get("/").body(Body::empty()).expect("valid");
    assert_eq!(answer(&router, request).await.0.as_u16(), 500);
}
