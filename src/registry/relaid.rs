//! Layers that an earlier graft published: how they lie was taken from their rank, and is followed through the graph again.
//!
//! Changes no file; what a version says of its weights and classes stays as it is.

use std::collections::HashMap;

use super::Metadata;
use crate::{
    arch,
    graph::{Graph, Layout},
};

impl Metadata {
    /// Whether layers of a user's graph have no layout of their own: an earlier graft published the version.
    pub(super) fn needs_layouts(&self) -> bool {
        let unknown = self.layers.iter().any(|layer| layer.layout.is_none() && layer.shape.len() > 1);
        unknown && arch::by_name(&self.architecture, true).is_none()
    }

    /// Follows the layers through `graph`; that some were maps of other axes, or none, is a correction.
    pub(super) fn lay_out(&mut self, graph: &Graph) {
        let batch = self.fixed_batch.unwrap_or(1);
        let batched = |shape: Vec<usize>| std::iter::once(batch).chain(shape).collect::<Vec<_>>();
        let own = |layer: &super::Layer| (layer.tensor.clone(), batched(layer.stored_shape()));
        let mut shapes: HashMap<String, Vec<usize>> = self.layers.iter().map(own).collect();
        let spec = &self.preprocessing;
        let image = vec![spec.channels(), spec.height as usize, spec.width as usize];
        shapes.insert(self.input.clone(), batched(image));
        let layouts = graph.layouts(&shapes);
        let mut changed = 0;
        for layer in &mut self.layers {
            let layout = layouts.get(&layer.tensor).copied().unwrap_or(Layout::NoMap);
            changed += usize::from(layout != layer.layout() && layer.layout() != Layout::NoMap);
            layer.shape = layout.shown(&layer.stored_shape());
            layer.layout = Some(layout);
        }
        if changed > 0 {
            let layers = format!("{changed} of its layers lie otherwise than an earlier graft took from their rank");
            self.correction = Some(self.correction.take().map_or(layers.clone(), |other| format!("{other}; {layers}")));
        }
    }
}
