//! A user's own ONNX classifier: its node outputs become layers, its shapes are found by running it once.
//!
//! Puts the steps in order and writes the metadata; knows no operator, and serves nothing.

mod classes;
mod conventions;
mod input;
mod output;
mod probe;

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use self::{
    classes::{features_layer_among, labels},
    input::ImageInput,
    output::{Chosen, Hints, choose, judge, vector},
    probe::{Probe, Probed, check_constants, fitting_size},
};
use super::{ImportError, OnnxSettings, Prepared, WEIGHTS, apart};
use crate::{
    graph::{ExternalData, Graph},
    preprocess::Preprocessing,
    registry::{
        Assumption, HashingWriter, Layer, Metadata, ModelVersion, Output, Repository, Staging, WeightsOrigin, portable::Exported,
    },
    runtime::Runtime,
};

/// Tensors from this size on go into `weights.bin`.
const EXTERNAL_FROM_BYTES: u64 = 1024;

/// Imports `file` as a new version of `name`.
///
/// What the settings do not say comes from the file's properties, graft's own or those of others; what these do not say either is
/// found from the graph and by running it, or assumed, and then the version's metadata say so.
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
    prepare_onnx(repository, runtime, name, file, settings, &|| false)?.publish()
}

/// As [`import_onnx`], without publishing, and only until `stop` says so; in a process of its own where [`super::Apart`] says how.
///
/// # Errors
/// As [`import_onnx`], and [`ImportError::Stopped`].
pub fn prepare_onnx(
    repository: &Repository,
    runtime: &Runtime,
    name: &str,
    file: &Path,
    settings: &OnnxSettings,
    stop: &dyn Fn() -> bool,
) -> Result<Prepared, ImportError> {
    let apart = apart::prepare(repository, Some(name), file, || apart::Kind::Onnx(settings.clone()), stop);
    apart.unwrap_or_else(|| prepare_here(repository, runtime, name, file, settings))
}

/// As [`prepare_onnx`], in this process.
pub(in crate::registry::import) fn prepare_here(
    repository: &Repository,
    runtime: &Runtime,
    name: &str,
    file: &Path,
    settings: &OnnxSettings,
) -> Result<Prepared, ImportError> {
    let staging = repository.stage(name)?;
    let graph = Graph::read(file)?;
    conventions::check_task(&graph)?;
    let exported = Exported::read(|key| graph.property(key))?;
    let settings = with_size(settings, exported.as_ref());
    let image = ImageInput::of(&graph, name, &settings)?;
    let graph = graph.fed(image.layout, image.channels)?;
    let input = graph.input()?;
    let affine = graph.last_affine_input();
    let (graph, chosen) = choose_output(graph, &settings, exported.as_ref())?;
    let (graph, origin) =
        write_graph(graph, &staging, format!("onnx:{}", file.file_name().unwrap_or_default().to_string_lossy()))?;
    check_constants(runtime, &staging, &graph, &image, origin.bytes)?;
    let image = fitting_size(runtime, &staging, &graph, image)?;
    let (preprocessing, mut assumptions) = preprocessing(&graph, &settings, exported.as_ref(), &image);
    preprocessing.validate().map_err(|error| ImportError::Setting { setting: "preprocessing", reason: error.to_string() })?;
    let probe = Probe { runtime, staging: &staging, graph: &graph, preprocessing: &preprocessing };
    let probed = probe.layers(&input)?;
    let own_output = exported.as_ref().and_then(|exported| exported.output.as_ref());
    let judged = chosen.as_ref().map(|chosen| output(&probe, chosen, &probed, &settings, own_output)).transpose()?;
    let (output, classes, assumed) =
        judged.map_or((None, 0, None), |(output, classes, assumed)| (Some(output), classes, assumed));
    assumptions.extend(assumed);
    assumptions.extend(chosen.as_ref().and_then(|chosen| conventions::other_task(&graph, &chosen.name)));
    let own_labels = exported.as_ref().map(|exported| exported.labels.as_slice());
    let (labels, assumed) = labels(&graph, &settings, own_labels, classes)?;
    assumptions.extend(assumed);
    let layers = layers(probed.layers, chosen.as_ref(), exported.as_ref(), &graph);
    let own_features = exported.as_ref().map(|exported| exported.features_layer.clone());
    let features_layer = settings.features_layer.or(own_features).or(affine);
    let calibration = exported.as_ref().and_then(|exported| exported.calibration.clone());
    // A tool that wrote the graph anew may have merged the temperature into the weights.
    let calibration = calibration.filter(|own| own.is_of(&graph, output.as_ref()));
    let metadata = Metadata {
        name: name.to_owned(),
        version: 0,
        architecture: exported.as_ref().map_or_else(|| "onnx".to_owned(), |exported| exported.architecture.clone()),
        input: input.name,
        fixed_batch: probed.fixed_batch,
        preprocessing,
        output,
        labels,
        features_layer: features_layer_among(&layers, features_layer)?,
        layers,
        pretrained: exported.as_ref().is_none_or(|exported| exported.pretrained),
        weights: origin,
        calibration,
        novelty: None,
        lineage: exported.and_then(|exported| exported.lineage),
        published: true,
        job: None,
        assumptions,
        correction: None,
        created: String::new(),
    };
    let unfit = |source| crate::registry::Error::InvalidMetadata { name: name.to_owned(), source };
    metadata.check_fit(&graph).map_err(unfit)?;
    Ok(Prepared { staging, metadata })
}

