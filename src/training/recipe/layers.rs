//! The base under a recipe: its layers by name and index, its blocks, and the work that its weights make.
//!
//! Reads the graph's structure; runs nothing.

use std::collections::{HashMap, HashSet};

use super::{
    problem::{Problems, quoted},
    request::LayerRef,
    resolved::{BatchNorm, Head},
};
use crate::{
    arch,
    graph::{Graph, Role, WeightedNode},
    message::excerpt,
    registry::{Layer, Metadata, layer_at, nearest},
};

/// A base with a head on it.
pub(super) struct Foundation<'a> {
    pub(super) metadata: &'a Metadata,
    /// Its graph in float32, in which what lies behind a frontier is trained.
    pub(super) graph: Graph,
    pub(super) head: &'a Head,
    pub(super) batch_norm: BatchNorm,
    /// Nodes with weights below the head, in graph order.
    pub(super) weighted: Vec<WeightedNode>,
    /// Layers whose scale Keras does not have: there it is a constant 1.
    pub(super) unscaled: HashSet<String>,
    /// The layers that end a block, of an architecture that graft knows; empty for other graphs.
    blocks: Vec<String>,
}

/// The first layer that trains.
pub(super) struct Start<'a> {
    pub(super) name: &'a str,
    pub(super) index: usize,
    /// Place in the graph of the last layer that does not train; `None` when all do.
    pub(super) last_frozen: Option<usize>,
}

