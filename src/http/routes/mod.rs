//! Handlers, one file per concern; each reads its parameters, asks the engine, and shapes the answer.

pub mod datasets;
pub mod features;
pub mod health;
pub mod models;
pub mod predict;

mod answer;
