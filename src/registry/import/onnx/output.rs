//! What the graph answers: which of its tensors holds the scores of classes, and what its numbers are.
//!
//! Refuses by name what is no vector of classes.

use super::probe::Probed;
use crate::{
    graph::{DeclaredOutput, Dim, Graph, Shapes},
    registry::{Assumption, FoundBy, Output, OutputKind, import::ImportError, nearest},
};

/// How many tensors a message names.
const SHOWN: usize = 8;

/// The tensor of scores.
#[derive(Debug)]
pub(super) struct Chosen {
    /// As the graph calls it.
    pub(super) name: String,
    /// Where its numbers are as floats.
    pub(super) tensor: String,
}

/// Chooses the output `wanted`, or the only one; the graph gets a node behind one that is no float.
///
/// # Errors
/// Several outputs and none chosen, a name that the graph does not have, an output that holds no scores.
pub(super) fn choose(graph: Graph, wanted: Option<&str>) -> Result<(Graph, Chosen), ImportError> {
    let outputs = graph.declared_outputs();
    let refused = |reason: String| ImportError::Setting { setting: "output_tensor", reason };
    let chosen = match (wanted, outputs.as_slice()) {
        (Some(name), _) => match outputs.iter().find(|output| output.name == name) {
            Some(output) => output.clone(),
            None => return inner(graph, name),
        },
        (None, [only]) => only.clone(),
        (None, _) => {
            let list: Vec<String> = outputs.iter().map(describe).collect();
            let is_table =
                |output: &&DeclaredOutput| output.kind == "float32" && output.shape.as_ref().is_some_and(|dims| dims.len() == 2);
            let likely = outputs.iter().find(is_table).map_or("NAME", |output| output.name.as_str());
            return Err(refused(format!(
                "the graph has {} outputs; name the one that holds the scores, as `--output-tensor {}`: {}",
                outputs.len(),
                likely,
                list.join(", ")
            )));
        }
    };
    let (graph, tensor) = graph.with_float_output(&chosen.name)?;
    let tensor = tensor.ok_or_else(|| ImportError::NotAClassifier { reason: no_scores(&chosen) })?;
    Ok((graph, Chosen { name: chosen.name, tensor }))
}

/// A tensor that is none of the graph's outputs.
fn inner(graph: Graph, name: &str) -> Result<(Graph, Chosen), ImportError> {
    let layers = graph.image_layers();
    if layers.iter().any(|layer| layer.name == name) {
        return Ok((graph, Chosen { name: name.to_owned(), tensor: name.to_owned() }));
    }
    let outputs: Vec<String> = graph.declared_outputs().iter().map(describe).collect();
    let near = nearest(name, layers.iter().map(|layer| layer.name.as_str()));
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean `{}`?", near.join("`, `")) };
    let reason = format!("the graph computes no `{name}`{hint}; its outputs are {}", outputs.join(", "));
    Err(ImportError::Setting { setting: "output_tensor", reason })
}

/// `logits` (float32 N×5).
fn describe(output: &DeclaredOutput) -> String {
    let shape = output.shape.as_ref().map(|shape| shape.iter().map(Dim::to_string).collect::<Vec<_>>().join("×"));
    let shape = shape.filter(|shape| !shape.is_empty()).map(|shape| format!(" {shape}")).unwrap_or_default();
    format!("`{}` ({}{shape})", output.name, output.kind)
}

/// Why an output that is no float holds no scores, and the way out.
fn no_scores(output: &DeclaredOutput) -> String {
    let DeclaredOutput { name, kind, op_type, inputs, .. } = output;
    let input = inputs.iter().find(|input| !input.is_empty());
    let made = input.map_or_else(String::new, |input| format!(", which {op_type} makes of `{input}`"));
    let instead = input.map_or_else(
        || "export the scores instead".to_owned(),
        |input| format!("`--output-tensor {input}` takes that, or export the scores"),
    );
    match (kind.as_str(), op_type.as_str()) {
        (_, "ZipMap") | ("a sequence of maps" | "a map", _) => {
            format!("its output `{name}` is {kind}{made}, not a tensor; {instead} without ZipMap (`zipmap=False`)")
        }
        (_, "ArgMax" | "TopK") | ("int64" | "int32", _) => {
            format!("its output `{name}` is {kind}{made}: numbers of classes, not their scores; {instead}")
        }
        ("uint8" | "int8" | "uint16" | "int16", _) => {
            format!("its output `{name}` is {kind}{made}, and the graph does not say with what scale; {instead} as float32")
        }
        _ => format!("its output `{name}` is {kind}{made}, not float; {instead} as float32"),
    }
}

