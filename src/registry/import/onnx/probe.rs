//! What a graph's tensors are, found by running it.
//!
//! Knows shapes and numbers; what they mean is `output`'s to say.

use std::collections::HashSet;

use tracing::warn;

use super::input::ImageInput;

use crate::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    graph::{Graph, InputInfo, Shapes},
    preprocess::Preprocessing,
    registry::{Layer, Staging, import::ImportError, trial_images},
    runtime::{Runtime, Session, SessionSource, SharedWeights},
    tensor::Tensor,
};

/// What the sizes of a tensor are called, after it.
const SIZES: &str = "/sizes";

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
        let floats = self.session(&all)?.float_outputs();
        let names: Vec<&str> = all.iter().copied().filter(|name| floats.iter().any(|float| float == name)).collect();
        let mut session = self.session(&names)?;
        let declared = input.shape.first().and_then(|dim| dim.fixed()).and_then(|size| usize::try_from(size).ok());
        let batch = declared.unwrap_or(1);
        let images = trial_images(self.preprocessing);
        let image = images.last().expect("there are some");
        let outputs = run(&mut session, &vec![image; batch])?;
        let pair = [image, &images[0]];
        let fixed_batch = declared.or_else(|| if self.takes_two(&mut session, pair, &outputs) { None } else { Some(1) });
        let with_batch = names.iter().zip(&outputs).filter(|(_, output)| output.shape().first() == Some(&batch));
        let sizes = self.sizes(&all, &vec![image; batch]);
        let sizes = self.with_input(&input.name, batch, sizes, names.iter().zip(&outputs));
        let layouts = self.graph.layouts(&sizes);
        let layer = |(index, (name, output)): (usize, (&&str, &Tensor))| Layer {
            index,
            name: (*name).to_owned(),
            kind: nodes.iter().find(|node| node.name == **name).map(|node| node.op_type.clone()).unwrap_or_default(),
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

    /// Whether a graph with an open batch dimension really takes two images, `single`'s and another: some reshape to a fixed batch
    /// of 1, and in some an image's numbers depend on the others.
    fn takes_two(&self, session: &mut Session, images: [&Tensor; 2], single: &[Tensor]) -> bool {
        // Rounding in another order; what mixes images is far off.
        const NEAR: f32 = 0.02;
        let alike = |(one, two): (&Tensor, &Tensor)| {
            let (one, two) = (one.data(), two.data());
            let largest = one.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            one.len() * 2 == two.len() && one.iter().zip(two).all(|(a, b)| (a - b).abs() <= NEAR * largest || a.is_nan())
        };
        let takes = run(session, &images).is_ok_and(|two| single.iter().zip(&two).all(alike));
        let takes = takes && !self.graph.quantizes_by_batch();
        if !takes {
            warn!(
                "the graph leaves its batch dimension open but gives each image its own numbers alone; graft will run them one by one"
            );
        }
        takes
    }

    /// The sizes of the tensors `all` for `images`, of whatever type they are; those of which ONNX Runtime does not tell are left out.
    fn sizes(&self, all: &[&str], images: &[&Tensor]) -> Shapes {
        let sizes = |name: &str| format!("{name}{SIZES}");
        let names: Vec<String> = all.iter().map(|name| sizes(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let told = self.graph.with_sizes(all, sizes).and_then(|graph| graph.cut(&names)).map_err(ImportError::from);
        let told = told.and_then(|graph| run(&mut session(self.runtime, self.staging, &graph)?, images));
        let shape = |sizes: &Tensor| sizes.data().iter().map(|&side| side as usize).collect();
        all.iter().zip(told.unwrap_or_default()).map(|(name, sizes)| ((*name).to_owned(), shape(&sizes))).collect()
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
    let declared = graph.input()?.shape.first().and_then(|dim| dim.fixed());
    let batch = declared.and_then(|size| usize::try_from(size).ok()).unwrap_or(1);
    let mut session = session(runtime, staging, graph)?;
    let mut runs = |[height, width]: [u32; 2]| {
        let channels = if image.channels == 1 { 1 } else { 3 };
        let shape = vec![channels, height as usize, width as usize];
        let zeros = Tensor::new(shape.clone(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape has");
        run(&mut session, &vec![&zeros; batch]).is_ok()
    };
    match sizes.into_iter().find(|&size| runs(size)) {
        Some(size) => Ok(image.with_size(size)),
        None => Err(image.no_size_runs()),
    }
}

fn session(runtime: &Runtime, staging: &Staging, graph: &Graph) -> Result<Session, ImportError> {
    let graph = graph.to_bytes();
    let shared = SharedWeights::default();
    let source = SessionSource { graph: &graph, folder: staging.dir(), shared: &shared };
    let cpu = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
    Ok(runtime.session(source, cpu)?)
}

/// The outputs for a batch of `images`.
fn run(session: &mut Session, images: &[&Tensor]) -> Result<Vec<Tensor>, ImportError> {
    let data: Vec<f32> = images.iter().flat_map(|image| image.data()).copied().collect();
    let shape = std::iter::once(images.len()).chain(images[0].shape().iter().copied()).collect();
    Ok(session.run(&Tensor::new(shape, data).expect("a batch is as many images as its shape says"))?)
}
