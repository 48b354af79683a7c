//! Fine-tuning: from a request to a recipe, cached tensors, batches, and the report on what came out.
//!
//! Knows models, graphs and sessions; knows neither jobs nor HTTP.

pub mod batches;
pub mod cache;
mod division;
mod error;
mod priority;
mod random;
pub mod recipe;
mod samples;

pub use division::Division;
pub use error::Error;
pub use priority::lower as lower_priority;
pub use random::{Purpose, Stream};
pub use samples::{Sample, Samples, Split};
