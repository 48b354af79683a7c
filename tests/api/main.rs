//! The server over loopback: every route with tiny models, the errors it answers, and the two architectures against Keras.
//!
//! One module per concern; `support` holds what they share. No test sleeps, downloads, or needs a weight file.

mod bad_images;
mod bad_requests;
mod binary;
mod concurrency;
mod datasets;
mod disk_full;
mod documents;
mod evaluate;
mod features;
mod finetune;
mod goldens;
mod health;
mod job_events;
mod jobs;
mod killed;
mod limits;
mod listing;
mod memory;
mod overload;
mod pixels;
mod plots;
mod predict;
mod providers;
mod real;
mod recipes;
mod repository;
mod support;
mod telemetry;
mod untrained;
mod versions;
