//! Handlers, one file per concern; each reads its parameters, asks the engine, and shapes the answer.

pub mod datasets;
pub mod features;
pub mod health;
pub mod job_events;
mod job_file;
pub mod jobs;
pub mod models;
pub mod predict;
pub mod versions;

mod answer;
mod asked;
