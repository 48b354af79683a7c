//! The frontier cache: tensors between what is frozen and what trains, computed once per image and read from disk.
//!
//! Memory does not grow with the data set: a record is on disk or it is computed anew.

mod compute;
mod content;
mod room;
mod store;

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

pub(super) use compute::{contents as file_contents, image};
pub use content::Content;
pub(super) use store::Hold;

use self::{compute::Computer, store::Store};
use super::{
    Samples,
    batches::Pick,
    error::Error,
    recipe::{Phase, Recipe},
};
use crate::{config::ProviderChoice, preprocess::Decoder, registry::ModelVersion, runtime::Runtime, tensor::Tensor};

/// How often a caller hears of progress and is asked whether to go on.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// What a cache is made with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// ONNX Runtime.
    pub runtime: &'a Runtime,
    /// The base.
    pub base: &'a ModelVersion,
    /// Where the frozen part runs.
    pub choice: ProviderChoice,
    /// Threads that compute records, at low priority.
    pub threads: NonZeroUsize,
    /// Decodes images.
    pub decoder: &'a Decoder,
    /// Folder of all caches.
    pub root: &'a Path,
    /// Bound on all caches together, in bytes.
    pub bound: u64,
}

/// The tensors at the frontier of one phase, by image.
pub struct FrontierCache<'a> {
    /// Tensors of a record that come before its own: those of earlier phases.
    first: usize,
    own: Part,
    /// What later phases read.
    later: Vec<Part>,
    computer: Computer<'a>,
}

/// What a cache holds, and where.
struct Part {
    content: Content,
    store: Store,
}

/// How far filling has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Records that are there, those of earlier jobs included.
    pub done: usize,
    /// Records that will be there.
    pub total: usize,
}

impl Context<'_> {
    /// The base, `NAME@VERSION`.
    pub(super) fn model(&self) -> String {
        format!("{}@{}", self.base.metadata.name, self.base.metadata.version)
    }

    fn runtime_error(&self, source: crate::runtime::Error) -> Error {
        Error::Runtime { model: self.model(), source }
    }
}

impl<'a> FrontierCache<'a> {
    /// Opens what earlier jobs left of the cache that `phase` reads, or makes an empty one.
    ///
    /// # Errors
    /// A base or data set that is not the recipe's, a folder that cannot be written, a disk without room, a graph that cannot be cut.
    pub fn open(context: Context<'a>, recipe: &Recipe, phase: &Phase, samples: &'a Samples) -> Result<Self, Error> {
        if context.base.metadata.weights.sha256 != recipe.base.weights_sha256 {
            return Err(Error::BaseChanged { model: context.model() });
        }
        if samples.fingerprint != recipe.fingerprint {
            return Err(Error::DatasetChanged { dataset: recipe.dataset.clone() });
        }
        let contents = contents(recipe, samples, &Computer::engine(&context));
        let computer = Computer::new(context, recipe, &contents, samples)?;
        let own =
            contents.iter().position(|content| content.frontier() == phase.frontier).expect("the phase is one of the recipe's");
        let stored = &contents[own..];
        let stores = Store::open(context.root, stored, context.bound)?;
        let mut parts = stored.iter().cloned().zip(stores).map(|(content, store)| Part { content, store });
        let first = contents[..own].iter().map(|content| content.frontier().len()).sum();
        Ok(Self { first, own: parts.next().expect("its own"), later: parts.collect(), computer })
    }

    /// Holds what later phases read, and its room, until they open it.
    pub(super) fn later(&self) -> Vec<Hold> {
        self.later.iter().map(|part| part.store.hold()).collect()
    }

    /// What the user should know: that not everything fits.
    pub fn warning(&self) -> Option<String> {
        let Part { content, store } = &self.own;
        let (limit, records) = (store.limit(), content.records());
        (limit < records).then(|| {
            format!(
                "the cached tensors need {} bytes, of which {} fit: {} of {records} images are computed anew in every epoch; \
                 raise `training.cache_bytes`",
                content.bytes(),
                content.record_bytes().saturating_mul(limit as u64),
                records - limit
            )
        })
    }

    /// Computes those of `picks` that are to be stored and are not; `go_on` hears of progress, and ends it by saying false.
    ///
    /// What later phases read comes out of the same pass, and is stored too.
    /// May be stopped at any moment, by a kill too: what is there stays.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `go_on` said so; an image that cannot be read; a full disk.
    pub fn fill(&mut self, picks: &[Pick], go_on: &mut dyn FnMut(Filled) -> bool) -> Result<(), Error> {
        let Part { content, store } = &self.own;
        let total = picks.iter().filter(|pick| content.record(**pick) < store.limit()).count();
        let lacking: Vec<Pick> = picks.iter().filter(|pick| store.lacks(content.record(**pick))).copied().collect();
        let before = total - lacking.len();
        if !go_on(Filled { done: before, total }) {
            return Err(Error::Cancelled);
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let (done, cancelled, ended) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let (first, own, later, computer) = (self.first, &self.own, &self.later, &mut self.computer);
        let sink = |place: usize, record: &[&[f32]]| {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let (values, mut rest) = record[first..].split_at(own.content.frontier().len());
            for part in later {
                let (values, others) = rest.split_at(part.content.frontier().len());
                part.put(lacking[place], values)?;
                rest = others;
            }
            // Last: a kill in between leaves nothing undone.
            own.put(lacking[place], values)?;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let progress = || Filled { done: before + done.load(Ordering::Relaxed), total };
        let caller = std::thread::current();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let result = computer.run_until(&cancelled, &lacking, &sink);
                ended.store(true, Ordering::Release);
                caller.unpark();
                result
            });
            while !ended.load(Ordering::Acquire) && !work.is_finished() {
                std::thread::park_timeout(HEARTBEAT);
                if !go_on(progress()) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
        .or_else(|error| self.make_room(error))?;
        go_on(progress());
        for part in self.parts() {
            part.store.sync()?;
        }
        if self.own.store.limit() == self.own.content.records() {
            self.computer.release();
        }
        Ok(())
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.own).chain(&self.later)
    }

