//! What the graph answers: its output, the classes, and the layer that stands for their features.

use crate::{
    graph::Graph,
    registry::{
        Label, Layer, Output, OutputKind,
        import::{ImportError, OnnxSettings},
        nearest, numbered_labels, read_labels,
    },
};

/// The output tensor, and what its numbers are.
///
/// # Errors
/// Several outputs, or one that is no float tensor which depends on the image.
pub(super) fn output(graph: &Graph, layers: &[Layer], settings: &OnnxSettings) -> Result<Output, ImportError> {
    let refused = |reason: String| ImportError::Setting { setting: "output", reason };
    let outputs: Vec<String> = graph.outputs().into_iter().map(|output| output.name).collect();
    let [tensor] = outputs.try_into().map_err(|outputs: Vec<String>| {
        refused(format!("a classifier has one output, this graph has {}: {}", outputs.len(), outputs.join(", ")))
    })?;
    let layer = layers.iter().find(|layer| layer.tensor == tensor);
    let layer = layer.ok_or_else(|| refused(format!("`{tensor}` is no float output that depends on the image")))?;
    let after_softmax = layer.kind == "Softmax";
    let found = if after_softmax { OutputKind::Probabilities } else { OutputKind::Logits };
    Ok(Output { kind: settings.output.unwrap_or(found), tensor })
}

/// One label per class: those of the settings, or numbered ones.
///
/// # Errors
/// A file of labels that cannot be read or that has another number of them.
pub(super) fn labels(settings: &OnnxSettings, classes: usize) -> Result<Vec<Label>, ImportError> {
    let Some(path) = &settings.labels else { return Ok(numbered_labels(classes)) };
    let refused = |reason: String| ImportError::Setting { setting: "labels", reason };
    let labels = read_labels(path).map_err(|error| refused(error.to_string()))?;
    if labels.len() != classes {
        return Err(refused(format!("{} holds {} labels, but the graph has {classes} classes", path.display(), labels.len())));
    }
    Ok(labels)
}

/// The layer that `/features` answers with: `wanted`, or the last one.
///
/// # Errors
/// `wanted` is no layer.
pub(super) fn features_layer_among(layers: &[Layer], wanted: Option<String>) -> Result<String, ImportError> {
    let wanted = wanted.or_else(|| layers.last().map(|layer| layer.name.clone())).unwrap_or_default();
    if layers.iter().any(|layer| layer.name == wanted) {
        return Ok(wanted);
    }
    let near = nearest(&wanted, layers.iter().map(|layer| layer.name.as_str()));
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean `{}`?", near.join("`, `")) };
    Err(ImportError::Setting { setting: "features_layer", reason: format!("the graph has no layer `{wanted}`{hint}") })
}
