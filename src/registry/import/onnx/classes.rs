//! The names of the classes, and the layer that stands for their features.
//!
//! Knows no numbers: what an output means is `output`'s to say.

use super::conventions;
use crate::{
    graph::Graph,
    registry::{
        Assumption, Label, Layer,
        import::{ImportError, OnnxSettings},
        nearest, numbered_labels, read_labels,
    },
};

/// One label per class: those of the settings, of graft's own export, or of the file's properties, else numbered ones.
///
/// # Errors
/// A file of labels that cannot be read or that has another number of them.
pub(super) fn labels(
    graph: &Graph,
    settings: &OnnxSettings,
    exported: Option<&[Label]>,
    classes: usize,
) -> Result<(Vec<Label>, Option<Assumption>), ImportError> {
    let Some(path) = &settings.labels else {
        if let Some(exported) = exported.filter(|labels| labels.len() == classes) {
            return Ok((exported.to_vec(), None));
        }
        let assumed = |labels, assumed: String| Ok((labels, Some(Assumption::new("labels", assumed))));
        return match conventions::labels(graph) {
            _ if classes == 0 => Ok((Vec::new(), None)),
            Some((key, labels)) if labels.len() == classes => {
                assumed(labels, format!("those that the file has under its property `{key}`"))
            }
            Some((key, labels)) => assumed(
                numbered_labels(classes),
                format!("class_0 … (the file's property `{key}` has {} for {classes} classes)", labels.len()),
            ),
            None if classes == 2 => assumed(numbered_labels(2), "class_0, class_1".to_owned()),
            None => assumed(numbered_labels(classes), format!("class_0 … class_{}", classes.saturating_sub(1))),
        };
    };
    let labels = read_labels(path)?;
    if labels.len() != classes {
        return Err(ImportError::LabelCount { path: path.into(), labels: labels.len(), classes });
    }
    Ok((labels, None))
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
