//! From a request to a plan: which layers, which shapes, which classes; every mistake is found here.

use std::collections::HashSet;

use super::{Error, Features, LayerSpec, ModelId, Note, Plan, Pool, Request, choice::unknown_layer};
use crate::{
    graph::Layout,
    preprocess::Preprocessing,
    registry::{Calibration, Layer, Metadata, ModelVersion, Novelty, OutputKind, Snapshot},
};

/// Classes per image for those who ask for classes and do not say how many.
pub const DEFAULT_TOP_K: usize = 5;

/// Resolves `request` against the version that will answer it.
///
/// # Errors
/// Unknown layer, one that cannot be pooled, no class asked for, classes asked of a model without a top, preprocessing that the
/// model's input does not take.
pub(super) fn resolve(snapshot: &Snapshot, version: ModelVersion, request: &Request) -> Result<Plan, Error> {
    let metadata = &version.metadata;
    let (top_k, fewer) = request.top_k.map(|top_k| classes(metadata, top_k)).transpose()?.unzip();
    let features = request.features.as_ref();
    let layers = features.map(|features| layers(snapshot, metadata, features)).transpose()?.unwrap_or_default();
    Ok(Plan {
        top_k,
        uncalibrated: request.uncalibrated,
        layers,
        pool: features.map(|features| features.pool).unwrap_or_default(),
        normalize: features.map(|features| features.normalize).unwrap_or_default(),
        preprocessing: preprocessing(metadata, request)?,
        on_error: request.on_error,
        version,
        notes: fewer.flatten().into_iter().collect(),
    })
}

impl Plan {
    /// The same with the default number of classes, or all of them where there are fewer, of which nobody needs to hear.
    #[must_use]
    pub fn with_default_classes(self) -> Self {
        let classes = DEFAULT_TOP_K.min(self.version.metadata.labels.len());
        Self { top_k: Some(classes), ..self }
    }

    /// The graph's tensors that a session must give: the layers', then the classes' if asked for, and those of novelty.
    pub(super) fn tensors(&self) -> Vec<String> {
        let (mut tensors, mut known) = (Vec::new(), HashSet::new());
        let classes = self.scores().map(|(tensor, _)| tensor);
        let novelty = self.novelty().map(|(_, layer)| layer.tensor.as_str());
        for tensor in self.layers.iter().map(|spec| spec.layer.tensor.as_str()).chain(classes).chain(novelty) {
            if known.insert(tensor) {
                tensors.push(tensor.to_owned());
            }
        }
        tensors
    }

    /// The tensor that scores are made of, and what its numbers are; `None` where no classes are asked for.
    pub(super) fn scores(&self) -> Option<(&str, OutputKind)> {
        let Metadata { output, calibration, .. } = &*self.version.metadata;
        let output = output.as_ref().filter(|_| self.top_k.is_some())?;
        match calibration {
            Some(Calibration { logits, .. }) if self.uncalibrated => Some((logits, OutputKind::Logits)),
            _ => Some((&output.tensor, output.kind)),
        }
    }

    /// How novelty is measured and on which layer, where classes alone are asked for of a version that can.
    pub(super) fn novelty(&self) -> Option<(&Novelty, &Layer)> {
        let metadata = &self.version.metadata;
        let novelty = metadata.novelty.as_ref().filter(|_| self.top_k.is_some() && self.layers.is_empty())?;
        Some((novelty, metadata.layer(&novelty.layer)?))
    }
}

/// The model's own, with what `request` says instead.
fn preprocessing(metadata: &Metadata, request: &Request) -> Result<Preprocessing, Error> {
    let own = &metadata.preprocessing;
    let numbers = request.preprocess.map_or_else(|| own.clone(), |mode| own.clone().with_mode(mode));
    let numbers = match request.channel_order {
        Some(order) => numbers.with_channel_order(order),
        None => numbers,
    };
    if numbers.channels() != own.channels() {
        return Err(Error::Channels { model: metadata.name.clone(), channels: own.channels(), order: numbers.channel_order });
    }
    let wanted = Preprocessing {
        resize: request.resize.unwrap_or(own.resize),
        orientation: request.orientation.unwrap_or(own.orientation),
        ..numbers
    };
    wanted.validate().map_err(|problem| Error::Preprocessing { model: metadata.name.clone(), problem })?;
    Ok(wanted)
}

