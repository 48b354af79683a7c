//! The frozen part, run on the serving runtime: images in, their tensors at the frontier out, on lanes side by side.
//!
//! On the CPU every image runs by itself, so that its numbers do not depend on which others run with it.

use std::{
    fs::File,
    io::Read,
    num::NonZeroUsize,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Context, content::Content};
use crate::{
    arch::{Builder, Layer, LayerKind},
    config::Provider,
    graph::{BuildError, Graph},
    preprocess::{self, Decoder, ImageError, Limits, Preprocessing},
    runtime::{LoadedGraph, Session},
    tensor::Tensor,
    training::{
        Samples,
        base::trained,
        batches::Pick,
        error::{At, Error},
        recipe::Recipe,
    },
    work::thread_time,
};

/// Most lanes on the CPU: each holds the weights of the frozen part.
const MAX_LANES: usize = 8;

/// Lanes on a GPU: one decodes while the other runs.
const GPU_LANES: usize = 2;

/// Images per run on a GPU.
const GPU_ROWS: usize = 16;

/// Takes the tensors of a record, and its place among those asked for; called from several threads.
pub(super) type Sink<'s> = dyn Fn(usize, &[&[f32]]) -> Result<(), Error> + Sync + 's;

/// What computes records; sessions are made on first use and can be let go.
pub(super) struct Computer<'a> {
    context: Context<'a>,
    samples: &'a Samples,
    preprocessing: Preprocessing,
    frozen: Frozen,
    plan: Plan,
    lanes: Vec<Lane>,
}

/// The frozen part.
struct Frozen {
    /// The tensors of a record.
    tensors: Vec<Wanted>,
    /// `None` when all of a record is the image itself.
    graph: Option<LoadedGraph>,
    /// Whether the graph has neither subgraphs nor functions.
    is_flat: bool,
}

/// A tensor of a record.
struct Wanted {
    name: String,
    length: usize,
    /// Which of the graph's outputs it is; `None` for the image itself.
    output: Option<usize>,
}

/// How the work is divided.
#[derive(Debug, Clone, Copy)]
struct Plan {
    lanes: usize,
    threads_per_lane: NonZeroUsize,
    /// Images per run.
    rows: usize,
}

#[derive(Default)]
struct Lane {
    session: Option<Session>,
}

impl<'a> Computer<'a> {
    /// What computes records of the tensors of all `contents`, in their order.
    pub(super) fn new(context: Context<'a>, recipe: &Recipe, contents: &[Content], samples: &'a Samples) -> Result<Self, Error> {
        let plan = Plan::of(&context);
        let frozen = Frozen::of(&context, recipe, contents)?;
        let lanes = Vec::from_iter((0..plan.lanes).map(|_| Lane::default()));
        Ok(Self { context, samples, preprocessing: recipe.preprocessing.clone(), frozen, plan, lanes })
    }

    /// Library, provider and threads: what the last bits of a number depend on besides its content.
    pub(super) fn engine(context: &Context<'_>) -> String {
        let threads = Plan::of(context).threads_per_lane;
        format!("{} on {:?}, {threads} threads", context.runtime.build_info(), context.choice.provider)
    }

    /// Lets the sessions go; they are made again when they are needed.
    pub(super) fn release(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.session = None);
        crate::runtime::trim();
    }

    /// Computes `picks` and hands each one's tensors to `sink` with its place in `picks`, from several threads.
    ///
    /// Ends early, with what was handed on, when `sink` fails; the first error counts.
    pub(super) fn run(&mut self, picks: &[Pick], sink: &Sink<'_>) -> Result<(), Error> {
        self.run_until(&AtomicBool::new(false), picks, sink)
    }

    /// As [`Self::run`], until `stop` is set.
    pub(super) fn run_until(&mut self, stop: &AtomicBool, picks: &[Pick], sink: &Sink<'_>) -> Result<(), Error> {
        self.timed(stop, None, picks, sink).map(drop)
    }

    /// As [`Self::run_until`], of the images or of what is `prepared` in their place, with the time that it takes on a machine that does
    /// nothing else, as far as that can be told.
    pub(super) fn timed(
        &mut self,
        stop: &AtomicBool,
        prepared: Option<&[Tensor]>,
        picks: &[Pick],
        sink: &Sink<'_>,
    ) -> Result<Duration, Error> {
        let alone = self.context.choice.provider == Provider::Cpu && self.plan.threads_per_lane == NonZeroUsize::MIN;
        let (started, lanes_in_all) = (Instant::now(), self.plan.lanes as u32);
        let next = AtomicUsize::new(0);
        let (work, lanes) = (
            Work {
                context: &self.context,
                samples: self.samples,
                preprocessing: &self.preprocessing,
                frozen: &self.frozen,
                plan: self.plan,
                stop,
                prepared,
            },
            &mut self.lanes,
        );
        let run = |lane: &mut Lane| {
            let result = work.lane(lane, picks, &next, sink);
            if result.is_err() {
                next.store(picks.len(), Ordering::Relaxed);
            }
            // A new thread's clock begins at 0.
            result.map(|()| thread_time())
        };
        thread::scope(|scope| {
            let handles: Vec<_> = lanes.iter_mut().map(|lane| scope.spawn(|| run(lane))).collect();
            let results =
                handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let busy = results.sum::<Result<Duration, Error>>()?;
            Ok(if alone { busy / lanes_in_all } else { started.elapsed() })
        })
    }
}