/// The settings, with the input size that an export says: its graph may leave it open.
fn with_size(settings: &OnnxSettings, exported: Option<&Exported>) -> OnnxSettings {
    let own = exported.map(|exported| [exported.preprocessing.height, exported.preprocessing.width]);
    OnnxSettings { input_size: settings.input_size.or(own), ..settings.clone() }
}

/// How images become input, and what of it is assumed.
fn preprocessing(
    graph: &Graph,
    settings: &OnnxSettings,
    exported: Option<&Exported>,
    image: &ImageInput,
) -> (Preprocessing, Vec<Assumption>) {
    let [height, width] = image.size;
    if let Some(exported) = exported {
        return (settings.preprocessing(Some(exported.preprocessing.clone()), height, width), Vec::new());
    }
    let foreign = conventions::preprocessing(graph, height, width);
    let (usual, words) = image.usual();
    let mut assumptions = match foreign {
        Some(_) => vec![Assumption::new("mode", "as the file's properties say")],
        None => settings.assumed_preprocessing(words),
    };
    assumptions.extend(image.assumed.iter().map(|(setting, assumed)| Assumption::new(setting, assumed.as_str())));
    let own = image.taking(foreign.unwrap_or(usual));
    (settings.preprocessing(Some(own), height, width), assumptions)
}

/// The tensor of scores; none for graft's export of a model without classes.
fn choose_output(
    graph: Graph,
    settings: &OnnxSettings,
    exported: Option<&Exported>,
) -> Result<(Graph, Option<Chosen>), ImportError> {
    let own = exported.and_then(|exported| exported.output.as_ref()).map(|output| output.tensor.as_str());
    let wanted = settings.output_tensor.as_deref().or(own);
    if exported.is_some() && wanted.is_none() {
        return Ok((graph, None));
    }
    choose(graph, wanted).map(|(graph, chosen)| (graph, Some(chosen)))
}

/// The output, how many classes it scores, and what of that is assumed.
fn output(
    probe: &Probe<'_>,
    chosen: &Chosen,
    probed: &Probed,
    settings: &OnnxSettings,
    exported: Option<&Output>,
) -> Result<(Output, usize, Option<Assumption>), ImportError> {
    let values = vector(chosen, probed, settings.output_kind.or(exported.map(|exported| exported.kind)))?;
    let hints = Hints { given: settings.output_kind, exported };
    let run = || probe.rows(&chosen.tensor, probed.batch);
    let (output, assumed) = judge(probe.graph, chosen, values, &probed.shapes, hints, run)?;
    let classes = output.kind.classes(values);
    Ok((output, classes, assumed))
}

/// The layers as graft's own export lists them, if the graph has them all; else those that the run found.
fn layers(found: Vec<Layer>, chosen: Option<&Chosen>, exported: Option<&Exported>, graph: &Graph) -> Vec<Layer> {
    if let Some(exported) = exported
        && exported.layers.iter().all(|layer| is_same(layer, &found) || is_input(layer, graph))
    {
        return exported.layers.clone();
    }
    let named = |layer: Layer| match chosen.filter(|chosen| chosen.tensor == layer.tensor) {
        Some(chosen) => Layer { name: chosen.name.clone(), ..layer },
        None => layer,
    };
    found.into_iter().map(named).collect()
}

/// Whether the run found a tensor as large as `layer` says.
fn is_same(layer: &Layer, found: &[Layer]) -> bool {
    found.iter().any(|found| found.tensor == layer.tensor && found.values() == layer.values())
}

fn is_input(layer: &Layer, graph: &Graph) -> bool {
    graph.input().is_ok_and(|input| input.name == layer.tensor)
}

/// Splits `graph` into `graph.onnx` and `weights.bin` of the staging folder; `source` is told as the weights' origin.
///
/// # Errors
/// External data of the graph that cannot be read, a file system that refuses.
pub fn write_graph(graph: Graph, staging: &Staging, source: String) -> Result<(Graph, WeightsOrigin), ImportError> {
    let refused = |path: PathBuf| move |source| ImportError::File { path: path.into(), source };
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
