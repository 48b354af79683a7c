//! Architectures of graft's own with weights from a file of Keras or PyTorch, or from a seed.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use super::{ImportError, Prepared, WEIGHTS, apart};
use crate::{
    arch::{self, Architecture},
    graph::{ExternalData, build},
    preprocess::{Fit, Mode, Preprocessing},
    registry::{
        FoundBy, HashingWriter, Label, Layer, Metadata, ModelVersion, Output, OutputKind, Repository, WeightsOrigin,
        default_name, imagenet_labels, known_model, numbered_labels,
    },
    weights::{self, WeightSource, seeded::Seeded},
};

/// Imports `file`, a weight file of `architecture` as Keras or PyTorch has it, as a new version of `name`; without a name, of the
/// model called as the architecture, with `_notop` where the file has no classifier.
///
/// `source` is what `weights.source` of the version will say: `keras:FILE`, `pytorch:FILE` or `url:ADDRESS`.
///
/// # Errors
/// An unknown architecture, a file that is not its weights, a repository that cannot be written.
pub fn import_keras(
    repository: &Repository,
    name: Option<&str>,
    architecture: &str,
    file: &Path,
    source: String,
) -> Result<ModelVersion, ImportError> {
    prepare_keras(repository, name, architecture, file, source, &|| false)?.publish()
}

/// As [`import_keras`], without publishing, and only until `stop` says so; in a process of its own where [`super::Apart`] says how.
///
/// # Errors
/// As [`import_keras`], and [`ImportError::Stopped`].
pub fn prepare_keras(
    repository: &Repository,
    name: Option<&str>,
    architecture: &str,
    file: &Path,
    source: String,
    stop: &dyn Fn() -> bool,
) -> Result<Prepared, ImportError> {
    let kind = || apart::Kind::Weights { architecture: architecture.to_owned(), source: source.clone() };
    let apart = apart::prepare(repository, name, file, kind, stop);
    apart.unwrap_or_else(|| prepare_here(repository, name, architecture, file, source.clone()))
}

/// As [`prepare_keras`], in this process.
pub(super) fn prepare_here(
    repository: &Repository,
    name: Option<&str>,
    architecture: &str,
    file: &Path,
    source: String,
) -> Result<Prepared, ImportError> {
    if !arch::NAMES.contains(&architecture) {
        return Err(ImportError::UnknownArchitecture { name: architecture.to_owned() });
    }
    let (architecture, mut weights) = weights::open(file, architecture)?;
    let own = default_name(&architecture.name, architecture.include_top);
    let provenance = Provenance { source, pretrained: true };
    prepare(repository, name.unwrap_or(&own), &architecture, weights.as_mut(), provenance)
}

/// Makes a version of `name` with Keras's initial (untrained) weights, the same for a seed on every machine.
///
/// # Errors
/// An unknown architecture, a repository that cannot be written.
pub fn import_seeded(repository: &Repository, name: &str, architecture: &str, seed: u64) -> Result<ModelVersion, ImportError> {
    let unknown = || ImportError::UnknownArchitecture { name: architecture.to_owned() };
    let architecture = arch::by_name(architecture, true).ok_or_else(unknown)?;
    let provenance = Provenance { source: format!("seed:{seed}"), pretrained: false };
    import_weights(repository, name, &architecture, &mut Seeded::new(seed), provenance)
}

/// Where weights come from, as the version will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// `keras:FILE`, `pytorch:FILE`, `url:ADDRESS` or `seed:N`.
    pub source: String,
    /// False for untrained weights: labels are then numbers, and every answer says so.
    pub pretrained: bool,
}

/// Publishes `architecture` with `weights` as a new version of `name`; one layer's weights are in memory at a time.
///
/// # Errors
/// Weights that cannot be had or do not fit, a repository that cannot be written.
pub fn import_weights(
    repository: &Repository,
    name: &str,
    architecture: &Architecture,
    weights: &mut dyn WeightSource,
    provenance: Provenance,
) -> Result<ModelVersion, ImportError> {
    prepare(repository, name, architecture, weights, provenance)?.publish()
}

fn prepare(
    repository: &Repository,
    name: &str,
    architecture: &Architecture,
    weights: &mut dyn WeightSource,
    provenance: Provenance,
) -> Result<Prepared, ImportError> {
    let staging = repository.stage(name)?;
    let file = |path: PathBuf| move |source| ImportError::File { path: path.into(), source };
    let weights_path = staging.weights_path();
    let writer = File::create(&weights_path).map_err(file(weights_path.clone()))?;
    let mut data = ExternalData::new(HashingWriter::new(BufWriter::with_capacity(1 << 20, writer)), WEIGHTS);
    let graph = build(architecture, weights, &mut data)?;
    let (writer, _) = data.finish().map_err(file(weights_path.clone()))?;
    let (_, origin) = writer.finish(provenance.source).map_err(file(weights_path))?;
    let graph_path = staging.graph_path();
    std::fs::write(&graph_path, graph.to_bytes()).map_err(file(graph_path))?;
    Ok(Prepared { staging, metadata: metadata(name, architecture, origin, provenance.pretrained) })
}

/// The version and time are set at publication.
fn metadata(name: &str, architecture: &Architecture, weights: WeightsOrigin, pretrained: bool) -> Metadata {
    let input = &architecture.layers[0];
    Metadata {
        name: name.to_owned(),
        version: 0,
        architecture: architecture.name.clone(),
        input: input.name.clone(),
        fixed_batch: None,
        preprocessing: preprocessing(architecture),
        output: output(architecture),
        labels: labels(architecture, pretrained),
        layers: layers(architecture),
        features_layer: architecture.features_layer.clone(),
        pretrained,
        weights,
        calibration: None,
        novelty: None,
        lineage: None,
        published: true,
        job: None,
        assumptions: Vec::new(),
        correction: None,
        created: String::new(),
    }
}

/// The catalogue's, stretched where the network is of another size; for an architecture that is not in it, Keras's `load_img` and
/// the mode `tf` of its `preprocess_input`.
fn preprocessing(architecture: &Architecture) -> Preprocessing {
    let side = |axis: usize| u32::try_from(architecture.input_shape()[axis]).expect("an image's side fits 32 bits");
    let (height, width) = (side(0), side(1));
    match known_model(&architecture.name).map(|known| known.preprocessing.clone()) {
        Some(known) if (known.height, known.width) == (height, width) => known,
        Some(known) => Preprocessing { height, width, fit: Fit::Stretch, ..known },
        None => Preprocessing::keras(Mode::Tf, height, width),
    }
}

fn output(architecture: &Architecture) -> Option<Output> {
    let last = architecture.layers.last().filter(|_| architecture.include_top)?;
    Some(Output { tensor: last.name.clone(), kind: OutputKind::Probabilities, found_by: FoundBy::Graph })
}

/// ImageNet's names for trained weights only: an untrained class means nothing.
fn labels(architecture: &Architecture, pretrained: bool) -> Vec<Label> {
    let classes = architecture.layers.last().filter(|_| architecture.include_top).map_or(0, |last| last.output_shape[0]);
    let imagenet = imagenet_labels();
    if pretrained && classes == imagenet.len() { imagenet } else { numbered_labels(classes) }
}

fn layers(architecture: &Architecture) -> Vec<Layer> {
    let layer = |(index, layer): (usize, &arch::Layer)| Layer {
        index,
        name: layer.name.clone(),
        kind: layer.kind.keras_name().to_owned(),
        shape: layer.output_shape.clone(),
        tensor: layer.name.clone(),
        layout: None,
    };
    architecture.layers.iter().enumerate().map(layer).collect()
}
