//! Fine-tuning.

pub mod checkpoint;