/// As many of the model's classes as are asked for, or all with a note when there are fewer.
fn classes(metadata: &Metadata, top_k: usize) -> Result<(usize, Option<Note>), Error> {
    let (model, classes) = (metadata.name.clone(), metadata.labels.len());
    match top_k {
        _ if metadata.output.is_none() || classes == 0 => Err(Error::NoClasses { model }),
        0 => Err(Error::TopK { model, classes }),
        _ if top_k <= classes => Ok((top_k, None)),
        _ => Ok((classes, Some(Note::FewerClasses { model, top_k, classes }))),
    }
}

fn layers(snapshot: &Snapshot, metadata: &Metadata, features: &Features) -> Result<Vec<LayerSpec>, Error> {
    let default = [metadata.features_layer.clone()];
    let wanted: &[String] = if features.layers.is_empty() { &default } else { &features.layers };
    let (mut specs, mut known) = (Vec::new(), HashSet::new());
    for (name, found) in wanted.iter().zip(metadata.find_layers(wanted)) {
        let layer = found.ok_or_else(|| unknown_layer(snapshot, metadata, name, wanted))?;
        if features.pool != Pool::None && layer.layout() == Layout::NoMap {
            return Err(Error::NotPoolable {
                layer: layer.name.clone(),
                shape: layer.shape.clone(),
                model: metadata.name.clone(),
            });
        }
        if known.insert(layer.index) {
            specs.push(LayerSpec { shape: answer_shape(layer, features.pool, features.flatten), layer: layer.clone() });
        }
    }
    Ok(specs)
}

/// Shape of one image's answer: height and width, or tokens, go with pooling; all dimensions become one with `flatten`.
pub(super) fn answer_shape(layer: &Layer, pool: Pool, flatten: bool) -> Vec<usize> {
    let pooled = match (pool, layer.shape.last()) {
        (Pool::Avg | Pool::Max, Some(&channels)) if layer.poolable() => vec![channels],
        _ => layer.shape.clone(),
    };
    if flatten { vec![pooled.iter().product()] } else { pooled }
}

impl ModelId {
    /// `name version n`, for messages and logs.
    pub(super) fn describe(version: &ModelVersion) -> String {
        format!("{} version {}", version.metadata.name, version.metadata.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_classes_than_there_are() {
        let metadata = crate::registry::testing::metadata("shapes");
        let all = metadata.labels.len();
        let check = |top_k, expected, noted| {
            let (found, note) = classes(&metadata, top_k).expect("it has classes");
            assert_eq!((found, note.map(|note| note.to_string())), (expected, noted), "{top_k}");
        };
        check(1, 1, None);
        check(all, all, None);
        let note = format!("`top_k` is {}, but `shapes` has {all} classes; the answer has all of them", all + 1);
        check(all + 1, all, Some(note));
        assert!(matches!(classes(&metadata, 0), Err(Error::TopK { .. })));
    }

    #[test]
    fn pooling_and_flattening_shape_the_answer() {
        let layer = |shape: &[usize], layout| Layer {
            shape: shape.to_vec(),
            layout,
            ..crate::registry::testing::metadata("m").layers[0].clone()
        };
        let check = |shape: &[usize], pool, flatten, expected: &[usize]| {
            assert_eq!(answer_shape(&layer(shape, None), pool, flatten), expected, "{shape:?} {pool:?} flatten={flatten}");
        };
        check(&[8, 8, 2048], Pool::None, false, &[8, 8, 2048]);
        check(&[8, 8, 2048], Pool::None, true, &[131_072]);
        check(&[8, 8, 2048], Pool::Avg, false, &[2048]);
        check(&[8, 8, 2048], Pool::Max, true, &[2048]);
        check(&[4096], Pool::Avg, false, &[4096]);
        check(&[], Pool::None, true, &[1]);
        let tokens = layer(&[197, 192], Some(Layout::Tokens([0, 1])));
        assert_eq!(answer_shape(&tokens, Pool::Avg, false), [192]);
    }
}