    /// Lets all records go where the disk is full: what else is written there, the end of this job too, needs room.
    fn make_room(&self, error: Error) -> Result<(), Error> {
        for part in self.parts().filter(|_| error.is_disk_full()) {
            if let Err(error) = part.store.empty() {
                tracing::warn!(%error, "cannot empty a cache on a full disk");
            }
        }
        Err(error)
    }

    /// The tensors of `picks`, one per frontier tensor, `(rows, …)`; rows past `picks` are 0.
    ///
    /// What is not stored, or damaged, is computed.
    ///
    /// # Errors
    /// An image that cannot be read, a file system that refuses. `picks` are no more than `rows`.
    pub fn batch(&mut self, picks: &[Pick], rows: usize) -> Result<Vec<Tensor>, Error> {
        let Part { content, store } = &self.own;
        let lengths = content.lengths();
        let mut tensors: Vec<Vec<f32>> = lengths.iter().map(|length| vec![0.0; length * rows]).collect();
        let mut lacking = Vec::new();
        for (row, pick) in picks.iter().enumerate() {
            let mut record: Vec<&mut [f32]> = rows_of(&mut tensors, &lengths, row);
            if !store.read(content.record(*pick), &mut record)? {
                lacking.push((row, *pick));
            }
        }
        if !lacking.is_empty() {
            let shared = Mutex::new(&mut tensors);
            let (first, own) = (self.first, &self.own);
            let sink = |place: usize, record: &[&[f32]]| {
                let (row, pick) = lacking[place];
                let record = &record[first..first + lengths.len()];
                let mut tensors = shared.lock().unwrap_or_else(PoisonError::into_inner);
                for (target, values) in rows_of(&mut tensors, &lengths, row).into_iter().zip(record) {
                    target.copy_from_slice(values);
                }
                drop(tensors);
                own.put(pick, record)
            };
            let picks: Vec<Pick> = lacking.iter().map(|(_, pick)| *pick).collect();
            self.computer.run(&picks, &sink).or_else(|error| self.make_room(error))?;
        }
        let shape = |shape: &[usize]| std::iter::once(rows).chain(shape.iter().copied()).collect();
        let shapes = self.own.content.frontier().iter().map(|tensor| shape(&tensor.shape));
        let tensor = |(shape, data)| Tensor::new(shape, data).expect("as many values as rows of that shape have");
        Ok(shapes.zip(tensors).map(tensor).collect())
    }
}

impl Part {
    /// Stores the record of `pick`, unless it is there or has no place.
    fn put(&self, pick: Pick, record: &[&[f32]]) -> Result<(), Error> {
        let number = self.content.record(pick);
        if self.store.lacks(number) { self.store.write(number, record) } else { Ok(()) }
    }
}

/// What one pass of the base gives: the tensors of all phases.
fn contents(recipe: &Recipe, samples: &Samples, engine: &str) -> Vec<Content> {
    recipe.frontiers().map(|phase| Content::of(recipe, phase, samples, engine.to_owned())).collect()
}

/// Time to run `count` images through the frozen part once the sessions are there, those that are `prepared` in turn; nothing is read
/// from the cache or written to it.
///
/// # Errors
/// A graph that cannot be cut or run.
pub(super) fn probe(
    context: Context<'_>,
    recipe: &Recipe,
    samples: &Samples,
    prepared: &[Tensor],
    count: usize,
) -> Result<Duration, Error> {
    let contents = contents(recipe, samples, "");
    let mut computer = Computer::new(context, recipe, &contents, samples)?;
    let picks: Vec<Pick> = (0..).take(count).map(|image| Pick { image, flipped: false }).collect();
    let mut run = || computer.timed(&AtomicBool::new(false), Some(prepared), &picks, &|_, _| Ok(()));
    run()?;
    run()
}

/// Row `row` of every tensor.
fn rows_of<'t>(tensors: &'t mut [Vec<f32>], lengths: &[usize], row: usize) -> Vec<&'t mut [f32]> {
    tensors.iter_mut().zip(lengths).map(|(tensor, length)| &mut tensor[row * length..(row + 1) * length]).collect()
}

#[cfg(test)]
mod tests;
