//! The OpenAPI document, made from the handlers, and its browser; `openapi.yaml` at the top level is a copy.
//!
//! What every image route has in common (bodies, headers, problems, binary answers) is added here once.

mod bodies;
mod headers;
mod kinds;
mod problems;
mod schemas;
mod security;
mod shared;
mod yaml;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    extract::{Path, Request},
    http::{HeaderMap, HeaderValue},
    response::{Redirect, Response},
    routing::get,
};
use bytes::Bytes;
use tokio::{
    sync::{Mutex, OnceCell},
    task::spawn_blocking,
};
use utoipa::openapi::{Info, License, OpenApi, Tag, tag::TagBuilder};
use utoipa_swagger_ui::Config;

pub use kinds::{JobPlan, JobProgress, JobResult, JobSubject, fields, submission};
pub use problems::Problems;
pub use security::guard;

use super::{compress::Fixed, error::ApiError, router};

static YAML: LazyLock<String> = LazyLock::new(|| {
    let yaml = openapi().to_yaml().expect("a document made of strings and maps is YAML");
    yaml::unambiguous(&yaml)
});

/// The whole document.
pub fn openapi() -> OpenApi {
    let mut document = router::documented().into_openapi();
    document.info = info();
    document.tags = Some(tags());
    shared::complete(&mut document);
    schemas::complete(&mut document);
    document
}

/// The document as YAML, as `/openapi.yaml` answers it and `openapi.yaml` holds it.
pub fn openapi_yaml() -> &'static str {
    &YAML
}

/// `/openapi.yaml` and `/docs`; both work offline.
pub(super) fn routes() -> Router {
    Router::new()
        .route("/openapi.yaml", get(yaml))
        // Relative, so that it survives a proxy that serves graft under a prefix.
        .route("/docs", get(async || Redirect::permanent("docs/")))
        .route("/docs/", get(async |request: Request| browser("index.html".to_owned(), request).await))
        .route("/docs/{*file}", get(async |Path(file): Path<String>, request: Request| browser(file, request).await))
}

async fn yaml(headers: HeaderMap) -> Result<Response, ApiError> {
    static FIXED: OnceCell<Fixed> = OnceCell::const_new();
    let make = || Fixed::new(HeaderValue::from_static("application/yaml"), Bytes::from_static(openapi_yaml().as_bytes()));
    let fixed = FIXED.get_or_try_init(async || spawn_blocking(make).await.map_err(ApiError::internal)).await?;
    Ok(fixed.answer(&headers))
}

/// A file of Swagger UI, which is part of the binary; it is compressed once, away from the async threads.
async fn browser(name: String, request: Request) -> Result<Response, ApiError> {
    /// Those that were asked for. Asynchronous: whoever asks while one is made waits for it.
    static FILES: Mutex<BTreeMap<String, Fixed>> = Mutex::const_new(BTreeMap::new());
    let (uri, headers) = (request.uri().clone(), request.headers());
    let mut files = FILES.lock().await;
    if let Some(file) = files.get(&name) {
        return Ok(file.answer(headers));
    }
    let make = move || {
        let made = browser_file(&name).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok::<_, ApiError>(made.map(|file| files.entry(name).or_insert(file).clone()))
    };
    let made = spawn_blocking(make).await.map_err(ApiError::internal)??;
    made.map(|file| file.answer(headers)).ok_or_else(|| ApiError::NotFound { path: uri.path().to_owned() })
}

fn browser_file(name: &str) -> Result<Option<Fixed>, Box<dyn std::error::Error>> {
    if name == "swagger-initializer.js" {
        let script = Bytes::from_static(include_bytes!("openapi/browser.js"));
        return Ok(Some(Fixed::new(HeaderValue::from_static("text/javascript"), script)));
    }
    let Some(file) = utoipa_swagger_ui::serve(name, Arc::new(Config::default()))? else { return Ok(None) };
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    Ok(Some(Fixed::new(HeaderValue::from_str(&file.content_type)?, bytes)))
}