impl Wanted {
    fn size(&self, found: Option<&[f32]>) -> Error {
        Error::Size { tensor: self.name.clone(), expected: self.length, found: found.map_or(0, <[f32]>::len) }
    }
}

impl Plan {
    fn of(context: &Context<'_>) -> Self {
        let threads = context.threads.get();
        let fixed = context.base.metadata.fixed_batch;
        let (lanes, rows) = match context.choice.provider {
            Provider::Cpu => (threads.min(MAX_LANES), fixed.unwrap_or(1)),
            Provider::Cuda => (GPU_LANES, fixed.unwrap_or(GPU_ROWS)),
        };
        Self { lanes, threads_per_lane: NonZeroUsize::new(threads / lanes).unwrap_or(NonZeroUsize::MIN), rows }
    }
}

impl Frozen {
    fn of(context: &Context<'_>, recipe: &Recipe, contents: &[Content]) -> Result<Self, Error> {
        let refused = |source: BuildError| Error::Graph { model: context.model(), source };
        let whole = context.base.open().map_err(Error::Base)?;
        let (mut whole, _) = trained(&whole, recipe).map_err(|error| refused(error.into()))?;
        let input = &context.base.metadata.input;
        let (mut outputs, mut tensors): (Vec<String>, _) = (Vec::new(), Vec::new());
        for (tensor, length) in contents.iter().flat_map(|content| content.frontier().iter().zip(content.lengths())) {
            let made = if tensor.pooled { POOLED.to_owned() } else { whole.float32_name(&tensor.tensor) };
            let output = (tensor.tensor != *input || tensor.pooled).then(|| {
                outputs.iter().position(|output| *output == made).unwrap_or_else(|| {
                    outputs.push(made);
                    outputs.len() - 1
                })
            });
            tensors.push(Wanted { name: tensor.tensor.clone(), length, output });
        }
        if let Some(pooled) = contents.iter().flat_map(Content::frontier).find(|tensor| tensor.pooled) {
            let mut pool = Builder::on(&whole.float32_name(&pooled.tensor), &recipe.head.shape);
            pool.named(POOLED, LayerKind::GlobalAveragePooling2D, &[0]);
            whole = whole.with_head(pool.layers(), &mut |_, _: &Layer| Ok(Vec::new())).map_err(refused)?;
        }
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let graph = if outputs.is_empty() { None } else { Some(whole.cut(&outputs).map_err(|error| refused(error.into()))?) };
        let is_flat = graph.as_ref().is_none_or(Graph::is_flat);
        let loaded = graph.map(|graph| LoadedGraph::read(&graph, context.choice.provider)).transpose();
        Ok(Self { tensors, graph: loaded.map_err(|source| context.runtime_error(source))?, is_flat })
    }
}

/// What the pooled tensor is called.
const POOLED: &str = "graft/pooled";

/// What all lanes share.
struct Work<'a> {
    context: &'a Context<'a>,
    samples: &'a Samples,
    preprocessing: &'a Preprocessing,
    frozen: &'a Frozen,
    plan: Plan,
    stop: &'a AtomicBool,
    /// What is run in place of the images, in turn.
    prepared: Option<&'a [Tensor]>,
}

