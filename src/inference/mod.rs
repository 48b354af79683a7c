//! One pipeline for all callers: image bytes → top-k classes or layer outputs.
//!
//! Owns model resolution, decoding, queues, workers and sessions; knows neither HTTP nor the formats of files.
//! `Request` → `Plan` (resolved, checked) → `Answer`.

mod admission;
mod answer;
mod choice;
mod classifier;
mod decoding;
mod engine;
mod error;
mod failures;
mod find;
mod loads;
mod manage;
mod models;
mod plan;
mod queue;
mod request;
mod run;
mod session_cache;
mod view;
mod worker;

pub use admission::{Admission, Admissions};
pub use choice::{Choice, DefaultFault, Needs, Note, choose};
pub use classifier::{Classified, Classifier};
pub use engine::{Engine, Settings};
pub use error::Error;
pub use find::find;
pub use plan::DEFAULT_TOP_K;
pub use request::{
    Answer, Class, Distance, Features, Image, ImageAnswer, LayerSpec, ModelId, Normalize, OnError, Plan, Pool, Readiness,
    Request, Timings, VersionView,
};
pub use view::{ModelView, Served};
