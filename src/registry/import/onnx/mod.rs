//! A user's own ONNX classifier: its node outputs become layers, its shapes are found by running it once.

mod input;
mod output;
mod probe;

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use self::{
    input::input_size,
    output::{features_layer_among, labels, output},
    probe::Probe,
};
use super::{ImportError, OnnxSettings, WEIGHTS};
use crate::{
    graph::{ExternalData, Graph},
    registry::{HashingWriter, Metadata, ModelVersion, Repository, Staging, WeightsOrigin},
    runtime::Runtime,
};

/// Tensors from this size on go into `weights.bin`.
const EXTERNAL_FROM_BYTES: u64 = 1024;

/// Imports `file` as a new version of `name`.
///
/// # Errors
/// A file that is no ONNX image classifier, settings that contradict it, a graph that ONNX Runtime refuses.
pub fn import_onnx(
    repository: &Repository,
    runtime: &Runtime,
    name: &str,
    file: &Path,
    settings: &OnnxSettings,
) -> Result<ModelVersion, ImportError> {
    let staging = repository.stage(name)?;
    let graph = Graph::read(file)?.with_channels_first()?;
    let input = graph.input()?;
    let features_layer = settings.features_layer.clone().or_else(|| graph.last_affine_input());
    let (graph, origin) =
        write_graph(graph, &staging, format!("onnx:{}", file.file_name().unwrap_or_default().to_string_lossy()))?;
    let [height, width] = input_size(&input, settings)?;
    let probe = Probe { runtime, staging: &staging, graph: &graph, size: [height as usize, width as usize] };
    let (layers, fixed_batch) = probe.layers(&input)?;
    let output = output(&graph, &layers, settings)?;
    let classes = layers.iter().find(|layer| layer.tensor == output.tensor).map_or(0, |layer| layer.shape.iter().product());
    let metadata = Metadata {
        name: name.to_owned(),
        version: 0,
        architecture: "onnx".to_owned(),
        input: input.name,
        fixed_batch,
        preprocessing: settings.preprocessing(height, width),
        output: Some(output),
        labels: labels(settings, classes)?,
        features_layer: features_layer_among(&layers, features_layer)?,
        layers,
        pretrained: true,
        weights: origin,
        lineage: None,
        created: String::new(),
    };
    Ok(staging.publish(metadata)?)
}

/// Splits `graph` into `graph.onnx` and `weights.bin` of the staging folder; `source` is told as the weights' origin.
///
/// # Errors
/// External data of the graph that cannot be read, a file system that refuses.
pub fn write_graph(graph: Graph, staging: &Staging, source: String) -> Result<(Graph, WeightsOrigin), ImportError> {
    let refused = |path: PathBuf| move |source| ImportError::File { path, source };
    let weights_path = staging.weights_path();
    let writer = File::create(&weights_path).map_err(refused(weights_path.clone()))?;
    let mut data = ExternalData::new(HashingWriter::new(BufWriter::with_capacity(1 << 20, writer)), WEIGHTS);
    let graph = graph.externalize(&mut data, EXTERNAL_FROM_BYTES)?;
    let (writer, _) = data.finish().map_err(refused(weights_path.clone()))?;
    let (_, origin) = writer.finish(source).map_err(refused(weights_path))?;
    let graph_path = staging.graph_path();
    std::fs::write(&graph_path, graph.to_bytes()).map_err(refused(graph_path))?;
    Ok((graph, origin))
}
