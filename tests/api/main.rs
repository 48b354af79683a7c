//! The server over loopback: every route with tiny models, the errors it answers, and the two architectures against Keras.
//!
//! One module per concern; `support` holds what they share. No test sleeps or downloads;
//! `real` wants files that the repository does not hold, and skips without them.

mod bad_images;
mod bad_requests;
mod bases;
mod binary;
mod bounds;
mod calibration;
mod clients;
mod commands;
mod concurrency;
#[path = "../data/mod.rs"]
mod data;
mod datasets;
mod default_model;
mod disk_full;
mod documents;
mod evaluate;
mod exported;
mod features;
mod finetune;
mod goldens;
mod hangups;
mod health;
mod inputs;
mod job_events;
mod job_kinds;
mod jobs;
mod keys;
mod killed;
mod layouts;
mod limits;
mod listing;
mod memory;
mod observed;
mod outputs;
mod overload;
mod phases;
mod pixels;
mod plots;
mod predict;
mod providers;
mod publication;
mod real;
mod recipes;
mod rejudged;
mod repository;
mod shares;
mod splits;
mod starter;
mod strangers;
mod support;
mod telemetry;
mod tls;
mod untrained;
mod versions;
