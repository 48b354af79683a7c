//! The door for request bodies: the bounds on one request and the memory that all requests share.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;

use super::{
    body::{BodyFault, Budget},
    pace::{Pace, paced},
};
use crate::{
    config::{ImagesConfig, ServerConfig},
    preprocess::Limits,
};

/// Bounds on bodies and the images in them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Largest body in bytes.
    pub max_body_bytes: usize,
    /// Most images in one request.
    pub max_images: usize,
    /// Most pixels of all images of one request.
    pub max_pixels: u64,
    /// Bounds on each image; one beyond them is the engine's to refuse by name, and is not counted here.
    pub limits: Limits,
    /// How slowly a body may arrive.
    pub pace: Pace,
    /// Memory for bodies, over all requests.
    pub budget: Budget,
}

impl Intake {
    /// The bounds that `server` and `images` configure, with the whole memory free.
    pub fn new(server: &ServerConfig, images: &ImagesConfig) -> Self {
        Self {
            max_body_bytes: server.max_body_bytes,
            max_images: server.max_images,
            max_pixels: server.max_request_pixels,
            limits: Limits::from(images),
            pace: Pace {
                idle: server.body_idle_timeout,
                setting: "server.body_idle_timeout_ms",
                bytes_per_second: server.min_body_bytes_per_second,
            },
            budget: Budget::new(server.max_buffered_bytes),
        }
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
