//! The thread of a loaded model: it owns the model's sessions and runs what waits in its queue.
//!
//! A batch forms while it is busy; entries whose client left are skipped, and no request waits for the whole of another.
//! What needs a session that is not there waits until another thread has built it, while the others are answered.
//! Outputs are shaped into answers here, so that the raw outputs of one batch per model are all that is ever in memory.

use std::{
    sync::{
        Arc, Weak,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Error,
    answer::assemble,
    session_cache::{Blueprint, Cut, SessionCache, runtime_error},
    worker::{Place, Ran, Task},
};
use crate::{
    config::RuntimeConfig,
    registry::{FoundBy, ModelVersion, OutputKind, References, trial_images},
    runtime::{ProviderInEffect, Runtime, Session, trim},
    tensor::Tensor,
    work::{Fair, lower_priority},
};

/// How much lower the priority of building a session is than that of answering.
const BUILD_NICE: u8 = 10;

/// What the thread is told.
pub(super) enum Message {
    /// An image to answer.
    Item(Item),
    /// A session that was asked for is built, or cannot be.
    Built(Vec<String>, Result<Cut, Error>),
}

/// An image that waits for its answer.
pub(super) struct Item {
    pub(super) input: Tensor,
    pub(super) task: Arc<Task>,
    /// Position in its request.
    pub(super) image: usize,
    pub(super) enqueued: Instant,
    pub(super) reply: oneshot::Sender<Result<Ran, Arc<Error>>>,
    pub(super) place: Place,
}

impl Item {
    /// Tells whoever waits what became of it; what it held is free by then.
    fn end(self, result: Result<Ran, Arc<Error>>) {
        let Self { input, reply, place, task, .. } = self;
        drop((input, place, task));
        reply.send(result).ok();
    }
}

/// Sessions, and images in the order in which they are answered.
pub(super) struct Queue {
    version: ModelVersion,
    sessions: SessionCache,
    /// Where built sessions are sent; nobody asks for any once the worker is gone.
    results: Weak<Sender<Message>>,
    /// Whether a session is being built.
    is_building: bool,
    /// What was built last, and has answered nobody yet: the next must not take its place before it has.
    fresh: Option<Vec<String>>,
    references: Option<References>,
    max_batch: usize,
    /// Images per run when the graph fixes it; short batches are filled with zeros.
    fixed_batch: Option<usize>,
    waiting: Fair<Item>,
    runs: u64,
}

impl Queue {
    /// Loads the model and runs it once on zeros.
    pub(super) fn open(
        runtime: Runtime,
        version: ModelVersion,
        config: &RuntimeConfig,
        results: Weak<Sender<Message>>,
    ) -> Result<Self, Error> {
        let choice = config.model_providers.get(&version.metadata.name).copied().unwrap_or(config.provider);
        let fixed_batch = version.metadata.fixed_batch;
        let preprocessing = &version.metadata.preprocessing;
        let shape =
            vec![fixed_batch.unwrap_or(1), preprocessing.channels(), preprocessing.height as usize, preprocessing.width as usize];
        let zeros = Tensor::new(shape.clone(), vec![0.0; shape.iter().product()]).expect("as many zeros as the shape has");
        let mut sessions = SessionCache::open(runtime, version.clone(), choice, config.cut_cache_bytes)?;
        let main = sessions.blueprint().main_tensors();
        let session = sessions.session(&main).expect("the first session is built in `open`");
        session.run(&zeros).map_err(|source| runtime_error(&version, source))?;
        let is_guess = version.metadata.output.as_ref().is_some_and(|output| output.found_by == FoundBy::Guess);
        let version = if is_guess { judged(session, version, fixed_batch.unwrap_or(1))? } else { version };
        let references = version.references()?;
        Ok(Self {
            version,
            sessions,
            results,
            is_building: false,
            fresh: None,
            references,
            max_batch: fixed_batch.unwrap_or(config.max_batch),
            fixed_batch,
            waiting: Fair::default(),
            runs: 0,
        })
    }

    /// The version it serves.
    pub(super) fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// Where its sessions run.
    pub(super) fn provider(&self) -> ProviderInEffect {
        self.sessions.provider()
    }

    /// Runs batches until every sender is gone and nothing waits.
    pub(super) fn run(&mut self, receiver: &Receiver<Message>) {
        loop {
            receiver.try_iter().for_each(|message| self.take_in(message));
            self.waiting.retain(|item| !item.reply.is_closed());
            if let Some(tensors) = self.fresh.take() {
                let batch = self.waiting.take(self.max_batch, |item| item.task.tensors == tensors);
                if !batch.is_empty() {
                    self.answer(batch, &tensors);
                }
                continue;
            }
            self.build_what_lacks();
            let sessions = &self.sessions;
            // Not the task: what its request holds is free before its answer is there.
            let ready = self.waiting.find(|item| sessions.has(&item.task.tensors)).map(|item| item.task.tensors.clone());
            match ready {
                Some(tensors) => {
                    let batch = self.waiting.take(self.max_batch, |item| item.task.tensors == tensors);
                    self.answer(batch, &tensors);
                }
                // What waits for a session is woken by it: whoever builds it holds a sender.
                None => match receiver.recv() {
                    Ok(message) => self.take_in(message),
                    Err(_) => return,
                },
            }
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Item(item) => self.waiting.push(&item.task.origin.clone(), item),
            Message::Built(tensors, built) => {
                self.is_building = false;
                self.take_built(&tensors, built);
            }
        }
    }

    fn take_built(&mut self, tensors: &[String], built: Result<Cut, Error>) {
        match built {
            Ok(cut) => {
                self.sessions.insert(cut);
                self.fresh = Some(tensors.to_vec());
            }
            Err(error) => {
                let error = Arc::new(error);
                for item in self.waiting.take(usize::MAX, |item| item.task.tensors == tensors) {
                    item.end(Err(Arc::clone(&error)));
                }
            }
        }
    }

    /// Has the session built that the first image without one waits for, unless one is being built.
    fn build_what_lacks(&mut self) {
        if self.is_building {
            return;
        }
        let sessions = &self.sessions;
        let lacking = self.waiting.find(|item| !sessions.has(&item.task.tensors)).map(|item| item.task.tensors.clone());
        let Some(tensors) = lacking else { return };
        let blueprint = Arc::clone(self.sessions.blueprint());
        self.sessions.make_room(&tensors);
        // Of a model that is being unloaded, nobody else comes, and nobody waits for this thread but these.
        let beside = self.results.upgrade().map(|results| build_beside(Arc::clone(&blueprint), tensors.clone(), results));
        self.is_building = beside == Some(true);
        if !self.is_building {
            let built = blueprint.build(&tensors);
            self.take_built(&tensors, built);
        }
    }

    fn answer(&mut self, batch: Vec<Item>, tensors: &[String]) {
        let (picked, model) = (Instant::now(), self.version.metadata.name.clone());
        self.runs += 1;
        let result = self.infer(&batch, tensors);
        metrics::histogram!("graft_batch_images", "model" => model.clone()).record(batch.len() as f64);
        match result {
            Ok((outputs, inference)) => {
                metrics::histogram!("graft_inference_seconds", "model" => model.clone()).record(inference.as_secs_f64());
                for (position, item) in batch.into_iter().enumerate() {
                    let queue = picked.duration_since(item.enqueued);
                    metrics::histogram!("graft_queue_seconds", "model" => model.clone()).record(queue.as_secs_f64());
                    let rows: Vec<&[f32]> = outputs.iter().map(|output| row(output, position)).collect();
                    let answer = assemble(&item.task.plan, item.image, tensors, &rows, self.references.as_ref());
                    let ran = answer.map(|answer| Ran { answer, queue, run: self.runs, inference });
                    item.end(ran.map_err(Arc::new));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for item in batch {
                    item.end(Err(Arc::clone(&error)));
                }
            }
        }
    }

    /// Outputs of the batch, and the time of the run.
    fn infer(&mut self, batch: &[Item], tensors: &[String]) -> Result<(Vec<Tensor>, Duration), Error> {
        let size = self.fixed_batch.unwrap_or(batch.len());
        let image = batch[0].input.shape();
        let length = size * image.iter().product::<usize>();
        let mut data = Vec::with_capacity(length);
        batch.iter().for_each(|item| data.extend_from_slice(item.input.data()));
        data.resize(length, 0.0);
        let shape = std::iter::once(size).chain(image.iter().copied()).collect();
        let input = Tensor::new(shape, data).expect("a batch is as many images as its shape says");
        let session = self.sessions.session(tensors).expect("what is answered has its session");
        let started = Instant::now();
        // All have left once the time of their requests is over.
        let is_wanted = || batch.iter().any(|item| !item.reply.is_closed());
        let outputs = session.run_while(&is_wanted, &input).map_err(|source| runtime_error(&self.version, source))?;
        Ok((outputs, started.elapsed()))
    }
}

/// Builds a session on a thread of its own; whether there is one.
fn build_beside(blueprint: Arc<Blueprint>, tensors: Vec<String>, results: Arc<Sender<Message>>) -> bool {
    let name = format!("build-{}", blueprint.version().metadata.name);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        lower_priority(BUILD_NICE);
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| blueprint.build(&tensors)));
        let built = built.unwrap_or_else(|_| Err(Error::WorkerGone { model: blueprint.version().metadata.name.clone() }));
        // What building took is freed on this thread, which nothing uses again.
        trim();
        results.send(Message::Built(tensors, built)).ok();
    });
    if let Err(error) = &thread {
        tracing::warn!(%error, "no thread to build a session beside those that answer; they wait for it");
    }
    thread.is_ok()
}

/// `version`, with what trial runs find out about the numbers of its output.
fn judged(session: &mut Session, version: ModelVersion, batch: usize) -> Result<ModelVersion, Error> {
    let images = trial_images(&version.metadata.preprocessing).into_iter();
    let run = |image: Tensor| {
        let (shape, data) = image.into_parts();
        let shape = std::iter::once(batch).chain(shape).collect();
        let input = Tensor::new(shape, data.repeat(batch)).expect("a batch is as many images as its shape says");
        Ok(row(&session.run(&input).map_err(|source| runtime_error(&version, source))?[0], 0).to_vec())
    };
    let rows = images.map(run).collect::<Result<Vec<_>, Error>>()?;
    Ok(version.judged(OutputKind::by_values(&rows)))
}

/// One image's part of a batched output.
pub(super) fn row(output: &Tensor, position: usize) -> &[f32] {
    let length = output.shape().iter().skip(1).product::<usize>();
    &output.data()[position * length..(position + 1) * length]
}
