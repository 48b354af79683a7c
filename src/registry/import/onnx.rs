//! A user's own ONNX classifier: its node outputs become layers, its shapes are found by running it once.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use tracing::warn;

use super::{ImportError, OnnxSettings, WEIGHTS};
use crate::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    graph::{ExternalData, Graph, InputInfo},
    registry::{
        HashingWriter, Label, Layer, Metadata, ModelVersion, Output, OutputKind, Repository, Staging, WeightsOrigin, nearest,
        numbered_labels, read_labels,
    },
    runtime::{Runtime, Session, SessionSource, SharedWeights},
    tensor::Tensor,
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

fn input_size(input: &InputInfo, settings: &OnnxSettings) -> Result<[u32; 2], ImportError> {
    let refused = |reason: String| ImportError::Setting { setting: "input_size", reason };
    let fixed = |axis: usize| input.shape.get(axis).and_then(|dim| dim.fixed()).and_then(|side| u32::try_from(side).ok());
    if input.shape.len() != 4 || fixed(1).is_some_and(|channels| channels != 3) {
        return Err(refused(format!(
            "the graph's input `{}` has shape {}; graft needs N×3×height×width",
            input.name,
            input.describe()
        )));
    }
    let own = [fixed(2), fixed(3)];
    let side = |axis: usize| match (own[axis], settings.input_size.map(|size| size[axis])) {
        (Some(own), Some(wanted)) if own != wanted => {
            Err(refused(format!("{wanted} was given, but the graph fixes its input to {}", input.describe())))
        }
        (own, wanted) => {
            own.or(wanted).ok_or_else(|| refused("the graph leaves its input's size open; give height and width".to_owned()))
        }
    };
    Ok([side(0)?, side(1)?])
}

/// Runs the graph with every layer as an output.
struct Probe<'a> {
    runtime: &'a Runtime,
    staging: &'a Staging,
    graph: &'a Graph,
    size: [usize; 2],
}

impl Probe<'_> {
    /// The layers with their shapes, and the batch size when the graph fixes it.
    fn layers(&self, input: &InputInfo) -> Result<(Vec<Layer>, Option<usize>), ImportError> {
        let nodes: Vec<_> = self.graph.image_layers().into_iter().filter(|node| !Graph::is_layout(&node.name)).collect();
        let all: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let floats = self.session(&all)?.float_outputs();
        let names: Vec<&str> = all.into_iter().filter(|name| floats.iter().any(|float| float == name)).collect();
        let mut session = self.session(&names)?;
        let declared = input.shape.first().and_then(|dim| dim.fixed()).and_then(|size| usize::try_from(size).ok());
        let batch = declared.unwrap_or(1);
        let outputs = self.run(&mut session, batch)?;
        let fixed = declared.or_else(|| if self.takes_two(&mut session, &outputs) { None } else { Some(1) });
        let with_batch = names.iter().zip(&outputs).filter(|(_, output)| output.shape().first() == Some(&batch));
        let layer = |(index, (name, output)): (usize, (&&str, &Tensor))| Layer {
            index,
            name: (*name).to_owned(),
            kind: nodes.iter().find(|node| node.name == **name).map(|node| node.op_type.clone()).unwrap_or_default(),
            shape: channels_last(&output.shape()[1..]),
            tensor: (*name).to_owned(),
        };
        Ok((with_batch.enumerate().map(layer).collect(), fixed))
    }

    /// Whether a graph with an open batch dimension really takes two images: some reshape to a fixed batch of 1.
    fn takes_two(&self, session: &mut Session, single: &[Tensor]) -> bool {
        let doubled = |(one, two): (&Tensor, &Tensor)| one.data().len() * 2 == two.data().len();
        let takes = self.run(session, 2).is_ok_and(|two| single.iter().zip(&two).all(doubled));
        if !takes {
            warn!("the graph leaves its batch dimension open but takes one image only; graft will run images one by one");
        }
        takes
    }

    fn session(&self, tensors: &[&str]) -> Result<Session, ImportError> {
        let graph = self.graph.cut(tensors)?.to_bytes();
        let shared = SharedWeights::default();
        let source = SessionSource { graph: &graph, folder: self.staging.dir(), shared: &shared };
        let cpu = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
        Ok(self.runtime.session(source, cpu)?)
    }

    fn run(&self, session: &mut Session, batch: usize) -> Result<Vec<Tensor>, ImportError> {
        let shape = vec![batch, 3, self.size[0], self.size[1]];
        let zeros = vec![0.0; shape.iter().product()];
        Ok(session.run(&Tensor::new(shape, zeros).expect("as many zeros as the shape has"))?)
    }
}

/// Channel, height, width → height, width, channel; other ranks as they are.
fn channels_last(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [channels, height, width] => vec![height, width, channels],
        _ => shape.to_vec(),
    }
}

fn output(graph: &Graph, layers: &[Layer], settings: &OnnxSettings) -> Result<Output, ImportError> {
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

fn labels(settings: &OnnxSettings, classes: usize) -> Result<Vec<Label>, ImportError> {
    let Some(path) = &settings.labels else { return Ok(numbered_labels(classes)) };
    let refused = |reason: String| ImportError::Setting { setting: "labels", reason };
    let labels = read_labels(path).map_err(|error| refused(error.to_string()))?;
    if labels.len() != classes {
        return Err(refused(format!("{} holds {} labels, but the graph has {classes} classes", path.display(), labels.len())));
    }
    Ok(labels)
}

fn features_layer_among(layers: &[Layer], wanted: Option<String>) -> Result<String, ImportError> {
    let wanted = wanted.or_else(|| layers.last().map(|layer| layer.name.clone())).unwrap_or_default();
    if layers.iter().any(|layer| layer.name == wanted) {
        return Ok(wanted);
    }
    let near = nearest(&wanted, layers.iter().map(|layer| layer.name.as_str()));
    let hint = if near.is_empty() { String::new() } else { format!("; did you mean `{}`?", near.join("`, `")) };
    Err(ImportError::Setting { setting: "features_layer", reason: format!("the graph has no layer `{wanted}`{hint}") })
}
