//! graft: an HTTP microservice for image classification and feature extraction.
//!
//! Modules are listed in dependency order: a module imports only from those above it.
//! `tests/tidy.rs` keeps that order; `ARCHITECTURE.md` tells what each one owns.

pub mod message;

pub mod config;
pub mod telemetry;
pub mod tensor;
pub mod work;

pub mod access;

pub mod plot;

pub mod preprocess;

pub mod arch;

pub mod weights;

pub mod graph;

pub mod runtime;

pub mod registry;

pub mod inference;

pub mod datasets;

pub mod training;

pub mod jobs;

pub mod finetuning;

pub mod service;

pub mod http;

pub mod app;

pub mod cli;

#[path = "../tests/data/mod.rs"]
#[cfg(test)]
mod test_data;
