//! One training step from cached tensors at the frontier: VGG16's block 5 and InceptionV3's two top blocks.
//!
//! `cargo bench --bench training_step -- [BATCH]`; `benches/training_step.py` does the same in PyTorch.

use std::{num::NonZeroUsize, time::Instant};

use anyhow::Context as _;
use graft::{
    arch::{Activation, Architecture, Builder, Layer, LayerKind, inception_v3, vgg16},
    config::{self, Provider, ProviderChoice, ProviderPolicy},
    graph::{
        ExternalData, Graph, build,
        gradient::{
            LABELS, LEARNING_RATE, LOSS, Labels, SAMPLE_WEIGHTS, TrainableTensor, TrainingGraph, TrainingSpec, training_graph,
        },
    },
    runtime::{Feed, LoadedGraph, Runtime, TrainingSession, TrainingSessionSource},
    tensor::Tensor,
    weights::seeded::Seeded,
};

const CPU: ProviderChoice = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
const ROUNDS: usize = 9;
const CLASSES: usize = 10;

/// A part of a network that is trained from a cached tensor.
struct Part {
    architecture: Architecture,
    /// Index of the first layer that trains.
    from: usize,
    frontier: (&'static str, [usize; 3]),
    top: (&'static str, usize),
}

fn main() -> anyhow::Result<()> {
    let batch = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(8);
    let config = config::load(&config::Sources::from_process())?;
    let runtime = Runtime::open(&config.runtime)?;
    println!("batch {batch}, {} threads", config.training.threads);
    println!("| part | first loss | ms per step (median) | images/s | processor ms per step |");
    for part in parts() {
        let folder = tempfile::tempdir()?;
        let (graph, training) = part.training(folder.path(), batch)?;
        let mut stepper = open(&runtime, &graph, &training, NonZeroUsize::new(config.training.threads))?;
        let mut times = Vec::with_capacity(ROUNDS);
        let (mut first, mut busy) = (f32::NAN, 0.0);
        for round in 0..=ROUNDS {
            let feeds = feeds(&training, batch)?;
            let started = Instant::now();
            let outputs = stepper.step(feeds.iter().map(|(name, feed)| (name.as_str(), feed.clone())))?;
            match round {
                0 => (first, busy) = (outputs[LOSS].data()[0], processor_ms()),
                _ => times.push(started.elapsed().as_secs_f64() * 1e3),
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times[ROUNDS / 2];
        let (name, rate) = (&part.architecture.name, batch as f64 / median * 1e3);
        let busy = (processor_ms() - busy) / ROUNDS as f64;
        println!("| {name} | {first:.3} | {median:.0} | {rate:.1} | {busy:.0} |");
    }
    Ok(())
}

fn parts() -> [Part; 2] {
    let vgg16 = vgg16(false);
    let from = vgg16.layer("block5_conv1").map_or(0, |(index, _)| index);
    [
        Part { architecture: vgg16, from, frontier: ("block4_pool", [512, 14, 14]), top: ("block5_pool", 512) },
        Part { architecture: inception_v3(false), from: 249, frontier: ("mixed8", [1280, 8, 8]), top: ("mixed10", 2048) },
    ]
}

impl Part {
    /// The graph behind the frontier with a head, and its training graph.
    fn training(&self, folder: &std::path::Path, batch: usize) -> anyhow::Result<(Graph, TrainingGraph)> {
        let file = std::fs::File::create(folder.join("weights.bin"))?;
        let mut data = ExternalData::new(std::io::BufWriter::new(file), "weights.bin");
        let whole = build(&self.architecture, &mut Seeded::perturbed(1), &mut data)?;
        data.finish()?;
        std::fs::write(folder.join("graph.onnx"), whole.to_bytes())?;
        let (frontier, shape) = self.frontier;
        let behind = Graph::read(&folder.join("graph.onnx"))?.behind(&[(frontier, &shape)], &[self.top.0])?;
        let weights = [values(vec![self.top.1, CLASSES], 0.05)?, values(vec![CLASSES], 0.0)?];
        let shape = self.architecture.layer(self.top.0).map_or(&[][..], |(_, layer)| &layer.output_shape);
        let mut head = Builder::on(self.top.0, shape);
        head.named("pool", LayerKind::GlobalAveragePooling2D, &[0]);
        head.named("predictions", LayerKind::dense(CLASSES, Activation::Softmax), &[1]);
        let mut weights = |_: usize, _: &Layer| Ok(weights.to_vec());
        let graph = behind.with_head(head.layers(), &mut weights)?;
        let weighted = self.architecture.layers[self.from..].iter().flat_map(|layer| {
            let trained = layer.weights.iter().filter(|weight| matches!(weight.name, "kernel" | "bias"));
            trained.map(|weight| format!("{}/{}", layer.name, weight.name))
        });
        let names = weighted.chain(["predictions/kernel", "predictions/bias"].map(str::to_owned));
        let spec = TrainingSpec {
            logits: "predictions".to_owned(),
            batch,
            labels: Labels::Classes,
            trainable: names.map(|name| TrainableTensor { name, l2: 0.0 }).collect(),
            optimizer: serde_json::from_value(serde_json::json!({"type": "sgd", "momentum": 0.9})).expect("an optimizer"),
            provider: Provider::Cpu,
        };
        let training = training_graph(&graph, &spec)?;
        Ok((graph, training))
    }
}

fn open(
    runtime: &Runtime,
    graph: &Graph,
    training: &TrainingGraph,
    threads: Option<NonZeroUsize>,
) -> anyhow::Result<TrainingSession> {
    let tensors = training.parameters.iter().chain(&training.state);
    let carried: Vec<(String, String)> = tensors.map(|tensor| (tensor.input.clone(), tensor.output.clone())).collect();
    let loaded = LoadedGraph::whole(&training.graph)?;
    let session = loaded.source();
    let mut stepper = runtime.training_session(TrainingSessionSource { session, carried: &carried, threads }, CPU)?;
    for parameter in &training.parameters {
        stepper.set(&parameter.input, graph.stored(&parameter.input)?)?;
    }
    for slot in &training.state {
        stepper.set(&slot.input, Tensor::new(slot.shape.clone(), vec![0.0; slot.shape.iter().product()])?)?;
    }
    Ok(stepper)
}

fn feeds(training: &TrainingGraph, batch: usize) -> anyhow::Result<Vec<(String, Feed)>> {
    let input = training.inputs.first().context("a frontier")?;
    let labels = (0..batch).map(|index| (index % CLASSES) as i64).collect();
    let weights = Tensor::new(vec![batch], vec![1.0 / batch as f32; batch])?;
    Ok(vec![
        (input.name.clone(), Feed::Floats(values(input.shape.clone(), 1.0)?)),
        (LABELS.to_owned(), Feed::Integers(labels)),
        (SAMPLE_WEIGHTS.to_owned(), Feed::Floats(weights)),
        (LEARNING_RATE.to_owned(), Feed::Floats(Tensor::new(Vec::new(), vec![1e-4])?)),
    ])
}

/// Processor time of all threads of this process, from `/proc`: beside other work it says more than the clock.
fn processor_ms() -> f64 {
    const MS_PER_TICK: f64 = 10.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // `utime` and `stime` are the 14th and 15th fields, the 12th and 13th after the name.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * MS_PER_TICK
}

/// Values in −1 … 1 times `scale`.
fn values(shape: Vec<usize>, scale: f32) -> anyhow::Result<Tensor> {
    let wave = |index: usize| ((index * 7919 % 10_007) as f32 / 5003.5 - 1.0) * scale;
    let data = (0..shape.iter().product()).map(wave).collect();
    Ok(Tensor::new(shape, data)?)
}
