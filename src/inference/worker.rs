//! One thread per loaded model: it owns the model's sessions and runs what waits in its queue.
//!
//! A batch forms while the worker is busy; entries whose client left are skipped.
//! Outputs are shaped into answers here, so that the raw outputs of one batch per model are all that is ever in memory.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    Error, ImageAnswer, Plan,
    answer::assemble,
    session_cache::{SessionCache, runtime_error},
};
use crate::{
    config::{ProviderChoice, RuntimeConfig},
    registry::{FoundBy, ModelVersion, OutputKind, References, trial_images},
    runtime::{ProviderInEffect, Runtime, trim},
    tensor::Tensor,
};

/// What one image got from a run.
pub(super) struct Ran {
    /// Classes and features; warnings are the caller's to add.
    pub(super) answer: ImageAnswer,
    /// Time in the queue.
    pub(super) queue: Duration,
    /// Number of the run, for summing the time of runs that several images shared.
    pub(super) run: u64,
    /// Time of that run.
    pub(super) inference: Duration,
}

/// A loaded model's thread; dropping it ends the thread once its queue is empty.
pub(super) struct Worker {
    version: ModelVersion,
    sender: SyncSender<Item>,
    /// Images admitted and not yet answered; bounds what waits and what is decoded ahead.
    permits: Arc<Semaphore>,
    capacity: usize,
    provider: ProviderInEffect,
    /// A plain mutex: it is taken once, at the end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Images that were let in: they hold their places in the queue until this is dropped.
pub(super) struct Admitted {
    model: String,
    permit: OwnedSemaphorePermit,
}

impl Admitted {
    fn new(model: String, permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("graft_queue_images", "model" => model.clone()).increment(permit.num_permits() as f64);
        Self { model, permit }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        metrics::gauge!("graft_queue_images", "model" => self.model.clone()).decrement(self.permit.num_permits() as f64);
    }
}

/// What the images of one request ask for.
pub(super) struct Task {
    plan: Plan,
    /// Of the plan, in its order.
    tensors: Vec<String>,
}

impl Task {
    pub(super) fn new(plan: Plan) -> Self {
        Self { tensors: plan.tensors(), plan }
    }
}

struct Item {
    input: Tensor,
    task: Arc<Task>,
    /// Position in its request, for messages.
    image: usize,
    enqueued: Instant,
    reply: oneshot::Sender<Result<Ran, Arc<Error>>>,
}

impl Worker {
    /// Loads `version`, runs it once on zeros, and starts its thread. Blocks until it is warm.
    ///
    /// # Errors
    /// A graph or weights that cannot be read, a provider that cannot be had.
    pub(super) fn start(runtime: Runtime, version: ModelVersion, config: &RuntimeConfig) -> Result<Self, Error> {
        let name = version.metadata.name.clone();
        let choice = config.model_providers.get(&name).copied().unwrap_or(config.provider);
        let (sender, receiver) = sync_channel(config.queue_images);
        let (report, loaded) = std::sync::mpsc::channel();
        let bound_bytes = config.cut_cache_bytes;
        let max_batch = config.max_batch;
        let thread_version = version.clone();
        let thread = std::thread::Builder::new()
            .name(format!("graft-{name}"))
            .spawn(move || {
                match Queue::open(runtime, thread_version, choice, bound_bytes, max_batch) {
                    Ok(mut queue) => {
                        report.send(Ok((queue.sessions.version().clone(), queue.sessions.provider()))).ok();
                        queue.run(&receiver);
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
                trim();
            })
            .map_err(|source| Error::Thread { model: name.clone(), source })?;
        let (version, provider) = loaded.recv().map_err(|_| Error::WorkerGone { model: name })??;
        let capacity = config.queue_images;
        Ok(Self {
            version,
            sender,
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
            provider,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The version it serves, with what loading has found out about its output.
    pub(super) fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// Where its sessions run.
    pub(super) fn provider(&self) -> &ProviderInEffect {
        &self.provider
    }

    /// Admits `images`, or says that the queue is full.
    pub(super) fn admit(&self, images: usize) -> Result<Admitted, Error> {
        let wanted = u32::try_from(images).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.permits).try_acquire_many_owned(wanted).map_err(|_| self.full())?;
        Ok(Admitted::new(self.version.metadata.name.clone(), permit))
    }

    /// Queues one prepared image of shape (channels, height, width), at position `image` of its request, and waits for its answer.
    pub(super) async fn infer(&self, input: Tensor, task: Arc<Task>, image: usize) -> Result<Ran, Error> {
        let (reply, answer) = oneshot::channel();
        let item = Item { input, task, image, enqueued: Instant::now(), reply };
        self.sender.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => self.full(),
            TrySendError::Disconnected(_) => self.gone(),
        })?;
        answer.await.map_err(|_| self.gone())?.map_err(Error::Shared)
    }

    /// Ends the thread after its queue and waits for it, so that its memory is free.
    pub(super) fn join(self) {
        let Self { sender, thread, .. } = self;
        drop(sender);
        let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().ok();
        }
    }

    fn full(&self) -> Error {
        Error::QueueFull { model: self.version.metadata.name.clone(), capacity: self.capacity }
    }

    fn gone(&self) -> Error {
        Error::WorkerGone { model: self.version.metadata.name.clone() }
    }
}

/// The worker thread's side: sessions, and entries in the order they came.
struct Queue {
    sessions: SessionCache,
    model: String,
    references: Option<References>,
    max_batch: usize,
    /// Images per run when the graph fixes it; short batches are filled with zeros.
    fixed_batch: Option<usize>,
    waiting: VecDeque<Item>,
    runs: u64,
}

impl Queue {
    /// Loads the model and runs it once on zeros.
    fn open(
        runtime: Runtime,
        version: ModelVersion,
        choice: ProviderChoice,
        bound_bytes: u64,
        max_batch: usize,
    ) -> Result<Self, Error> {
        let fixed_batch = version.metadata.fixed_batch;
        let preprocessing = &version.metadata.preprocessing;
        let shape =
            vec![fixed_batch.unwrap_or(1), preprocessing.channels(), preprocessing.height as usize, preprocessing.width as usize];
        let zeros = Tensor::new(shape.clone(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape has");
        let mut sessions = SessionCache::open(runtime, version.clone(), choice, bound_bytes)?;
        let main = sessions.main_tensors();
        sessions.session(&main)?.run(&zeros).map_err(|source| runtime_error(&version, source))?;
        if version.metadata.output.as_ref().is_some_and(|output| output.found_by == FoundBy::Guess) {
            judge(&mut sessions, fixed_batch.unwrap_or(1))?;
        }
        let (model, references) = (version.metadata.name.clone(), version.references()?);
        Ok(Self {
            sessions,
            model,
            references,
            max_batch: fixed_batch.unwrap_or(max_batch),
            fixed_batch,
            waiting: VecDeque::new(),
            runs: 0,
        })
    }

    /// Runs batches until every sender is gone and nothing waits.
    fn run(&mut self, receiver: &Receiver<Item>) {
        loop {
            if self.waiting.is_empty() {
                match receiver.recv() {
                    Ok(item) => self.waiting.push_back(item),
                    Err(_) => return,
                }
            }
            self.waiting.extend(receiver.try_iter());
            self.waiting.retain(|item| !item.reply.is_closed());
            if let Some(first) = self.waiting.front() {
                let task = Arc::clone(&first.task);
                let batch = self.take_batch(&task.tensors);
                self.answer(batch, &task.tensors);
            }
        }
    }

    /// Up to `max_batch` entries that ask for `tensors`, in order; the others stay.
    fn take_batch(&mut self, tensors: &[String]) -> Vec<Item> {
        let mut batch = Vec::new();
        let mut others = VecDeque::with_capacity(self.waiting.len());
        for item in self.waiting.drain(..) {
            if batch.len() < self.max_batch && item.task.tensors == tensors {
                batch.push(item);
            } else {
                others.push_back(item);
            }
        }
        self.waiting = others;
        batch
    }

    fn answer(&mut self, batch: Vec<Item>, tensors: &[String]) {
        let picked = Instant::now();
        self.runs += 1;
        let result = self.infer(&batch, tensors);
        metrics::histogram!("graft_batch_images", "model" => self.model.clone()).record(batch.len() as f64);
        match result {
            Ok((outputs, inference)) => {
                metrics::histogram!("graft_inference_seconds", "model" => self.model.clone()).record(inference.as_secs_f64());
                for (position, item) in batch.into_iter().enumerate() {
                    let queue = picked.duration_since(item.enqueued);
                    metrics::histogram!("graft_queue_seconds", "model" => self.model.clone()).record(queue.as_secs_f64());
                    let rows: Vec<&[f32]> = outputs.iter().map(|output| row(output, position)).collect();
                    let answer = assemble(&item.task.plan, item.image, tensors, &rows, self.references.as_ref());
                    let ran = answer.map(|answer| Ran { answer, queue, run: self.runs, inference });
                    item.reply.send(ran.map_err(Arc::new)).ok();
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for item in batch {
                    item.reply.send(Err(Arc::clone(&error))).ok();
                }
            }
        }
    }

    /// Outputs of the batch, and the time of the run alone (a session that had to be built first is not in it).
    fn infer(&mut self, batch: &[Item], tensors: &[String]) -> Result<(Vec<Tensor>, Duration), Error> {
        let size = self.fixed_batch.unwrap_or(batch.len());
        let image = batch[0].input.shape();
        let mut data = Vec::with_capacity(size * image.iter().product::<usize>());
        batch.iter().for_each(|item| data.extend_from_slice(item.input.data()));
        data.resize(data.capacity(), 0.0);
        let shape = std::iter::once(size).chain(image.iter().copied()).collect();
        let input = Tensor::new(shape, data).expect("a batch is as many images as its shape says");
        let version = self.sessions.version().clone();
        let session = self.sessions.session(tensors)?;
        let started = Instant::now();
        let outputs = session.run(&input).map_err(|source| runtime_error(&version, source))?;
        Ok((outputs, started.elapsed()))
    }
}

/// Finds out by trial runs what the output's numbers are.
fn judge(sessions: &mut SessionCache, batch: usize) -> Result<(), Error> {
    let (version, main) = (sessions.version().clone(), sessions.main_tensors());
    let session = sessions.session(&main)?;
    let images = trial_images(&version.metadata.preprocessing).into_iter();
    let run = |image: Tensor| {
        let (shape, data) = image.into_parts();
        let shape = std::iter::once(batch).chain(shape).collect();
        let input = Tensor::new(shape, data.repeat(batch)).expect("a batch is as many images as its shape says");
        Ok(row(&session.run(&input).map_err(|source| runtime_error(&version, source))?[0], 0).to_vec())
    };
    let rows = images.map(run).collect::<Result<Vec<_>, Error>>()?;
    sessions.set_version(version.judged(OutputKind::by_values(&rows)));
    Ok(())
}

/// One image's part of a batched output.
pub(super) fn row(output: &Tensor, position: usize) -> &[f32] {
    let length = output.shape().iter().skip(1).product::<usize>();
    &output.data()[position * length..(position + 1) * length]
}
