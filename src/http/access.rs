//! The door of every route: which scope it needs, who asks, and how much of that is left to them.
//!
//! A route's scope is declared once, where [`super::router`] lists it, for the door and the document alike. Headers are read here;
//! whether what is in them opens a door is [`crate::access`]'s to say. No message and no line of the log repeats what a client sent.

mod credentials;
mod headers;
mod held;

use std::time::{Instant, SystemTime};

use axum::{
    body::Body,
    extract::{self, Request},
    http::{Extensions, HeaderMap},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

pub use headers::{challenge, limits_of};

use self::held::Held;
use super::{client::client, error::ApiError, openapi, request_log, state::State};
use crate::{
    access::{Admitted, Gate, Guesses, Refused, Scope},
    work::Client,
};

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it spares orchestrators a key, and tells nothing.
    Nothing,
    /// A key of any scope, unless `server.metrics_need_key` says otherwise.
    Metrics,
    /// A key with that scope, where keys are in use.
    Key(Scope),
}

/// Routes, each with what it needs; there is no other way to add one to the documented ones.
#[derive(Default)]
pub struct Guarded(OpenApiRouter<State>);

/// What doors look at, among a request's extensions.
#[derive(Debug, Clone)]
pub struct Door {
    gate: Gate,
    guesses: Guesses,
    metrics_need_key: bool,
}

impl Door {
    /// Whether whoever was let in with these `extensions` of a request would be still: not when the key was revoked or has expired.
    pub fn is_open_to(&self, admitted: Option<&Admitted>) -> bool {
        admitted.is_none_or(|admitted| self.gate.is_in_force(admitted, SystemTime::now()))
    }
}

impl From<Scope> for Needs {
    fn from(scope: Scope) -> Self {
        Self::Key(scope)
    }
}

impl Guarded {
    /// Adds `route`, behind a door that lets in who has what it `needs`; the document says so.
    pub fn route(self, needs: impl Into<Needs>, (schemas, mut paths, methods): UtoipaMethodRouter<State>) -> Self {
        let needs = needs.into();
        paths.paths.values_mut().for_each(|item| openapi::guard(item, needs));
        let door = middleware::from_fn(move |request: Request, next: Next| pass(needs, request, next));
        Self(self.0.routes((schemas, paths, methods.route_layer(door))))
    }

    /// The routes.
    pub fn into_routes(self) -> OpenApiRouter<State> {
        self.0
    }
}

impl Door {
    /// Behind `gate`; metrics, too, if they need a key.
    pub fn new(gate: Gate, metrics_need_key: bool) -> Self {
        Self { gate, guesses: Guesses::default(), metrics_need_key }
    }

    fn admit(&self, needs: Needs, client: &Client, headers: &HeaderMap) -> Result<Option<Admitted>, Refused> {
        let scope = match needs {
            Needs::Nothing => return Ok(None),
            Needs::Metrics if !self.metrics_need_key => return Ok(None),
            Needs::Metrics => Scope::Predict,
            Needs::Key(scope) => scope,
        };
        let now = Instant::now();
        let admitted = self.gate.admit(scope, || credentials::key(headers), (now, SystemTime::now()));
        admitted.map_err(|refused| self.guesses.count(client, refused, now))
    }
}

/// Middleware around every route: brings what doors look at. The answer's extensions name who asked, for whoever logs it.
pub async fn identify(extract::State(door): extract::State<Door>, mut request: Request, next: Next) -> Response {
    let client = client(request.extensions());
    request.extensions_mut().insert(door);
    let mut response = next.run(request).await;
    if response.extensions().get::<Client>().is_none() {
        response.extensions_mut().insert(client);
    }
    response
}

/// The door itself. Who is let in with a key holds a place in flight until the answer has been sent, and longer if work holds the
/// [`Admitted`] of the request's extensions; the answer's have it, too, for whoever makes another body of its body.
async fn pass(needs: Needs, mut request: Request, next: Next) -> Response {
    let Some(door) = request.extensions_mut().remove::<Door>() else {
        return ApiError::internal("a route without what its door looks at").into_response();
    };
    let admitted = match door.admit(needs, &client(request.extensions()), request.headers()) {
        Ok(admitted) => admitted,
        Err(refused) => {
            request_log::note(|facts| facts.key = refused.key().map(ToString::to_string));
            return ApiError::Access(refused).into_response();
        }
    };
    // Nothing behind the door needs the key, and so nothing can write it down.
    credentials::remove(request.headers_mut());
    let Some(admitted) = admitted else { return next.run(request).await };
    let client = admitted.client();
    request_log::note(|facts| facts.key = client.key_name().map(str::to_owned));
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(admitted.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(admitted.client());
    response.extensions_mut().insert(admitted.clone());
    headers::limits(response.headers_mut(), &admitted, Instant::now());
    response.map(|body| holding(body, Some(admitted)))
}

/// `body`, which holds the place of whoever was `admitted` until it has been sent.
pub fn holding(body: Body, admitted: Option<Admitted>) -> Body {
    match admitted {
        Some(admitted) => Body::new(Held::new(body, admitted)),
        None => body,
    }
}

/// Whether the holder of the request's key may ask an image at all now: who may not should not send any first.
///
/// # Errors
/// [`Refused::Images`].
pub fn may_ask(extensions: &Extensions) -> Result<(), ApiError> {
    let admitted = extensions.get::<Admitted>();
    Ok(admitted.map_or(Ok(()), |admitted| admitted.check(1, Instant::now()))?)
}

/// Counts `images` as asked by the holder of the request's key.
///
/// # Errors
/// [`Refused::Images`], [`Refused::TooManyImages`].
pub fn take(extensions: &Extensions, images: usize) -> Result<(), ApiError> {
    let admitted = extensions.get::<Admitted>();
    Ok(admitted.map_or(Ok(()), |admitted| admitted.take(images, Instant::now()))?)
}

#[cfg(test)]
mod tests;
