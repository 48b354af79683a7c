//! The HTTP interface: routes, bodies, parameters, errors, and the OpenAPI document that describes them.
//!
//! Asks the engine and shapes its answers; computes nothing itself. Besides `app`, the only place that knows axum.

mod accept;
mod access;
mod body;
mod client;
mod code;
mod compress;
mod connection;
mod dto;
mod encode;
mod encoding;
mod error;
mod form;
mod handshake;
mod hardening;
mod header_parameters;
mod host;
mod idempotency;
mod image_parameters;
mod images;
mod intake;
mod json;
mod observe;
mod openapi;
mod origins;
mod pace;
mod page;
mod parameters;
mod problem;
mod query;
mod request_id;
mod request_log;
mod router;
mod routes;
mod server;
mod size;
mod slots;
mod state;
mod stream;
mod tls;
mod tunnel;
mod unread;
mod upload;

pub use openapi::{openapi, openapi_yaml};
pub use router::router;
pub use server::serve;
pub use slots::{TooFewFiles, check_files};
pub use state::State;
pub use tls::{Tls, TlsError, ended};

#[cfg(test)]
mod testing;
