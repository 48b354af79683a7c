//! The model repository: `NAME/VERSION/` folders, their metadata, and atomic publication; and the catalogue of known models.
//!
//! Knows files and folders; knows neither sessions nor HTTP.

mod calibration;
mod catalogue;
mod checked;
mod class_names;
mod error;
mod files;
mod fits;
mod hashing;
pub(crate) mod hidden;
mod import;
mod judge;
mod labels;
mod metadata;
mod named;
mod nearest;
mod novelty;
mod numbers;
mod output;
mod portable;
mod relaid;
mod repository;
mod scan;
mod staging;
mod temporary;
mod timestamp;
mod trained_on;

pub use calibration::Calibration;
pub use catalogue::{KnownLabels, KnownModel, WeightFile, WeightSource, catalogue, default_name, known_model, starter};
pub use class_names::{ClassNameError, ClassNames};
pub use error::Error;
pub(crate) use files::{flush, make_folder};
pub use hashing::HashingWriter;
pub use import::{
    Apart, Examination, Examined, ImportError, OnnxSettings, PER_CHANNEL, Prepared, Provenance, import_keras, import_onnx,
    import_seeded, import_weights, per_channel, prepare_keras, prepare_onnx, read_examination, read_settings, write_graph,
};
pub use judge::trial_images;
pub use labels::{LabelsError, imagenet_labels, numbered_labels, read_labels};
pub use metadata::{Label, Layer, Lineage, Metadata, MetadataError, NAME_RULE, WeightsOrigin, layer_at, valid_name};
pub use named::{NamedModelError, named_model};
pub use nearest::nearest;
pub use novelty::{MeasuredOn, Novelty, References};
pub use output::{Assumption, FoundBy, Output, OutputKind};
pub use portable::{PREFIX, PropertyError};
pub use repository::{LabelSizes, Model, ModelVersion, Problem, Repository, Snapshot, Stable, json_bytes};
pub(crate) use scan::FilesStamp;
pub(crate) use staging::rename_without_replacing;
pub use staging::{Published, Staging};
pub(crate) use temporary::TemporaryFile;
pub(crate) use timestamp::rfc3339;
pub use trained_on::TrainedOn;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
