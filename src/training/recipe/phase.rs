//! One phase against the base: which layer it starts at, what trains there, and what is cached below.
//!
//! Reads the graph's structure; runs nothing.

use super::{
    draft::PhaseDraft,
    layers::{Foundation, Start},
    problem::Problems,
    resolved::{BatchNorm, Frontier, Parameter, Phase, Pool, Trainable},
};
use crate::{
    graph::{Role, WeightedNode},
    registry::Layer,
};

impl Foundation<'_> {
    /// The phase of `draft` at `field`; `None` with a problem when its layer cannot be started from.
    pub(super) fn phase(
        &self,
        field: &str,
        draft: &PhaseDraft,
        problems: &mut Problems,
        warnings: &mut Vec<String>,
    ) -> Option<Phase> {
        let Some(from) = &draft.from else { return Some(self.head_phase(draft)) };
        let field = format!("{field}.trainable_from");
        let start = self.start(&field, from, problems)?;
        let trained = self.trained(&start);
        let Some(first) = trained.first().map(|(node, _)| *node) else {
            problems.add(field, self.nothing_trains(&start));
            return None;
        };
        let frontier: Option<Vec<Frontier>> = first.crossing.iter().map(|tensor| self.cached(tensor)).collect();
        let Some(frontier) = frontier else {
            problems.add(field, self.unknown_shapes(first));
            return None;
        };
        let parameters = parameters(&trained);
        let of_base: u64 = parameters.iter().map(|weight| weight.shape.iter().map(|&side| side as u64).product::<u64>()).sum();
        let trainable_params = of_base + self.head.params;
        warnings.extend(self.inside_a_block(&field, &start, first));
        let trained_flops = self.flops(|node| node.position >= first.position) + self.head_flops();
        let frozen_flops = self.flops(|node| node.position < first.position);
        Some(Phase {
            trainable: Trainable::From { layer: start.name.to_owned(), index: start.index },
            trainable_params,
            parameters,
            activation_bytes_per_image: self.activations(start.index),
            ..self.of(draft, frontier, frozen_flops, trained_flops)
        })
    }

    /// The head alone, on pooled vectors where it pools.
    fn head_phase(&self, draft: &PhaseDraft) -> Phase {
        let pooled = self.head.pool == Pool::Avg;
        let shape = if pooled { vec![self.head.inputs] } else { channels_first(&self.head.shape) };
        let frontier = vec![Frontier { bytes: bytes(&shape), tensor: self.head.tensor.clone(), shape, pooled }];
        self.of(draft, frontier, self.flops(|_| true), self.head_flops())
    }

    /// A phase of `draft` with the head alone trainable.
    fn of(&self, draft: &PhaseDraft, frontier: Vec<Frontier>, frozen_flops: u64, trained_flops: u64) -> Phase {
        Phase {
            trainable: Trainable::Head,
            start_from: draft.start_from,
            epochs: draft.epochs,
            optimizer: draft.rule.optimizer.clone(),
            learning_rate: draft.rule.learning_rate,
            l2: draft.rule.l2,
            trainable_params: self.head.params,
            parameters: Vec::new(),
            frontier_bytes_per_image: frontier.iter().map(|tensor| tensor.bytes).sum(),
            frontier,
            activation_bytes_per_image: 0,
            frozen_flops,
            trained_flops,
        }
    }

    /// Bytes of the layers from the index `first` up to the head.
    fn activations(&self, first: usize) -> u64 {
        let trains = |layer: &&crate::registry::Layer| (first..=self.head.on_index).contains(&layer.index);
        self.metadata.layers.iter().filter(trains).map(|layer| bytes(&layer.shape)).sum()
    }

    /// The nodes that train from `start` on, each with those of its weights that do.
    fn trained(&self, start: &Start<'_>) -> Vec<(&WeightedNode, Vec<Parameter>)> {
        let behind = self.weighted.iter().filter(|node| start.last_frozen.is_none_or(|last| node.position > last));
        let trained = behind.map(|node| (node, self.parameters_of(node)));
        trained.filter(|(_, parameters)| !parameters.is_empty()).collect()
    }

    /// Kernels and biases; scale and shift when the recipe says so, and Keras has them: graft's graphs always have a scale.
    fn parameters_of(&self, node: &WeightedNode) -> Vec<Parameter> {
        let affine = self.batch_norm == BatchNorm::Affine;
        let trains = |role: Role| match role {
            Role::Kernel | Role::Matrix | Role::Bias => true,
            Role::Scale => affine && !self.unscaled.contains(&node.tensor),
            Role::Shift => affine,
        };
        let parameter = |weight: &crate::graph::StoredWeight| Parameter {
            name: weight.name.clone(),
            shape: weight.shape.clone(),
            regularized: matches!(weight.role, Role::Kernel | Role::Matrix),
        };
        node.parameters.iter().filter(|weight| trains(weight.role)).map(parameter).collect()
    }

    /// What is cached of `tensor`; `None` when its shape per image is not known.
    fn cached(&self, tensor: &str) -> Option<Frontier> {
        let input = || (tensor == self.metadata.input).then(|| self.input_shape());
        let layer = self.metadata.layers.iter().find(|layer| layer.tensor == tensor);
        let shape = layer.map(Layer::stored_shape).or_else(input)?;
        Some(Frontier { tensor: tensor.to_owned(), bytes: bytes(&shape), shape, pooled: false })
    }

    fn unknown_shapes(&self, first: &WeightedNode) -> String {
        let unknown: Vec<&str> =
            first.crossing.iter().filter(|tensor| self.cached(tensor).is_none()).map(String::as_str).collect();
        let is_known = |node: &&WeightedNode| node.crossing.iter().all(|tensor| self.cached(tensor).is_some());
        let next = self.kernels().filter(|node| node.position > first.position).find(is_known);
        let way_out = next.and_then(|node| self.layer_of(node)).map_or_else(
            || "use `\"trainable\": \"head\"`".to_owned(),
            |layer| format!("begin at `{}` ({}) or after it", layer.name, layer.index),
        );
        format!("would cache `{}`, of which the shape per image is not known; {way_out}", unknown.join("`, `"))
    }
}

/// Each once, though several nodes read it.
fn parameters(trained: &[(&WeightedNode, Vec<Parameter>)]) -> Vec<Parameter> {
    let mut all: Vec<Parameter> = Vec::new();
    for parameter in trained.iter().flat_map(|(_, parameters)| parameters) {
        if !all.iter().any(|known| known.name == parameter.name) {
            all.push(parameter.clone());
        }
    }
    all
}

/// Height, width, channel → channel, height, width; vectors as they are.
pub(super) fn channels_first(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [height, width, channels] => vec![channels, height, width],
        _ => shape.to_vec(),
    }
}

fn bytes(shape: &[usize]) -> u64 {
    4 * shape.iter().map(|&side| side as u64).product::<u64>()
}
