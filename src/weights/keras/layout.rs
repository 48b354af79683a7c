//! The four ways in which Keras lays weights out in HDF5, read into one list of groups.
//!
//! Reads names and headers only; which architecture they are of is `fit`'s part.

use std::collections::HashMap;

use super::{
    error::Error,
    hdf5::{Hdf5, Stored},
};
use crate::message::Listed;

/// How the file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Weights written by Keras 1 or 2, such as those that Keras published in 2016 and 2017: dataset names end in `:0`.
    Keras2,
    /// The same layout as Keras 3 writes it: dataset names are variable paths.
    Legacy,
    /// A whole model saved as `.h5`: the legacy layout under `model_weights`.
    WholeModel,
    /// Keras 3's `model.save_weights("x.weights.h5")`: `layers/CLASS_N/vars/I`.
    Keras3,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keras2 => "Keras 1 or 2 weights",
            Self::Legacy => "Keras weights in the legacy layout",
            Self::WholeModel => "whole Keras model",
            Self::Keras3 => "Keras 3 weights",
        })
    }
}

/// The tensors of one layer.
pub(super) struct StoredLayer {
    /// Path of its group in the file.
    pub(super) group: String,
    /// In Keras's order.
    pub(super) tensors: Vec<Stored>,
}

/// The layers that have weights.
pub(super) struct StoredLayers {
    /// In the order of `model.layers`, unless `by_class` is there.
    pub(super) layers: Vec<StoredLayer>,
    /// Positions by group name, class name in snake case and a counter within the class: `conv2d_1`.
    pub(super) by_class: Option<HashMap<String, usize>>,
}

/// Finds out the layout of `file` and reads the headers of all its weights.
pub(super) fn read(file: &Hdf5) -> Result<(Layout, StoredLayers), Error> {
    if let Some(names) = file.strings("/", "layer_names")? {
        let layers = ordered(file, "", &names)?;
        let suffixed = layers.iter().flat_map(|layer| &layer.tensors).any(|tensor| tensor.path.ends_with(":0"));
        let layout = if suffixed { Layout::Keras2 } else { Layout::Legacy };
        return Ok((layout, StoredLayers { layers, by_class: None }));
    }
    let (groups, datasets) = file.members("/")?;
    if groups.iter().any(|group| group == "model_weights") {
        let names = file.strings("model_weights", "layer_names")?;
        let names = names.ok_or_else(|| not_keras(groups, datasets))?;
        let layers = ordered(file, "model_weights/", &names)?;
        return Ok((Layout::WholeModel, StoredLayers { layers, by_class: None }));
    }
    if groups.iter().any(|group| group == "layers") {
        return Ok((Layout::Keras3, by_class(file)?));
    }
    Err(not_keras(groups, datasets))
}

fn ordered(file: &Hdf5, prefix: &str, names: &[String]) -> Result<Vec<StoredLayer>, Error> {
    let mut layers = Vec::new();
    for name in names {
        let group = format!("{prefix}{name}");
        let weights = file.strings(&group, "weight_names")?.unwrap_or_default();
        if !weights.is_empty() {
            let tensors: Result<_, Error> = weights.iter().map(|weight| file.tensor(&format!("{group}/{weight}"))).collect();
            layers.push(StoredLayer { group, tensors: tensors? });
        }
    }
    Ok(layers)
}

fn by_class(file: &Hdf5) -> Result<StoredLayers, Error> {
    let mut layers = Vec::new();
    let mut positions = HashMap::new();
    for name in file.members("layers")?.0 {
        let group = format!("layers/{name}");
        if !file.members(&group)?.0.iter().any(|member| member == "vars") {
            continue;
        }
        let mut numbers: Vec<u32> =
            file.members(&format!("{group}/vars"))?.1.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        if !numbers.is_empty() {
            let tensors: Result<_, Error> = numbers.iter().map(|number| file.tensor(&format!("{group}/vars/{number}"))).collect();
            positions.insert(name, layers.len());
            layers.push(StoredLayer { group, tensors: tensors? });
        }
    }
    Ok(StoredLayers { layers, by_class: Some(positions) })
}

fn not_keras(groups: Vec<String>, datasets: Vec<String>) -> Error {
    let names = Listed::of(groups.into_iter().chain(datasets));
    Error::NotKeras { found: if names.count() == 0 { "nothing".to_owned() } else { names.to_string() } }
}