impl Work<'_> {
    /// Takes runs of images until none is left.
    fn lane(&self, lane: &mut Lane, picks: &[Pick], next: &AtomicUsize, sink: &Sink<'_>) -> Result<(), Error> {
        loop {
            let first = next.fetch_add(self.plan.rows, Ordering::Relaxed);
            let Some(run) = picks.get(first..).filter(|rest| !rest.is_empty()) else { return Ok(()) };
            let run = &run[..run.len().min(self.plan.rows)];
            let images = self.prepare(run)?;
            let outputs = self.infer(lane, &images)?;
            for (row, image) in images.iter().enumerate() {
                let values = |tensor: &Wanted| match tensor.output {
                    Some(output) => outputs.get(output).and_then(|output| row_of(output, row)),
                    None => Some(image.data()),
                };
                let whole = |tensor: &Wanted| {
                    let values = values(tensor);
                    values.filter(|values| values.len() == tensor.length).ok_or_else(|| tensor.size(values))
                };
                let record = self.frozen.tensors.iter().map(whole).collect::<Result<Vec<_>, Error>>()?;
                sink(first + row, &record)?;
            }
        }
    }

    /// Decoded, preprocessed and mirrored images; several at a time where a run takes several.
    fn prepare(&self, run: &[Pick]) -> Result<Vec<Tensor>, Error> {
        let prepare = |pick: &Pick| {
            if let Some(prepared) = self.prepared {
                return Ok(prepared[pick.image as usize % prepared.len()].clone());
            }
            let file = &self.samples.images[pick.image as usize].file;
            let image = image(file, self.preprocessing, self.context.decoder, self.stop)?;
            Ok(if pick.flipped { mirrored(image) } else { image })
        };
        if run.len() == 1 {
            return run.iter().map(prepare).collect();
        }
        let part = run.len().div_ceil(self.plan.threads_per_lane.get());
        thread::scope(|scope| {
            let parts: Vec<_> = run
                .chunks(part)
                .map(|part| scope.spawn(|| part.iter().map(prepare).collect::<Result<Vec<_>, Error>>()))
                .collect();
            let results = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            Ok(results.collect::<Result<Vec<_>, Error>>()?.concat())
        })
    }

    /// Outputs of the frozen graph; a short run is filled with zeros.
    fn infer(&self, lane: &mut Lane, images: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let Some(graph) = &self.frozen.graph else { return Ok(Vec::new()) };
        let session = match &mut lane.session {
            Some(session) => session,
            empty => {
                let Context { runtime, choice, .. } = self.context;
                let (source, threads) = (graph.source(), self.plan.threads_per_lane);
                let made = match self.frozen.is_flat {
                    true => runtime.background_session(source, *choice, threads),
                    false => runtime.unfolded_session(source, *choice, Some(threads)),
                };
                empty.insert(made.map_err(|source| self.context.runtime_error(source))?)
            }
        };
        let shape: Vec<usize> = std::iter::once(self.plan.rows).chain(images[0].shape().iter().copied()).collect();
        let mut data = Vec::with_capacity(shape.iter().product());
        images.iter().for_each(|image| data.extend_from_slice(image.data()));
        data.resize(data.capacity(), 0.0);
        let input = Tensor::new(shape, data).expect("a run is as many images as its shape says");
        let is_stopped = || self.stop.load(Ordering::Relaxed);
        let outputs = session.run_while(&|| !is_stopped(), &input);
        outputs.map_err(|source| if is_stopped() { Error::Cancelled } else { self.context.runtime_error(source) })
    }
}

/// One image's part of a batched output.
fn row_of(output: &Tensor, row: usize) -> Option<&[f32]> {
    let length = output.shape().iter().skip(1).product::<usize>();
    output.data().get(row * length..(row + 1) * length)
}

/// Reads, decodes and preprocesses a file, unless `stop` is set.
pub(in crate::training) fn image(
    path: &Path,
    preprocessing: &Preprocessing,
    decoder: &Decoder,
    stop: &AtomicBool,
) -> Result<Tensor, Error> {
    let refused = |source: ImageError| match source {
        ImageError::Cancelled => Error::Cancelled,
        source => Error::Image { path: path.into(), source },
    };
    let bytes = contents(path, decoder.limits())?;
    decoder.decode(&bytes, stop, |decoded| preprocess::prepare(decoded, preprocessing).0).map_err(refused)
}

/// Reads a file of at most `limits.max_bytes`, or a byte more.
pub(in crate::training) fn contents(path: &Path, limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(path).at("open the image", path)?;
    file.take(limits.max_bytes as u64 + 1).read_to_end(&mut bytes).at("read the image", path)?;
    Ok(bytes)
}

/// The image with left and right exchanged.
fn mirrored(mut image: Tensor) -> Tensor {
    let width = image.shape().last().copied().unwrap_or(1).max(1);
    image.data_mut().chunks_exact_mut(width).for_each(<[f32]>::reverse);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_exchanges_left_and_right() {
        let image = Tensor::new(vec![2, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("six values");
        assert_eq!(mirrored(image.clone()).data(), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(mirrored(mirrored(image.clone())), image);
    }
}
