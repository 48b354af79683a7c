//! The JSON that graft answers with; field by field what clients rely on.
//!
//! Conversions from the engine's types are here too; no decision is.

mod answer;
mod datasets;
mod each;
mod jobs;
mod lists;
mod models;

pub use answer::{
    FeatureItem, FeaturesAnswer, FeaturesOutcome, LayerValues, PredictAnswer, Prediction, PredictionOutcome, TimingsDto, Values,
    WarningDto,
};
pub use datasets::{ClassesAnswer, DatasetDto, DatasetsAnswer, SkippedAnswer};
pub use each::Each;
pub use jobs::{AcceptedJob, JobDetail, JobDto, JobsAnswer, PlannedJob};
pub use lists::{LabelsAnswer, LayersAnswer};
pub use models::{ModelDetail, ModelsAnswer, VERSIONS};
