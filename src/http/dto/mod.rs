//! The JSON that graft answers with; field by field what clients rely on.
//!
//! Conversions from the engine's types are here too; no decision is.

mod answer;
mod models;

pub use answer::{
    ClassDto, FeatureItem, FeaturesAnswer, ImageOutcome, LayerValues, ModelDto, PredictAnswer, Prediction, TimingsDto, Values, WarningDto,
};
pub use models::{InputDto, LayerDto, LayersAnswer, ModelDetail, ModelsAnswer, ProviderDto, VersionDto};
