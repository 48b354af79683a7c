//! The door for request bodies: the bounds on one request and the memory that all requests share.

use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{Extensions, request::Parts},
};
use bytes::Bytes;
use futures_util::Stream;

use super::{
    body::BodyFault,
    client::client,
    pace::{Pace, paced},
    state::State,
};
use crate::{
    access::Admitted,
    config::ServerConfig,
    inference::{Admission, Admissions},
    work::Lane,
};

/// Bounds on bodies and the images in them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Largest body in bytes.
    pub max_body_bytes: usize,
    /// Largest answer in bytes.
    pub max_response_bytes: usize,
    /// Most images in one request.
    pub max_images: usize,
    /// How slowly a body may arrive.
    pub pace: Pace,
    /// What lets requests in.
    pub admissions: Admissions,
    /// Where JSON is read and answers are written; any number may wait, as each has its memory.
    pub encoding: Lane,
}

impl Intake {
    /// The bounds that `server` configures, and those of all transports.
    pub fn new(server: &ServerConfig, admissions: Admissions, encoding: Lane) -> Self {
        Self {
            max_body_bytes: server.max_body_bytes,
            max_response_bytes: server.max_response_bytes,
            max_images: server.max_images,
            pace: Pace {
                idle: server.body_idle_timeout,
                setting: "server.body_idle_timeout_ms",
                bytes_per_second: server.min_body_bytes_per_second,
            },
            admissions,
            encoding,
        }
    }

    /// Lets the request with these `extensions` begin; its work holds its key's place among the requests in flight.
    pub fn admit(&self, extensions: &Extensions) -> Admission {
        let place = extensions.get::<Admitted>().map(|admitted| Arc::new(admitted.clone()) as Arc<dyn Any + Send + Sync>);
        self.admissions.admit(&client(extensions), place)
    }

    /// The chunks of `body` while they arrive fast enough.
    pub fn chunks(&self, body: Body) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin + use<> {
        paced(body, self.pace)
    }

    /// The same with a bound on silence of its own, which is configured as `setting`.
    pub fn chunks_within(
        &self,
        body: Body,
        idle: Duration,
        setting: &'static str,
    ) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin + use<> {
        paced(body, Pace { idle, setting, ..self.pace })
    }
}

/// What a handler's answer is written with.
impl FromRequestParts<State> for Admission {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Infallible> {
        Ok(state.intake().admit(&parts.extensions))
    }
}
