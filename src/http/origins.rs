//! What pages of other origins may do here: nothing that changes anything, unless `server.cors_origins` lists theirs.
//!
//! A form on any page can send a POST to any server that its reader's browser reaches, without asking first; the browser says
//! where the page is from. What is no browser says nothing and is let through. Knows no route.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::error::ApiError;

/// Where a page is from, as browsers that know it say beside `Origin`.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long a browser may rely on the answer to its question.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// Headers of answers that a page reads, beside those that browsers always show.
const EXPOSED: [&str; 11] = [
    "graft-model",
    "graft-version",
    "graft-pretrained",
    "graft-warning",
    "server-timing",
    "x-request-id",
    "location",
    "retry-after",
    "ratelimit-policy",
    "ratelimit",
    "www-authenticate",
];

/// The origins that are allowed; cheap to clone.
#[derive(Debug, Clone)]
pub struct Origins(Arc<[String]>);

impl Origins {
    /// Those of `server.cors_origins`.
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// What answers the questions of browsers, if any origin is allowed.
    pub fn cors(&self) -> Option<CorsLayer> {
        let origins = match &self.0[..] {
            [] => return None,
            [all] if all == "*" => AllowOrigin::any(),
            listed => AllowOrigin::list(listed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
        };
        let layer = CorsLayer::new().allow_origin(origins).allow_headers(AllowHeaders::mirror_request()).max_age(PREFLIGHT);
        let layer = layer.allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE]);
        Some(layer.expose_headers(EXPOSED.map(HeaderName::from_static)))
    }

    /// That no page of another origin is behind a request that may change something.
    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        if method.is_safe() || site == Some(b"same-origin") {
            return Ok(());
        }
        let host = headers.get(header::HOST).map(|host| host.as_bytes().to_ascii_lowercase()).unwrap_or_default();
        let mut is_allowed = false;
        for origin in headers.get_all(header::ORIGIN) {
            let text = origin.to_str().unwrap_or_default().to_ascii_lowercase();
            let is_listed = self.0.iter().any(|own| own == "*" || *own == text);
            // A browser that says that the page is another's is to be believed.
            let is_own = matches!(site, None | Some(b"none")) && is_of(&text, &host);
            if !is_listed && !is_own {
                return Err(ApiError::ForeignOrigin { origin: Some(text) });
            }
            is_allowed = true;
        }
        match site {
            Some(b"cross-site" | b"same-site") if !is_allowed => Err(ApiError::ForeignOrigin { origin: None }),
            _ => Ok(()),
        }
    }
}

/// Middleware: refuses what a page of an origin that is not allowed sends, if it may change something.
pub async fn ours(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    match origins.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether `origin` is that of the server that `host` names.
fn is_of(origin: &str, host: &[u8]) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| !authority.is_empty() && authority.as_bytes() == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let listed = ["https://app.example".to_owned()];
        let check = |origins: &[String], method: Method, headers: &[(&'static str, &'static str)], allowed: bool| {
            let mut all = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost:8080"))]);
            for (name, value) in headers {
                all.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(Origins::new(origins).check(&method, &all).is_ok(), allowed, "{method} {headers:?} with {origins:?}");
        };
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            check(&[], method.clone(), &[], true);
            check(&[], method.clone(), &[("origin", "http://localhost:8080")], true);
            check(&[], method.clone(), &[("origin", "HTTPS://LOCALHOST:8080")], true);
            for foreign in
                ["http://evil.example", "http://localhost:3000", "http://localhost", "null", "", "http://", "localhost:8080"]
            {
                check(&[], method.clone(), &[("origin", foreign)], false);
                check(&listed, method.clone(), &[("origin", foreign)], false);
                check(&["*".to_owned()], method.clone(), &[("origin", foreign)], true);
            }
            check(&listed, method.clone(), &[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true);
            check(&listed, method.clone(), &[("origin", "http://app.example")], false);
            check(&listed, method.clone(), &[("origin", "https://app.example"), ("origin", "http://evil.example")], false);
        }
        // A page on another port is of the same site, and not of the same origin.
        for (site, allowed) in [("cross-site", false), ("same-site", false), ("same-origin", true), ("none", true)] {
            check(&[], Method::POST, &[("sec-fetch-site", site)], allowed);
            check(&[], Method::GET, &[("sec-fetch-site", site), ("origin", "http://evil.example")], true);
        }
        check(&[], Method::POST, &[("origin", "http://localhost:8080"), ("sec-fetch-site", "cross-site")], false);
        // A proxy in front may have replaced the host; the browser knows.
        check(&[], Method::POST, &[("origin", "https://graft.example"), ("sec-fetch-site", "same-origin")], true);
    }
}