impl<'a> Foundation<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        graph: &Graph,
        head: &'a Head,
        batch_norm: BatchNorm,
    ) -> Result<Self, crate::graph::Error> {
        let graph = graph.outline_in_float32()?;
        let weighted = graph.weighted(&head.tensor)?;
        let architecture = arch::by_name(&metadata.architecture, true);
        let blocks = architecture.as_ref().map(|architecture| architecture.transfer.blocks.clone()).unwrap_or_default();
        let layers = architecture.into_iter().flat_map(|architecture| architecture.layers);
        let unscaled = layers.filter(|layer| layer.kind.keras_name() == "BatchNormalization");
        let unscaled = unscaled.filter(|layer| !layer.weights.iter().any(|weight| weight.name == "gamma"));
        let unscaled = unscaled.map(|layer| layer.name).collect();
        Ok(Self { metadata, graph, head, batch_norm, weighted, unscaled, blocks })
    }

    /// The layer that `from` means.
    pub(super) fn start(&self, field: &str, from: &LayerRef, problems: &mut Problems) -> Option<Start<'a>> {
        let layers = &self.metadata.layers;
        let layer = match from {
            // As in `base.layers[-30:]` of a base without its top, whose last layer is the one that the head sits on.
            LayerRef::Index(index @ ..0) => layer_at(&layers[..self.below_the_head()], *index),
            LayerRef::Index(index) => layer_at(layers, *index),
            LayerRef::Name(name) => self.metadata.layer(name),
        };
        let Some(layer) = layer else {
            problems.add(field, self.unknown(from));
            return None;
        };
        if layer.index > self.head.on_index {
            let Head { on, on_index, .. } = self.head;
            let detail = format!(
                "is `{}` ({}), which comes after `{on}` ({on_index}), where the head sits; \
                 use at most {on_index}, or `\"trainable\": \"head\"`",
                layer.name, layer.index
            );
            problems.add(field, detail);
            return None;
        }
        let before = layers.iter().take_while(|other| other.index < layer.index);
        let last_frozen = before.filter_map(|layer| self.graph.position(&layer.tensor)).last();
        Some(Start { name: &layer.name, index: layer.index, last_frozen })
    }

    /// How many layers there are up to the one that the head sits on.
    fn below_the_head(&self) -> usize {
        self.metadata.layers.iter().take_while(|layer| layer.index <= self.head.on_index).count()
    }

    fn unknown(&self, from: &LayerRef) -> String {
        let (name, Head { on, on_index, .. }) = (&self.metadata.name, self.head);
        let lists = format!("`GET /models/{name}/layers` and `graft layers {name}` list them");
        match from {
            LayerRef::Index(index) => format!(
                "is {index}; the layers of `{name}` below the head have indices 0 to {on_index}, or -1 (`{on}`) to -{} from the \
                 end; {lists}",
                self.below_the_head()
            ),
            LayerRef::Name(layer) => {
                let near = nearest(layer, self.metadata.layers.iter().map(|layer| layer.name.as_str()));
                let hint = if near.is_empty() { String::new() } else { format!("did you mean {}? ", quoted(&near)) };
                format!("is `{}`, which is not a layer of `{name}`; {hint}{lists}", excerpt(layer))
            }
        }
    }

    pub(super) fn nothing_trains(&self, start: &Start<'_>) -> String {
        let last = self.kernels().next_back().and_then(|node| self.layer_of(node));
        let way_out = last.map_or_else(
            || "use `\"trainable\": \"head\"`: the graph has no weights that can train".to_owned(),
            |layer| format!("start at `{}` ({}) or before it, or use `\"trainable\": \"head\"`", layer.name, layer.index),
        );
        format!("is `{}` ({}): nothing between it and the head has weights; {way_out}", start.name, start.index)
    }

    /// A warning when training begins between parallel paths, of which some then train and others do not.
    pub(super) fn inside_a_block(&self, field: &str, start: &Start<'_>, first: &WeightedNode) -> Option<String> {
        if first.crossing.len() < 2 {
            return None;
        }
        let blocks: Vec<&WeightedNode> = self.kernels().filter(|node| self.begins_a_block(node)).collect();
        let describe = |node: &WeightedNode| self.layer_of(node).map(|layer| format!("{} (`{}`)", layer.index, layer.name));
        let begin = blocks.iter().rev().find(|node| node.position < first.position).and_then(|node| describe(node));
        let next = blocks.iter().find(|node| node.position > first.position);
        let block = next.map_or(&self.head.on, |next| &next.crossing[0]);
        let tops: Vec<String> = blocks.iter().rev().take(2).filter_map(|node| describe(node)).collect();
        let mut message = format!(
            "{field}: {} (`{}`) lies inside `{block}`, of which a part stays frozen ({} tensors are cached)",
            start.index,
            start.name,
            first.crossing.len()
        );
        message.extend(begin.map(|begin| format!("; that block begins at {begin}")));
        message.extend(tops.last().map(|two| format!("; the top two blocks begin at {two}")));
        Some(message)
    }

    /// Whether all that `node` and those after it read is one tensor, with which a block ends where these are known.
    fn begins_a_block(&self, node: &WeightedNode) -> bool {
        let [tensor] = node.crossing.as_slice() else { return false };
        self.blocks.is_empty() || self.blocks.contains(tensor)
    }

    /// Nodes that train whenever they lie behind the start: batch normalisations do only when the recipe says so.
    pub(super) fn kernels(&self) -> impl DoubleEndedIterator<Item = &WeightedNode> {
        let has_kernel =
            |node: &&WeightedNode| node.parameters.iter().any(|weight| matches!(weight.role, Role::Kernel | Role::Matrix));
        self.weighted.iter().filter(has_kernel)
    }

    /// The layer that `node` is a part of: the first one made by it or a later node.
    pub(super) fn layer_of(&self, node: &WeightedNode) -> Option<&'a Layer> {
        let at = |layer: &&Layer| self.graph.position(&layer.tensor).is_some_and(|position| position >= node.position);
        self.metadata.layers.iter().find(at)
    }

    /// Floating-point operations of one image through the nodes wanted: two per multiplication with a weight.
    pub(super) fn flops(&self, wanted: impl Fn(&WeightedNode) -> bool) -> u64 {
        let positions: HashMap<&str, u64> = self
            .metadata
            .layers
            .iter()
            .map(|layer| (layer.tensor.as_str(), layer.shape.split_last().map_or(1, |(_, sides)| product(sides))))
            .collect();
        let of_output = |node: &WeightedNode| {
            let known = positions.get(node.tensor.as_str());
            known.or_else(|| positions.get(node.read_by.as_deref()?)).copied().unwrap_or(1)
        };
        let per_node = |node: &WeightedNode| {
            let weight = |weight: &crate::graph::StoredWeight| match weight.role {
                Role::Kernel => 2 * weight.values() * of_output(node),
                Role::Matrix => 2 * weight.values(),
                Role::Bias | Role::Scale | Role::Shift => 0,
            };
            node.parameters.iter().map(weight).sum::<u64>()
        };
        self.weighted.iter().filter(|node| wanted(node)).map(per_node).sum()
    }

    pub(super) fn head_flops(&self) -> u64 {
        self.head.params.saturating_mul(2)
    }

    /// Channel, height, width of the input.
    pub(super) fn input_shape(&self) -> Vec<usize> {
        let preprocessing = &self.metadata.preprocessing;
        vec![preprocessing.channels(), preprocessing.height as usize, preprocessing.width as usize]
    }
}

fn product(sides: &[usize]) -> u64 {
    sides.iter().map(|&side| side as u64).product()
}
