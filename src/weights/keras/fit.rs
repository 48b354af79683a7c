//! Whether a file's weights are those of an architecture, by order and shape as Keras loads them, never by name.
//!
//! Owns the comparison and the message when it fails.

use std::collections::HashMap;

use super::{
    error::{Error, LayerName},
    layout::{StoredLayer, StoredLayers},
};
use crate::arch::{Architecture, Layer, NAMES, by_name};

/// For each of the architecture's layers the position of its stored layer; `None` for those without weights.
pub(super) type Fitted = Vec<Option<usize>>;

/// The first of `candidates` whose weights `stored` holds, by position; every tensor's shape and type agree.
pub(super) fn fit(candidates: &[Architecture], stored: &StoredLayers) -> Result<(usize, Fitted), Error> {
    let mut misfits = Vec::new();
    for (position, candidate) in candidates.iter().enumerate() {
        match fit_one(candidate, stored) {
            Ok(fitted) => return Ok((position, fitted)),
            Err(misfit) => misfits.push(misfit),
        }
    }
    let name = candidates.first().map(|candidate| candidate.name.clone()).unwrap_or_default();
    let others = NAMES.into_iter().filter(|other| *other != name);
    for other in others.flat_map(|other| [by_name(other, true), by_name(other, false)]).flatten() {
        if fit_one(&other, stored).is_ok() {
            return Err(Error::OtherArchitecture { expected: name, found: other.name });
        }
    }
    Err(explain(name, candidates, misfits, stored))
}

/// Where an architecture and a file part.
struct Misfit {
    /// Layers with weights that agree before that.
    agreeing: usize,
    /// `None` when one of them only has more layers.
    error: Option<Box<Error>>,
}

fn fit_one(arch: &Architecture, stored: &StoredLayers) -> Result<Fitted, Misfit> {
    let mut fitted: Fitted = vec![None; arch.layers.len()];
    let mut finder = Finder { stored, asked: 0, of_class: HashMap::new() };
    for (agreeing, (index, layer)) in arch.weighted().enumerate() {
        let name = LayerName::of(index, layer);
        let position = finder.next(layer, &name).map_err(|error| Misfit { agreeing, error: error.map(Box::new) })?;
        check(layer, &name, &stored.layers[position]).map_err(|error| Misfit { agreeing, error: Some(Box::new(error)) })?;
        fitted[index] = Some(position);
    }
    let agreeing = arch.weighted().count();
    if agreeing < stored.layers.len() { Err(Misfit { agreeing, error: None }) } else { Ok(fitted) }
}

/// Finds the stored layers of an architecture's layers with weights, asked in order.
///
/// Keras counts all layers of a class; of the classes that exist, either every layer has weights or none.
struct Finder<'a> {
    stored: &'a StoredLayers,
    asked: usize,
    of_class: HashMap<&'static str, usize>,
}

impl Finder<'_> {
    /// # Errors
    /// `None` when the file's list has come to its end.
    fn next(&mut self, layer: &Layer, name: &LayerName) -> Result<usize, Option<Error>> {
        let position = self.asked;
        self.asked += 1;
        let Some(by_class) = &self.stored.by_class else {
            return if position < self.stored.layers.len() { Ok(position) } else { Err(None) };
        };
        let count = self.of_class.entry(layer.kind.keras_name()).or_default();
        let class = layer.kind.snake_name();
        let group = if *count == 0 { class } else { format!("{class}_{count}") };
        *count += 1;
        let path = format!("layers/{group}/vars");
        by_class.get(&group).copied().ok_or_else(|| Some(Error::Missing { path, for_layer: Some(name.clone()) }))
    }
}

fn check(layer: &Layer, name: &LayerName, found: &StoredLayer) -> Result<(), Error> {
    if layer.weights.len() != found.tensors.len() {
        let names: Vec<&str> = layer.weights.iter().map(|weight| weight.name).collect();
        return Err(Error::WeightCount {
            layer: name.clone(),
            expected: layer.weights.len(),
            names: names.join(", "),
            found: found.tensors.len(),
            group: found.group.clone(),
        });
    }
    for (weight, tensor) in layer.weights.iter().zip(&found.tensors) {
        if !weight.shape.iter().map(|&side| side as u64).eq(tensor.shape.iter().copied()) {
            return Err(Error::Shape {
                weight: format!("{} {}", layer.kind.snake_name(), weight.name),
                expected: weight.shape.clone(),
                layer: name.clone(),
                found: tensor.shape.clone(),
                dataset: tensor.path.clone(),
            });
        }
        if tensor.dtype != "float32" {
            return Err(Error::DataType { dataset: tensor.path.clone(), found: tensor.dtype.clone() });
        }
    }
    Ok(())
}

/// The error for a file that fits none of `candidates`: from the one that agrees longest.
fn explain(name: String, candidates: &[Architecture], misfits: Vec<Misfit>, stored: &StoredLayers) -> Error {
    let found = stored.layers.len();
    let counts: Vec<usize> = candidates.iter().map(|candidate| candidate.weighted().count()).collect();
    let same_count = counts.contains(&found);
    let mut best: Option<Misfit> = None;
    for (misfit, &count) in misfits.into_iter().zip(&counts) {
        let comparable = !same_count || count == found;
        if comparable && best.as_ref().is_none_or(|best| misfit.agreeing > best.agreeing) {
            best = Some(misfit);
        }
    }
    match best.and_then(|misfit| misfit.error) {
        Some(error) if same_count => *error,
        difference => {
            let expected: Vec<String> = candidates.iter().zip(&counts).map(|(arch, count)| expectation(arch, *count)).collect();
            Error::LayerCount { architecture: name, expected: expected.join(" or "), found, difference }
        }
    }
}

fn expectation(arch: &Architecture, count: usize) -> String {
    if arch.include_top { count.to_string() } else { format!("{count} (without its top)") }
}
