//! Whether a version's metadata are those of its graph, as far as the graph says without a run.
//!
//! Metadata may be edited, and graphs exchanged: what does not fit would fail in every request. Runs nothing.

use std::collections::HashSet;

use super::{
    Metadata,
    metadata::{MetadataError, rule},
};
use crate::graph::{Dim, Graph};

impl Metadata {
    /// Checks what is said of input, layers and output against `graph`.
    ///
    /// # Errors
    /// The first field that contradicts the graph.
    pub(super) fn check_fit(&self, graph: &Graph) -> Result<(), MetadataError> {
        self.check_input(graph)?;
        let computed: HashSet<&str> = graph.computed().collect();
        let unknown = self.layers.iter().find(|layer| !computed.contains(layer.tensor.as_str()));
        rule("layers", unknown.is_none(), || {
            let (name, tensor) = unknown.map(|layer| (layer.name.as_str(), layer.tensor.as_str())).unwrap_or_default();
            format!("has `{name}` at the tensor `{tensor}`, which the graph does not compute")
        })?;
        let Some(output) = &self.output else { return Ok(()) };
        rule("output.tensor", computed.contains(output.tensor.as_str()), || {
            format!("is `{}`, which the graph does not compute", output.tensor)
        })?;
        self.check_calibration(graph)?;
        let declared = graph.outputs().into_iter().find(|declared| declared.name == output.tensor);
        let sizes = declared.and_then(|declared| declared.shape);
        let values = sizes.as_deref().and_then(|sizes| sizes.split_first()).and_then(|(_, sizes)| product(sizes));
        rule("labels", values.is_none_or(|values| output.kind.classes(values) == self.labels.len()), || {
            let (count, values) = (self.labels.len(), values.unwrap_or_default());
            format!("has {count} entries, but `{}` of the graph has {values} values ({})", output.tensor, output.kind)
        })
    }

    fn check_input(&self, graph: &Graph) -> Result<(), MetadataError> {
        let input = graph.input().map_err(|error| MetadataError { field: "input", rule: format!("cannot be fed: {error}") })?;
        rule("input", input.name == self.input, || format!("is `{}`, but that of the graph is `{}`", self.input, input.name))?;
        let spec = &self.preprocessing;
        let wanted = [
            ("fixed_batch", self.fixed_batch),
            ("preprocessing.channel_order", Some(spec.channels())),
            ("preprocessing.height", usize::try_from(spec.height).ok()),
            ("preprocessing.width", usize::try_from(spec.width).ok()),
        ];
        rule("input", matches!(input.shape.len(), 0 | 4), || {
            format!("has the shape {} in the graph; images have four axes: N×C×H×W", input.describe())
        })?;
        for ((field, wanted), dim) in wanted.into_iter().zip(&input.shape) {
            let fixed = dim.fixed().and_then(|size| usize::try_from(size).ok());
            rule(field, fixed.is_none() || fixed == wanted, || {
                let wanted = wanted.map_or_else(|| "open".to_owned(), |wanted| wanted.to_string());
                format!("makes that axis {wanted}, but the graph takes {}", input.describe())
            })?;
        }
        Ok(())
    }
}

/// Values behind `sizes`, if all are known.
fn product(sizes: &[Dim]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(dim.fixed()?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arch::{Activation, Builder, Description, LayerKind, Transfer},
        preprocess::ChannelOrder,
        registry::{Provenance, Repository, import_weights, numbered_labels},
        weights::seeded::Seeded,
    };

    #[test]
    fn what_contradicts_the_graph_is_named() {
        let mut builder = Builder::new([8, 9, 3]);
        let pool = builder.named("pool", LayerKind::GlobalAveragePooling2D, &[0]);
        let top = builder.named("top", LayerKind::dense(4, Activation::Softmax), &[pool]);
        let description = Description { name: "tiny", include_top: true, features_layer: "pool", transfer: Transfer::default() };
        let (root, provenance) = (tempfile::tempdir().unwrap(), Provenance { source: "seed:1".to_owned(), pretrained: false });
        let repository = Repository::open(root.path()).unwrap();
        let architecture = builder.finish(top, description);
        let version = import_weights(&repository, "tiny", &architecture, &mut Seeded::new(1), provenance).unwrap();
        let graph = Graph::read(&version.graph_path()).unwrap();
        let check = |change: fn(&mut Metadata), expected: &str| {
            let mut metadata = Metadata::clone(&version.metadata);
            assert_eq!(metadata.check_fit(&graph), Ok(()));
            change(&mut metadata);
            let problem = metadata.check_fit(&graph).unwrap_err().to_string();
            assert!(problem.starts_with(expected), "{problem}");
        };
        check(|m| m.input = "image".into(), "`input` is `image`, but that of the graph is `input");
        check(|m| m.preprocessing.width = 10, "`preprocessing.width` makes that axis 10, but the graph takes ");
        check(|m| m.preprocessing.height = 224, "`preprocessing.height` makes that axis 224, but the graph takes ");
        check(|m| m.preprocessing.channel_order = ChannelOrder::Grey, "`preprocessing.channel_order` makes that axis 1, ");
        check(
            |m| m.layers[1].tensor = "nothing".into(),
            "`layers` has `pool` at the tensor `nothing`, which the graph does not ",
        );
        check(
            |m| m.output.as_mut().unwrap().tensor = "nothing".into(),
            "`output.tensor` is `nothing`, which the graph does not compute",
        );
        check(|m| m.labels = numbered_labels(5), "`labels` has 5 entries, but `top` of the graph has 4 values (probabilities)");
    }
}