/// Values of the chosen tensor for an image, if they are one vector.
///
/// # Errors
/// [`ImportError::NotAClassifier`], with what it is and vectors that the graph has.
pub(super) fn vector(chosen: &Chosen, probed: &Probed, given: Option<OutputKind>) -> Result<usize, ImportError> {
    let name = &chosen.name;
    let refused = |what: String| {
        let vectors = probed.layers.iter().rev().filter(|layer| is_vector(&layer.shape) && layer.tensor != chosen.tensor);
        let vectors: Vec<String> = vectors.take(SHOWN).map(|layer| format!("`{}`", layer.name)).collect();
        let instead = if vectors.is_empty() {
            ", of which the graph has none for `--output-tensor`".to_owned()
        } else {
            format!("; the graph has vectors ({}), of which `--output-tensor` takes one", vectors.join(", "))
        };
        ImportError::NotAClassifier { reason: format!("{what}; graft serves one vector of scores an image{instead}") }
    };
    let Some(shape) = probed.shapes.get(&chosen.tensor) else {
        return Err(refused(format!("`{name}` is no float tensor that depends on the image")));
    };
    let described = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let Some((_, sizes)) = shape.split_first().filter(|&(&first, _)| first == probed.batch) else {
        let (shape, batch) = (described(shape), probed.batch);
        return Err(refused(format!(
            "`{name}` has the shape {shape} for {batch} images, which must come first (squeezed away?)"
        )));
    };
    match sizes {
        sizes if is_vector(sizes) && probed.flattened.contains(&chosen.tensor) && given.is_none() => Err(refused(format!(
            "`{name}` runs over the places of the image: a map that was flattened ({} values), not a score for each class; if it is \
             that, say what its numbers are (`--output-kind`)",
            described(sizes)
        ))),
        sizes if is_vector(sizes) => Ok(sizes.iter().product()),
        [channels, height, width] => Err(refused(format!(
            "`{name}` is a map, {channels} values for each of {height}×{width} places, as segmenters and backbones give"
        ))),
        [rows, columns] => {
            Err(refused(format!("`{name}` is a table of {rows}×{columns} an image, as detectors (boxes) and transformers give")))
        }
        _ => Err(refused(format!("`{name}` holds {} values an image", described(sizes)))),
    }
}

/// Whether no more than one size is not 1.
fn is_vector(sizes: &[usize]) -> bool {
    sizes.iter().filter(|&&size| size != 1).count() <= 1 && !sizes.contains(&0)
}

/// Whether the vector has a length of 1, and is no share of 1 that is all one class's.
fn is_unit(row: &[f32]) -> bool {
    let square: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
    row.len() > 1 && (square - 1.0).abs() < 1e-3 && row.iter().any(|value| *value < 0.0)
}

/// What is known of the numbers of the output besides the graph.
pub(super) struct Hints<'a> {
    /// As the user says.
    pub(super) given: Option<OutputKind>,
    /// As graft's own export says.
    pub(super) exported: Option<&'a Output>,
}

/// What the numbers of the chosen tensor, `values` for an image, are; `run` gives them for a few different images.
///
/// # Errors
/// A kind that needs another number of values, a softmax over a single value, a run that fails.
pub(super) fn judge(
    graph: &Graph,
    chosen: &Chosen,
    values: usize,
    shapes: &Shapes,
    hints: Hints<'_>,
    run: impl FnOnce() -> Result<Vec<Vec<f32>>, ImportError>,
) -> Result<(Output, Option<Assumption>), ImportError> {
    let output = |kind, found_by| Output { tensor: chosen.tensor.clone(), kind, found_by };
    if let Some(kind) = hints.given {
        let kind = kind.of_values(values);
        if values > 1 && matches!(kind, OutputKind::Binary | OutputKind::BinaryLogit) {
            let reason = format!("`{kind}` is for a single number, but `{}` has {values} an image", chosen.name);
            return Err(ImportError::Setting { setting: "output_kind", reason });
        }
        return Ok((output(kind, FoundBy::Given), None));
    }
    if let Some(exported) = hints.exported.filter(|exported| exported.tensor == chosen.tensor) {
        return Ok((exported.clone(), None));
    }
    let no_scores = |what: &str| {
        let reason = format!(
            "`{}` is {what}; `--output-tensor` can name the scores, and `--output-kind` says that these are some",
            chosen.name
        );
        Err(ImportError::NotAClassifier { reason })
    };
    match graph.maker(&chosen.tensor) {
        Some("ArgMax" | "ArgMin") => return no_scores("the number of a class (ArgMax), not its score"),
        Some("ReduceMax" | "ReduceMin") if values == 1 => {
            return no_scores("the score of one class alone, whichever it is (ReduceMax)");
        }
        Some("LpNormalization") => return no_scores("scaled to a length of 1, as embeddings are (LpNormalization)"),
        _ => {}
    }
    let told = graph.scores(&chosen.tensor, values, shapes).map(OutputKind::from);
    if values == 1 && matches!(told, Some(OutputKind::Probabilities | OutputKind::LogProbabilities)) {
        let reason = format!(
            "`{}` is a softmax over a single value, which is 1 for every image; `--output-tensor` can name what the softmax reads",
            chosen.name
        );
        return Err(ImportError::NotAClassifier { reason });
    }
    let (kind, found_by) = match told.map(|told| told.of_values(values)) {
        // Shares of 1 that are not seen to be: two columns p and 1 − p, or a softmax within a branch.
        Some(OutputKind::Independent) => {
            let rows = run()?;
            if rows.iter().all(|row| row.len() > 1 && row.iter().all(|value| *value == 1.0)) {
                return no_scores("1 for every class and image, as after a softmax over something else than classes");
            }
            match OutputKind::by_values(&rows) {
                OutputKind::Probabilities => (OutputKind::Probabilities, FoundBy::Probe),
                _ => (OutputKind::Independent, FoundBy::Graph),
            }
        }
        Some(told) => (told, FoundBy::Graph),
        None => {
            let rows = run()?;
            // A black image may have no direction.
            let mut directed = rows.iter().filter(|row| row.iter().all(|value| value.is_finite())).peekable();
            if directed.peek().is_some() && directed.all(|row| is_unit(row)) {
                return no_scores("scaled to a length of 1, as embeddings are");
            }
            (OutputKind::by_values(&rows), FoundBy::Probe)
        }
    };
    let assumption = match (kind, found_by) {
        (OutputKind::BinaryLogit, _) => Some("binary_logit (one number, of which a sigmoid is taken: two classes)".to_owned()),
        (kind, FoundBy::Probe) => Some(format!("{kind} (by the values that trial runs gave)")),
        _ => None,
    };
    Ok((output(kind, found_by), assumption.map(|assumed| Assumption::new("output_kind", assumed))))
}
