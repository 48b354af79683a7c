//! Fine-tuning: from a request to a recipe, cached tensors, batches, and the report on what came out.
//!
//! Knows models, graphs and sessions; knows neither jobs nor HTTP.

pub mod checkpoint;
pub mod learner;
pub mod recipe;
mod samples;

pub use samples::{Sample, Samples, Split};
