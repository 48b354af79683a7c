//! Fine-tuning: from a request to a recipe, cached tensors, batches, and the report on what came out.
//!
//! Knows models, graphs and sessions; knows neither jobs nor HTTP.

pub mod batches;
pub mod cache;
mod division;
mod error;
mod estimate;
mod priority;
mod random;
pub mod recipe;
pub mod report;
mod samples;
mod stopping;

pub use division::Division;
pub use error::Error;
pub use estimate::{Estimate, Speed};
pub use priority::lower as lower_priority;
pub use random::{Purpose, Stream};
pub use samples::{Sample, Samples};
pub use stopping::{Verdict, Watch};

#[cfg(test)]
mod fixture;
