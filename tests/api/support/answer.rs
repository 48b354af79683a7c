//! An HTTP answer, with what holds for every one of them checked as it arrives.

use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// An answer and its request's path.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    asked: String,
}

impl Answer {
    /// Sends `request` and reads its answer, which has an `X-Request-Id` and a `Server-Timing` whatever it is.
    pub async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("the test's request is valid");
        let query = request.url().query().map(|query| format!("?{query}")).unwrap_or_default();
        let asked = format!("{} {}{query}", request.method(), request.url().path());
        let response = client.execute(request).await.unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{asked}: {error:?}")).into();
        let answer = Self { status, headers, body, asked };
        assert!(!answer.header("x-request-id").is_empty(), "{} has no request id", answer.asked);
        assert!(answer.headers.get_all("server-timing").iter().any(|value| value.as_bytes().starts_with(b"total;dur=")));
        answer
    }

    /// The answer of a request that must succeed.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}: {}", self.asked, self.text());
        self
    }

    /// A header's text, empty without it.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the server's headers are ASCII"))
    }

    /// Every value of a header that may be repeated.
    #[track_caller]
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("the server's headers are ASCII")).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error} in {}", self.asked, self.text()))
    }

    /// Checks every rule for problems (RFC 9457 and graft's own) and gives the body.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str, detail: &str) -> Value {
        let (asked, text) = (&self.asked, self.text());
        assert_eq!(self.status, status, "{asked}: {text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{asked}: {text}");
        let body = self.json();
        assert_eq!(body["code"], code, "{asked}: {text}");
        assert_eq!(body["status"], status, "{asked}: {text}");
        assert_eq!(body["type"], "about:blank", "{asked}: {text}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{asked}: {text}");
        let path = asked.split(' ').nth(1).and_then(|path| path.split('?').next());
        assert_eq!(body["instance"].as_str(), path, "{asked}: {text}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{asked}: {text}");
        assert!(body["detail"].as_str().is_some_and(|found| found.contains(detail)), "{asked}: `{detail}` is not in {text}");
        let waits = status == 503 && code != "model_too_large";
        if status == 429 {
            assert!(self.header("retry-after").parse().is_ok_and(|seconds: u64| seconds > 0), "{asked}: {text}");
        } else {
            assert_eq!(self.header("retry-after"), if waits { "1" } else { "" }, "{asked}: {text}");
        }
        body
    }

    /// The values of a layer of the image at `position`, from JSON numbers.
    #[track_caller]
    pub fn layer(&self, position: usize, layer: &str) -> Vec<f64> {
        let values = &self.json()["features"][position]["layers"][layer]["data"];
        let values = values.as_array().unwrap_or_else(|| panic!("{}: no `{layer}` in {}", self.asked, self.text()));
        values.iter().map(|value| value.as_f64().expect("features are numbers")).collect()
    }

    /// Checks which model the headers name.
    #[track_caller]
    pub fn is_from(&self, model: &str, version: &str, pretrained: &str) {
        let headers = ["graft-model", "graft-version", "graft-pretrained"].map(|name| self.header(name));
        assert_eq!(headers, [model, version, pretrained], "{}", self.asked);
        let timing = self.header("server-timing");
        for stage in ["decode;dur=", "queue;dur=", "inference;dur="] {
            assert!(timing.contains(stage), "{}: `{stage}` is not in `{timing}`", self.asked);
        }
    }
}
