//! The base as a recipe trains it: as it is up to the first tensors that are cached for what trains, in float32 behind them.
//!
//! Knows nothing of heads; reads no file.

use super::recipe::Recipe;
use crate::graph::{Error, Graph};

/// The base's `graph` up to the tensor that the head of `recipe` sits on, and that tensor.
///
/// A later phase trains all that earlier ones do: what is frozen in the last one never trains, and keeps its types.
pub(super) fn trained(graph: &Graph, recipe: &Recipe) -> Result<(Graph, String), Error> {
    let frozen = recipe.phases.last().map(|phase| phase.frontier.as_slice()).unwrap_or_default();
    let frontier: Vec<&str> = frozen.iter().map(|tensor| tensor.tensor.as_str()).collect();
    graph.float32_behind(&frontier, &recipe.head.tensor)
}
