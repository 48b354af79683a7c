//! What a graph's tensors are, found by running it.
//!
//! Knows shapes and numbers; what they mean is `output`'s to say.

use std::{collections::HashSet, time::Duration};

use tracing::warn;

use super::input::ImageInput;

use crate::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    graph::{Graph, InputInfo, Shapes},
    preprocess::Preprocessing,
    registry::{Layer, Staging, import::ImportError, trial_images},
    runtime::{Error, LoadedGraph, Runtime, Session},
    tensor::Tensor,
};

/// What the sizes of a tensor are called, after it.
const SIZES: &str = "/sizes";

/// Time for one run: a batch that takes longer is never answered, and some graphs run for ever.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Runs the graph with every layer as an output.
pub(super) struct Probe<'a> {
    pub runtime: &'a Runtime,
    pub staging: &'a Staging,
    pub graph: &'a Graph,
    pub preprocessing: &'a Preprocessing,
}

/// What a run found.
pub(super) struct Probed {
    /// The layers that have the batch first, with their shapes.
    pub(super) layers: Vec<Layer>,
    /// Shapes of every float tensor that depends on the image, as they are.
    pub(super) shapes: Shapes,
    /// Vectors that run over places of the image: maps that the graph flattens.
    pub(super) flattened: HashSet<String>,
    /// Images of the run.
    pub(super) batch: usize,
    /// The batch size when the graph fixes it, or takes no other.
    pub(super) fixed_batch: Option<usize>,
}

impl Probe<'_> {
    /// The layers with their shapes, and the batch size when the graph fixes it.
    pub(super) fn layers(&self, input: &InputInfo) -> Result<Probed, ImportError> {
        let nodes: Vec<_> = self.graph.image_layers().into_iter().filter(|node| !self.graph.is_adapter(&node.name)).collect();
        let all: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let whole = self.session(&all)?;
        let floats = whole.float_outputs();
        let floats: HashSet<&str> = floats.iter().map(String::as_str).collect();
        let kinds = nodes.iter().map(|node| (node.name.as_str(), node.op_type.as_str()));
        let kinds: Vec<(&str, &str)> = kinds.filter(|(name, _)| floats.contains(name)).collect();
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let mut session = if names.len() == all.len() { whole } else { self.session(&names)? };
        let batch = batch(input);
        let images = trial_images(self.preprocessing);
        let image = images.last().expect("there are some");
        let outputs = run(&mut session, &vec![image; batch])?;
        let other = run(&mut session, &vec![&images[0]; batch])?;
        let two = match declared_batch(input) {
            None => self.two(&mut session, [image, &images[0]], [&outputs, &other])?,
            Some(_) => None,
        };
        let fixed_batch = if two.is_some() { None } else { Some(batch) };
        let has_batch = |index: usize| {
            let (shape, doubled) = (outputs[index].shape(), two.as_ref().map(|two| two[index].shape()));
            // Numbers that are made of the graph's own sizes are no layers.
            let is_image_s = shape.len() > 1 || outputs[index].data() != other[index].data();
            shape.first() == Some(&batch) && is_image_s && doubled.is_none_or(|doubled| doubled.first() == Some(&(2 * batch)))
        };
        let with_batch = kinds.iter().zip(&outputs).enumerate().filter(|(index, _)| has_batch(*index)).map(|(_, layer)| layer);
        let sizes = sizes(self.runtime, self.staging, self.graph, &all, &vec![image; batch]).unwrap_or_default();
        let sizes = self.with_input(&input.name, batch, sizes, names.iter().zip(&outputs));
        let layouts = self.graph.layouts(&sizes);
        let layer = |(index, ((name, kind), output)): (usize, (&(&str, &str), &Tensor))| Layer {
            index,
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            shape: layouts[*name].shown(&output.shape()[1..]),
            tensor: (*name).to_owned(),
            layout: Some(layouts[*name]),
        };
        let layers = with_batch.enumerate().map(layer).collect();
        let shapes = names.iter().zip(&outputs).map(|(name, output)| ((*name).to_owned(), output.shape().to_vec())).collect();
        let flattened = self.graph.flattened_maps(&sizes);
        Ok(Probed { layers, shapes, flattened, batch, fixed_batch })
    }

    /// The values of `tensor` for the first image of batches of `batch`, of different images each.
    pub(super) fn rows(&self, tensor: &str, batch: usize) -> Result<Vec<Vec<f32>>, ImportError> {
        let mut session = self.session(&[tensor])?;
        let images = trial_images(self.preprocessing);
        let row = |image: &Tensor| {
            let output = run(&mut session, &vec![image; batch])?.swap_remove(0);
            let values = output.data().len() / batch;
            Ok(output.data()[..values].to_vec())
        };
        images.iter().map(row).collect()
    }

    /// What a graph with an open batch dimension makes of two images, if each gets the numbers that it gets alone: some graphs
    /// reshape to a fixed batch of 1, and in some an image's numbers depend on those beside it.
    ///
    /// Tensors that do not begin with the batch (windows, heads before images) are not compared: the layers behind them are.
    fn two(
        &self,
        session: &mut Session,
        images: [&Tensor; 2],
        single: [&[Tensor]; 2],
    ) -> Result<Option<Vec<Tensor>>, ImportError> {
        // Rounding in another order; what mixes images is far off.
        const NEAR: f32 = 0.02;
        let near = |one: &[f32], two: &[f32]| {
            let largest = one.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            one.len() == two.len() && one.iter().zip(two).all(|(a, b)| (a - b).abs() <= NEAR * largest || a.is_nan())
        };
        let alike = |index: usize, two: &Tensor| {
            let [one, other] = single.map(|outputs| &outputs[index]);
            let (first, second) = two.data().split_at(two.data().len() / 2);
            // Made of the graph's own sizes, the same for every image.
            let is_of_sizes = one.data() == other.data() && one.shape() == two.shape();
            one.shape().first() != Some(&1) || is_of_sizes || near(one.data(), first) && near(other.data(), second)
        };
        let two = ran(run(session, &images))?.filter(|two| two.iter().enumerate().all(|(index, two)| alike(index, two)));
        let two = two.filter(|_| !self.graph.quantizes_by_batch());
        if two.is_none() {
            warn!(
                "the graph leaves its batch dimension open, but an image's numbers depend on those beside it, or it takes no second \
                 one; graft will run images one by one"
            );
        }
        Ok(two)
    }

    /// `sizes` with those of the input and of the run's outputs.
    fn with_input<'n>(
        &self,
        input: &str,
        batch: usize,
        mut sizes: Shapes,
        outputs: impl Iterator<Item = (&'n &'n str, &'n Tensor)>,
    ) -> Shapes {
        let spec = self.preprocessing;
        sizes.extend(outputs.map(|(name, output)| ((*name).to_owned(), output.shape().to_vec())));
        sizes.insert(input.to_owned(), vec![batch, spec.channels(), spec.height as usize, spec.width as usize]);
        sizes
    }

    fn session(&self, tensors: &[&str]) -> Result<Session, ImportError> {
        session(self.runtime, self.staging, &self.graph.cut(tensors)?)
    }
}

