//! One thread per loaded model: the side of those who ask it.
//!
//! What the thread does is in [`super::queue`].

use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Admission, Error, ImageAnswer, ModelId, Plan,
    models::Room,
    queue::{Item, Message, Queue},
};
use crate::{
    config::{RuntimeConfig, ServerConfig},
    registry::ModelVersion,
    runtime::{ProviderInEffect, Runtime, trim},
    tensor::Tensor,
    work::{Budget, Client, Exceeded, Origin, Share},
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
    sender: Arc<Sender<Message>>,
    /// Images admitted and not yet answered; bounds what waits and what is decoded ahead.
    places: Budget,
    provider: ProviderInEffect,
}

/// How many images may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    images: u64,
    client_percent: u8,
    /// What one request may hold.
    least: u64,
}

/// An image's place in the queue, from before it is decoded until it is answered, whoever waits for that.
pub(super) struct Place {
    model: String,
    _share: Share,
    /// Memory of all images of its request as the model takes them, given back with the last of them.
    _inputs: Option<Arc<Share>>,
}

impl Capacity {
    pub(super) fn new(runtime: &RuntimeConfig, server: &ServerConfig) -> Self {
        let (images, least) = (runtime.queue_images as u64, server.max_images as u64);
        Self { images, client_percent: server.max_client_percent, least }
    }
}

impl Place {
    fn new(model: String, share: Share) -> Self {
        metrics::gauge!("graft_queue_images", "model" => model.clone()).increment(1.0);
        Self { model, _share: share, _inputs: None }
    }

    /// The same with the memory of its image.
    pub(super) fn holding(mut self, inputs: &Arc<Share>) -> Self {
        self._inputs = Some(Arc::clone(inputs));
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("graft_queue_images", "model" => self.model.clone()).decrement(1.0);
    }
}

/// What the images of one request ask for, and what the request holds.
pub(super) struct Task {
    pub(super) plan: Plan,
    /// Of the plan, in its order.
    pub(super) tensors: Vec<String>,
    /// Whose turn they take.
    pub(super) origin: Origin,
    _admission: Admission,
}

impl Task {
    pub(super) fn new(plan: Plan, admission: Admission) -> Self {
        Self { tensors: plan.tensors(), plan, origin: admission.origin(), _admission: admission }
    }
}

impl Worker {
    /// Loads `version`, runs it once on zeros, and starts its thread, which keeps `room` until it has ended. Blocks until it is warm.
    ///
    /// # Errors
    /// A graph or weights that cannot be read, a provider that cannot be had.
    pub(super) fn start(
        runtime: Runtime,
        version: ModelVersion,
        config: &RuntimeConfig,
        capacity: Capacity,
        room: Room,
    ) -> Result<Self, Error> {
        let name = version.metadata.name.clone();
        let (sender, receiver) = channel();
        let sender = Arc::new(sender);
        let (report, loaded) = std::sync::mpsc::channel();
        let (config, thread_version, results) = (config.clone(), version.clone(), Arc::downgrade(&sender));
        std::thread::Builder::new()
            .name(format!("graft-{name}"))
            .spawn(move || {
                let _room = room;
                match Queue::open(runtime, thread_version, &config, results) {
                    Ok(mut queue) => {
                        report.send(Ok((queue.version().clone(), queue.provider()))).ok();
                        queue.run(&receiver);
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
                trim();
            })
            .map_err(|source| Error::Thread { model: name.clone(), source })?;
        let (version, provider) = loaded.recv().map_err(|_| Error::WorkerGone { model: name })??;
        let Capacity { images, client_percent, least } = capacity;
        Ok(Self { version, sender, places: Budget::shared(images, client_percent, least), provider })
    }

    /// The version it serves, with what loading has found out about its output.
    pub(super) fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// Where its sessions run.
    pub(super) fn provider(&self) -> &ProviderInEffect {
        &self.provider
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.places.used() == 0
    }

    /// Places for `images` of `client`, or that the queue is full.
    pub(super) fn admit(&self, client: &Client, images: usize) -> Result<Vec<Place>, Error> {
        let name = &self.version.metadata.name;
        match self.places.take(client, images as u64) {
            Ok(share) => Ok(share.into_ones().into_iter().map(|share| Place::new(name.clone(), share)).collect()),
            Err(exceeded) => {
                let of_client = exceeded == Exceeded::Client;
                let capacity = if of_client { self.places.per_client() } else { self.places.bound() };
                Err(Error::QueueFull { model: name.clone(), capacity: capacity as usize, of_client })
            }
        }
    }

    /// Queues one prepared image of shape (channels, height, width), at position `image` of its request, and waits for its answer.
    pub(super) async fn infer(&self, input: Tensor, task: Arc<Task>, image: usize, place: Place) -> Result<Ran, Error> {
        let (reply, answer) = oneshot::channel();
        let item = Item { input, task, image, enqueued: Instant::now(), reply, place };
        let gone = || Error::WorkerGone { model: ModelId::describe(&self.version) };
        self.sender.send(Message::Item(item)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(Error::Shared)
    }
}