fn info() -> Info {
    let mut info = Info::new("graft", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Image classification and feature extraction: send a photo, get labels, or the output of any layer.\n\n\
         Errors are `application/problem+json` (RFC 9457); branch on `code`, a closed list.\n\n\
         ```\ncurl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'http://127.0.0.1:8080/predict?top_k=3'\n\
         curl -F image=@a.jpg -F image=@b.jpg -F layer=fc1,fc2 -H 'Accept: application/x-npz' http://127.0.0.1:8080/features -o f.npz\n```\n\n\
         Where keys are in use, send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`. A key has one of three scopes, each of which\n\
         includes those before it: `predict`, `train`, `admin`. Health and this document need none."
            .to_owned(),
    );
    info.license = Some(License::new(env!("CARGO_PKG_LICENSE")));
    info
}

fn tags() -> Vec<Tag> {
    let tag = |name: &str, description: &str| TagBuilder::new().name(name).description(Some(description)).build();
    vec![
        tag("images", "Images in; classes or features out."),
        tag("models", "What is served, and where it came from."),
        tag("jobs", "Fine-tuning and other long work: accepted at once, done in the background, never lost."),
        tag("datasets", "Labelled photos to train on."),
        tag("health", "For orchestrators and Prometheus."),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::code::Code;

    #[test]
    fn the_committed_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, YAML.as_str()).expect("the repository is writable");
            return;
        }
        let differing = committed.lines().zip(YAML.lines()).position(|(committed, generated)| committed != generated);
        assert!(
            committed == *YAML,
            "openapi.yaml differs from the code (first in line {:?}); run `graft openapi > openapi.yaml`, or this test with UPDATE_OPENAPI=1",
            differing.map(|line| line + 1)
        );
    }

    #[tokio::test]
    async fn what_is_compressed_once_holds_up_no_async_thread() {
        use futures_util::FutureExt;
        // No other test asks for it.
        let request = || Request::get("/docs/oauth2-redirect.html").body(axum::body::Body::empty()).expect("valid");
        let mut first = std::pin::pin!(browser("oauth2-redirect.html".to_owned(), request()));
        assert!(first.as_mut().now_or_never().is_none(), "another thread makes it");
        let mut second = std::pin::pin!(browser("oauth2-redirect.html".to_owned(), request()));
        assert!(second.as_mut().now_or_never().is_none(), "who comes meanwhile waits for it");
        for answer in [first.await, second.await] {
            assert_eq!(answer.expect("it is part of the binary").status().as_u16(), 200);
        }
        let again = browser("oauth2-redirect.html".to_owned(), request()).now_or_never();
        assert_eq!(again.expect("it is made").expect("it is there").status().as_u16(), 200);
        let missing = browser("nothing".to_owned(), request()).await;
        assert!(matches!(missing, Err(ApiError::NotFound { .. })));
    }

    #[test]
    fn every_reference_has_its_component() {
        let document = serde_json::to_value(openapi()).expect("a document is JSON");
        let text = document.to_string();
        let references: Vec<&str> = text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.iter().any(|reference| reference.starts_with("components/responses/")), "{references:?}");
        for reference in references {
            assert!(document.pointer(&format!("/{reference}")).is_some(), "no {reference}");
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let operations = operations();
        let ids: BTreeSet<&str> = operations.iter().filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
        assert_eq!(ids.len(), operations.len(), "{ids:?}");
    }

    #[test]
    fn every_operation_may_fail_and_says_how() {
        for (place, operation) in operations() {
            let responses = operation["responses"].as_object().expect("an operation has responses");
            for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
                let codes = response["description"].as_str().unwrap_or_default();
                let of_status =
                    |code: &Code| code.status().as_str() == status && codes.contains(&format!("`{}`", code.wire_name()));
                assert!(Code::ALL.iter().any(of_status), "{place}: {status} has {codes:?}");
            }
            assert!(responses.contains_key("500"), "{place}");
        }
    }

    /// Every operation with its method and path.
    fn operations() -> Vec<(String, Value)> {
        let document = serde_json::to_value(openapi()).expect("a document is JSON");
        let paths = document["paths"].as_object().expect("a document has paths");
        let operations = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
        });
        operations.collect()
    }
}