/// `image` with the first of its sizes that `graph` runs with.
///
/// # Errors
/// A graph of which the size is a guess that runs with none.
pub(super) fn fitting_size(
    runtime: &Runtime,
    staging: &Staging,
    graph: &Graph,
    image: ImageInput,
) -> Result<ImageInput, ImportError> {
    let sizes = image.sizes();
    if sizes.len() == 1 {
        return Ok(image);
    }
    let batch = batch(&graph.input()?);
    let mut session = session(runtime, staging, graph)?;
    for size in sizes {
        if ran(run(&mut session, &vec![&black(&image, size); batch]))?.is_some() {
            return Ok(image.with_size(size));
        }
    }
    Err(image.no_size_runs())
}

/// Checks that what `graph` makes without the image is in proportion to its `stored` bytes of weights, as far as possible without
/// making it.
///
/// # Errors
/// Constants that are too large, or cannot be made.
pub(super) fn check_constants(
    runtime: &Runtime,
    staging: &Staging,
    graph: &Graph,
    image: &ImageInput,
    stored: u64,
) -> Result<(), ImportError> {
    let made = graph.made_constants();
    if made.is_empty() {
        return Ok(());
    }
    let known = session(runtime, staging, &graph.cut(&made)?)?.known_shapes();
    graph.check_constants(&known, stored)?;
    let images = vec![black(image, image.size); batch(&graph.input()?)];
    let sizes = sizes(runtime, staging, graph, &made, &images.iter().collect::<Vec<_>>())?;
    Ok(graph.check_constants(&sizes, stored)?)
}

/// The sizes of `tensors` for `images`, of whatever type they are.
fn sizes(
    runtime: &Runtime,
    staging: &Staging,
    graph: &Graph,
    tensors: &[&str],
    images: &[&Tensor],
) -> Result<Shapes, ImportError> {
    let sizes = |name: &str| format!("{name}{SIZES}");
    let names: Vec<String> = tensors.iter().map(|name| sizes(name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let graph = graph.with_sizes(tensors, sizes)?.cut(&names)?;
    let told = run(&mut session(runtime, staging, &graph)?, images)?;
    let shape = |sizes: &Tensor| sizes.data().iter().map(|&side| side as usize).collect();
    Ok(tensors.iter().zip(told).map(|(name, sizes)| ((*name).to_owned(), shape(&sizes))).collect())
}

/// A black image of that size.
fn black(image: &ImageInput, [height, width]: [u32; 2]) -> Tensor {
    let channels = if image.channels == 1 { 1 } else { 3 };
    let shape = vec![channels, height as usize, width as usize];
    Tensor::new(shape.clone(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape has")
}

/// Images of a run, where the graph says so.
fn declared_batch(input: &InputInfo) -> Option<usize> {
    input.shape.first().and_then(|dim| dim.fixed()).and_then(|size| usize::try_from(size).ok())
}

fn batch(input: &InputInfo) -> usize {
    declared_batch(input).unwrap_or(1)
}

/// What a run gave, if the graph takes such images; a bound that it broke does not tell.
fn ran<T>(result: Result<T, ImportError>) -> Result<Option<T>, ImportError> {
    match result {
        Ok(outputs) => Ok(Some(outputs)),
        Err(broken @ ImportError::Runtime(Error::TooMuchMemory { .. } | Error::TooSlow { .. })) => Err(broken),
        Err(_) => Ok(None),
    }
}

fn session(runtime: &Runtime, staging: &Staging, graph: &Graph) -> Result<Session, ImportError> {
    let loaded = LoadedGraph::read(&graph.clone().beside(staging.dir()), Provider::Cpu)?;
    let cpu = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
    Ok(runtime.unfolded_session(loaded.source(), cpu, None)?)
}

/// The outputs for a batch of `images`.
fn run(session: &mut Session, images: &[&Tensor]) -> Result<Vec<Tensor>, ImportError> {
    let data: Vec<f32> = images.iter().flat_map(|image| image.data()).copied().collect();
    let shape = std::iter::once(images.len()).chain(images[0].shape().iter().copied()).collect();
    Ok(session.run_within(RUN_LIMIT, &Tensor::new(shape, data).expect("a batch is as many images as its shape says"))?)
}
