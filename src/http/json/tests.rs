//! Bodies within bounds, and answers within memory.

use std::sync::{Arc, mpsc};

use tokio::sync::Notify;

use super::*;
use crate::{
    http::testing::intake,
    work::{Client, Desk},
};

async fn check(content_type: Option<&str>, body: &'static str, expected: Result<&str, &str>) {
    let mut request = axum::http::Request::new(());
    if let Some(kind) = content_type {
        request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("valid"));
    }
    let intake = intake();
    let reading = async {
        let received = Received::from(&intake, &request.into_parts().0, Body::from(body)).await?;
        received.read(&intake, parse::<serde_json::Value>).await
    };
    let got = reading.await.map(|(json, _)| json.to_string()).map_err(|error| error.to_string());
    match expected {
        Ok(expected) => assert_eq!(got.as_deref(), Ok(expected)),
        Err(expected) => assert!(got.as_ref().is_err_and(|error| error.contains(expected)), "{got:?}"),
    }
}

#[test]
fn an_answer_takes_memory_as_it_grows() {
    let admissions = crate::http::testing::admissions(300_000);
    let written = |count: usize, limit: usize| {
        let admission = admissions.admit(&Client::local(), None);
        let bytes = super::written(&"x".repeat(count), limit, &admission).map_err(|error| error.to_string());
        (bytes.map(|bytes| bytes.len()), admissions.memory().used())
    };
    assert_eq!(written(10, 1000), (Ok(12), 1000));
    assert_eq!(written(100_000, 1_000_000), (Ok(100_002), 2 * CHUNK as u64));
    let (refused, held) = written(100_000, 10_000);
    assert!(refused.is_err_and(|error| error.contains("more than 10000 bytes (`server.max_response_bytes`)")));
    assert!(held <= 10_000, "{held}");
    assert!(written(400_000, 1_000_000).0.is_err_and(|error| error.contains("try again shortly")));
    assert_eq!(admissions.memory().used(), 0);
}

#[test]
fn parts_are_counted_before_they_are_made() {
    let list = |part: &str, count: usize| format!("[{}]", vec![part; count].join(","));
    for (body, expected) in [
        (list("{}", 4095), None),
        (list("{}", 4096), Some("the JSON body has more than 4096 lists and objects")),
        (list("1", 200_001), None),
        (list("1", 200_002), Some("the JSON body has more than 200000 values")),
    ] {
        let refused = parse::<serde::de::IgnoredAny>(body.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(refused.as_deref().is_none(), expected.is_none(), "{refused:?}");
        assert!(refused.is_none_or(|refused| refused.contains(expected.unwrap_or_default())));
    }
}

#[tokio::test]
async fn what_is_read_holds_its_memory() {
    let intake = Intake { max_body_bytes: 1 << 20, admissions: crate::http::testing::admissions(400_000), ..intake() };
    let memory = || intake.admissions.memory().used();
    let receive = async |body: String| {
        let mut request = axum::http::Request::new(());
        request.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("valid"));
        Received::from(&intake, &request.into_parts().0, Body::from(body)).await.expect("there is room")
    };
    // Small and large: here, and on a thread of the lane.
    for values in [9, 3000] {
        let body = vec!["1234567"; values].join(",");
        let length = body.len() as u64 + 2;
        let received = receive(format!("[{body}]")).await;
        assert_eq!(memory(), length);
        let (list, admission) = received.read(&intake, parse::<Vec<u32>>).await.expect("it is JSON");
        assert_eq!(memory(), length + 400 + (list.len() as u64 - 1) * 100);
        drop(admission);
        assert_eq!(memory(), 0);
    }
    let refused = receive(format!("[{}]", vec!["1"; 4000].join(","))).await.read(&intake, parse::<Vec<u32>>).await;
    assert!(refused.is_err_and(|error| matches!(error, ApiError::Busy { .. })), "its parts have no room");
    assert_eq!(memory(), 0);
}

#[tokio::test]
async fn what_has_been_done_is_told() {
    let intake = Intake { admissions: crate::http::testing::admissions(10), ..intake() };
    let admission = || intake.admissions.admit(&Client::local(), None);
    let text = || "x".repeat(100);
    assert!(answer(&intake, admission(), text).await.is_err_and(|error| matches!(error, ApiError::Busy { .. })));
    let told = done(&intake, admission(), text).await.expect("it is told");
    assert_eq!(axum::body::to_bytes(told.into_body(), 200).await.expect("a body").len(), 102);
}

#[tokio::test]
async fn an_answer_that_is_written_holds_its_memory_whoever_leaves() {
    let intake = Intake { admissions: crate::http::testing::admissions(400_000), ..intake() };
    let desk = Desk::new("test", 1, 2, 100);
    for is_stored in [false, true] {
        let (begun, (end, wait)) = (Arc::new(Notify::new()), mpsc::channel::<()>());
        let admission = intake.admissions.admit(&Client::local(), None);
        let (intake, desk, tell) = (intake.clone(), desk.clone(), Arc::clone(&begun));
        let (memory, seat) = (intake.admissions.memory().clone(), desk.seat(&Client::local()).expect("a place"));
        admission.take(1234).expect("there is room");
        let make = move || {
            tell.notify_one();
            wait.recv().is_ok()
        };
        let answering = tokio::spawn(async move {
            match is_stored {
                true => answer_at(seat, &intake, admission, move |_| Ok(make())).await,
                false => answer(&intake, admission, make).await,
            }
        });
        begun.notified().await;
        answering.abort();
        assert!(answering.await.is_err_and(|error| error.is_cancelled()), "its client has left");
        assert_eq!(memory.used(), 1234, "it is being made");
        end.send(()).expect("it waits for this");
        while memory.used() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn json_is_read_within_bounds() {
    check(Some("application/json; charset=utf-8"), "{\"a\":1}", Ok("{\"a\":1}")).await;
    check(Some("APPLICATION/JSON"), "1", Ok("1")).await;
    check(Some("application/json"), "\u{feff}{}", Ok("{}")).await;
    check(Some("application/json"), "{\0}\0", Err("is UTF-16; send it as UTF-8")).await;
    check(None, "{}", Err("no `Content-Type`; send `application/json`")).await;
    check(Some("text/plain"), "{}", Err("the body is `text/plain`")).await;
    check(Some("application/json"), "{", Err("cannot read the JSON body: EOF")).await;
    check(Some("application/json"), r#"{"a":"[[[[,,,,\"[[["}"#, Ok(r#"{"a":"[[[[,,,,\"[[["}"#)).await;
    let large: &'static str = Box::leak("x".repeat(1001).into_boxed_str());
    check(Some("application/json"), large, Err("larger than 1000 bytes")).await;
}
