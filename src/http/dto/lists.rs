//! Bodies of `/models/{m}/labels` and `/models/{m}/layers`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Each, models::LabelDto};
use crate::{
    graph::Layout,
    http::page::{Index, positions},
    registry::{Label, Layer, ModelVersion},
};

/// The answer of `/models/{m}/layers`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LayersAnswer {
    /// In index order.
    #[schema(value_type = Vec<LayerDto>)]
    pub layers: Each<LayerDto>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<usize>,
}

/// The answer of `/models/{m}/labels`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LabelsAnswer {
    /// One per class, in index order.
    #[schema(value_type = Vec<ClassLabelDto>)]
    pub labels: Each<ClassLabelDto>,
    /// What to give as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<usize>,
}

/// A class and what it is called.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClassLabelDto {
    /// Its position in the scores.
    #[schema(example = 0)]
    pub index: usize,
    #[serde(flatten)]
    #[schema(value_type = LabelDto)]
    pub label: Label,
}

/// A layer whose output can be asked for.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LayerDto {
    /// Keras's index; position in graph order for a user's graph.
    #[schema(example = 21)]
    pub index: usize,
    /// What `layer=` takes.
    #[schema(example = "fc2")]
    pub name: String,
    /// Keras's class name; the operator for a user's graph.
    #[serde(rename = "type")]
    #[schema(example = "Dense")]
    pub kind: String,
    /// Output shape without the batch dimension; maps are height, width, channel, tokens are token, channel.
    #[schema(example = json!([4096]))]
    pub shape: Vec<usize>,
    /// What the axes are.
    pub layout: LayoutDto,
    /// Size of one image's output in float32.
    #[schema(example = 16384)]
    pub bytes: u64,
}

/// What the axes of a layer are, as far as it can be followed from the model's input on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayoutDto {
    /// Height, width, channel: `pool` gives a vector of the channels.
    Map,
    /// Positions of the image in a row, and channel: `pool` gives a vector of the channels.
    Tokens,
    /// A vector, which `pool` leaves as it is.
    Vector,
    /// Anything else, in the graph's own order; `pool` is refused.
    NoMap,
}

impl LabelsAnswer {
    /// `limit` of the labels of `version` behind the index `after`.
    pub fn new(version: ModelVersion, after: Option<Index>, limit: usize) -> Self {
        let (labels, next) = positions(version.metadata.labels.len(), Index::skipped(after), limit);
        let label = move |index| ClassLabelDto { index, label: version.metadata.labels[index].clone() };
        Self { labels: Each::new(labels, label), next }
    }
}

impl LayersAnswer {
    /// `limit` of the layers of `version` behind the one with the index `after`.
    pub fn new(version: ModelVersion, after: Option<Index>, limit: usize) -> Self {
        let layers = &version.metadata.layers;
        let first = layers.partition_point(|layer| layer.index < Index::skipped(after));
        let (positions, last) = positions(layers.len(), first, limit);
        let next = last.map(|last| layers[last].index);
        Self { layers: Each::new(positions, move |position| LayerDto::from(&version.metadata.layers[position])), next }
    }
}

impl From<Layout> for LayoutDto {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Map(_) => Self::Map,
            Layout::Tokens(_) => Self::Tokens,
            Layout::Vector => Self::Vector,
            Layout::NoMap => Self::NoMap,
        }
    }
}

impl From<&Layer> for LayerDto {
    fn from(layer: &Layer) -> Self {
        let values = layer.shape.iter().fold(1u64, |product, side| product.saturating_mul(*side as u64));
        Self {
            index: layer.index,
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            shape: layer.shape.clone(),
            layout: layer.layout().into(),
            bytes: values.saturating_mul(4),
        }
    }
}
