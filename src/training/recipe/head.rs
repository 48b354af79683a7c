//! Where the new layers sit on the base, and how large they are.
//!
//! Knows shapes and counts; draws no weights.

use super::{
    draft::HeadDraft,
    problem::Problems,
    request::MapPool,
    resolved::{Head, Pool},
};
use crate::{
    arch,
    graph::Layout,
    registry::{Layer, Metadata},
};

/// A map as convolutions have it.
const CHANNELS_FIRST: Layout = Layout::Map([1, 2, 0]);

/// Most parameters of a head: its weights, gradients and optimizer state lie in memory.
const MAX_PARAMS: u64 = 500_000_000;

/// The head on `metadata`'s model; `None` with a problem when it cannot sit there.
pub(super) fn head(draft: &HeadDraft, metadata: &Metadata, classes: usize, problems: &mut Problems) -> Option<Head> {
    let layer = if draft.keep_fc { kept(metadata, problems)? } else { base_without_top(metadata) };
    let (pool, inputs) = match (layer.layout(), layer.shape.as_slice()) {
        (Layout::Vector, &[units]) => (Pool::None, units),
        (CHANNELS_FIRST, &[_, _, channels]) if draft.pool == MapPool::Avg => (Pool::Avg, channels),
        (CHANNELS_FIRST, &[height, width, channels]) => (Pool::Flatten, height * width * channels),
        _ => {
            let detail = format!(
                "`{}`, on which the head would sit, has shape {:?}; a head needs a vector, or a map whose tensor has its \
                 channels first: import the model with another `features_layer`",
                layer.name, layer.shape
            );
            problems.add("base", detail);
            return None;
        }
    };
    let params = params(inputs, &draft.hidden, classes);
    if params > MAX_PARAMS {
        let detail = format!("makes a head of {params} parameters, more than {MAX_PARAMS}; use fewer units, or pool `avg`");
        problems.add("head.hidden", detail);
    }
    Some(Head {
        on: layer.name.clone(),
        on_index: layer.index,
        tensor: layer.tensor.clone(),
        shape: layer.shape.clone(),
        pool,
        inputs,
        hidden: draft.hidden.clone(),
        dropout: draft.dropout,
        outputs: classes,
        params,
    })
}

fn kept<'a>(metadata: &'a Metadata, problems: &mut Problems) -> Option<&'a Layer> {
    let found = last_fully_connected(&metadata.architecture).and_then(|name| metadata.layer(&name));
    if found.is_none() {
        let own = |name: &&str| last_fully_connected(name).is_some();
        let having = arch::NAMES.into_iter().filter(own).collect::<Vec<_>>().join(" or ");
        let detail =
            format!("needs a base of {having} with its own dense layers, which `{}` does not have; leave it out", metadata.name);
        problems.add("head.keep_fc", detail);
    }
    found
}

/// The last of the hidden dense layers of an architecture that has them.
fn last_fully_connected(architecture: &str) -> Option<String> {
    arch::by_name(architecture, true)?.transfer.fully_connected.pop()
}

/// The last layer below the classifier of an architecture of graft's own; the features of any other graph.
fn base_without_top(metadata: &Metadata) -> &Layer {
    let architecture = arch::by_name(&metadata.architecture, false);
    let base = architecture.and_then(|architecture| metadata.layer(architecture.transfer.base()));
    let found = base.or_else(|| metadata.layer(&metadata.features_layer));
    found.expect("published metadata has been validated: the features layer is one of the layers")
}

/// Kernels and biases of layers of these widths.
fn params(inputs: usize, hidden: &[usize], outputs: usize) -> u64 {
    let widths: Vec<u64> = std::iter::once(&inputs).chain(hidden).chain([&outputs]).map(|&width| width as u64).collect();
    widths.windows(2).map(|pair| pair[0].saturating_add(1).saturating_mul(pair[1])).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::params;

    #[test]
    fn params_are_keras_s() {
        let check = |inputs, hidden: &[usize], outputs, expected| {
            assert_eq!(params(inputs, hidden, outputs), expected, "{inputs} {hidden:?} {outputs}");
        };
        check(2048, &[1024], 2, 2_100_226);
        check(512, &[], 10, 5130);
        check(usize::MAX, &[2], 2, u64::MAX);
    }
}
