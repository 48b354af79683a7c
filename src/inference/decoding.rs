//! Decoding: images that are let in become tensors, in lanes that bound threads and memory.
//!
//! What takes a thread for a second has a lane of its own, at low priority, so that others need not wait; and ends when nobody wants it
//! any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Admission, Error, Image};
use crate::{
    config::{ImagesConfig, RuntimeConfig, ServerConfig},
    preprocess::{self, Header, ImageError, Limits, Preprocessing, Warning},
    tensor::Tensor,
    work::{Budget, Exceeded, Lane, Share},
};

/// Images whose decoding visits more samples are heavy: they take about a second, a plain photo of 25 megapixels half of that.
const HEAVY_SAMPLES: u64 = 100_000_000;

/// Heavy images that may be decoded or wait for that, over all requests.
const HEAVY_WAITING: u64 = 32;

/// How much lower the priority of decoding a heavy image is.
const HEAVY_NICE: u8 = 10;

/// What memory is counted in: a semaphore counts to 2^29 at least.
const MIB: u64 = 1 << 20;

/// The lanes in which images are decoded.
#[derive(Debug)]
pub(super) struct Decoding {
    limits: Limits,
    /// Most pixels of all images of one request.
    max_pixels: u64,
    headers: Lane,
    usual: Lane,
    heavy: Lane,
    /// Places of heavy images.
    places: Budget,
    /// Memory of images that are being decoded, in MiB. Asynchronous: whoever wants some has a turn, and waits for others to end.
    memory: Arc<Semaphore>,
    memory_mib: u32,
}

/// An image whose header has been read.
#[derive(Debug)]
pub(super) struct Sized {
    bytes: Bytes,
    header: Result<Header, ImageError>,
    /// Of one that is heavy.
    place: Option<Share>,
}

/// A request's wish for its images: when it is dropped, decoding them ends.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    left: Arc<AtomicBool>,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

/// A decoded image as its model wants it.
pub(super) type Prepared = (Tensor, Vec<Warning>);

impl Decoding {
    pub(super) fn new(images: &ImagesConfig, server: &ServerConfig, runtime: &RuntimeConfig) -> Self {
        let limits = Limits::from(images);
        let memory = images.decoding_bytes.max(limits.decoding_bytes());
        let memory_mib = u32::try_from(memory.div_ceil(MIB)).unwrap_or(u32::MAX).min(1 << 28);
        // How many wait is bounded by the places in the models' queues.
        let lane = |name| Lane::new(name, runtime.decode_threads, usize::MAX);
        Self {
            limits,
            max_pixels: server.max_request_pixels,
            headers: lane("headers"),
            usual: lane("decode"),
            heavy: Lane::new("decode_heavy", 1, usize::MAX).with_nice(HEAVY_NICE),
            places: Budget::shared(HEAVY_WAITING, server.max_client_percent, 1),
            memory: Arc::new(Semaphore::new(memory_mib as usize)),
            memory_mib,
        }
    }

    /// Reads the headers of `images`, away from the async threads, and lets them in by their pixels.
    ///
    /// # Errors
    /// [`Error::TooManyPixels`], [`Error::HeavyImages`].
    pub(super) async fn sized(&self, images: Vec<Image>, admission: &Admission) -> Result<Vec<Sized>, Error> {
        let (limits, held) = (self.limits, admission.clone());
        let read = move || {
            let _held = held;
            let header = |image: Image| (preprocess::header(&image.bytes, &limits), image.bytes);
            images.into_iter().map(header).collect::<Vec<_>>()
        };
        let read = self.headers.run(admission.id(), read).await.expect("any number may wait");
        let pixels = |header: &Result<Header, ImageError>| header.as_ref().map_or(0, pixels);
        let total = read.iter().fold(0u64, |sum, (header, _)| sum.saturating_add(pixels(header)));
        if total > self.max_pixels {
            return Err(Error::TooManyPixels { pixels: total, limit: self.max_pixels });
        }
        let is_heavy =
            |header: &Result<Header, ImageError>| header.as_ref().is_ok_and(|header| header.cost.samples > HEAVY_SAMPLES);
        let heavy = read.iter().filter(|(header, _)| is_heavy(header)).count() as u64;
        let places = self.places.take(admission.client(), heavy).map_err(|exceeded| {
            let of_client = exceeded == Exceeded::Client;
            let limit = if of_client { self.places.per_client() } else { self.places.bound() };
            Error::HeavyImages { limit, of_client }
        })?;
        let mut places = places.into_ones();
        let sized = read.into_iter().map(|(header, bytes)| {
            let place = if is_heavy(&header) { places.pop() } else { None };
            Sized { bytes, header, place }
        });
        Ok(sized.collect())
    }

    /// Decodes and preprocesses one of a request's images, `ahead` of which others come before it. What is `held` comes back with the
    /// result, and is dropped with the work where nobody waits for it any more.
    pub(super) async fn prepare<H: Send + 'static>(
        &self,
        image: Sized,
        (request, ahead): (u64, u64),
        wanted: &Wanted,
        spec: &Arc<Preprocessing>,
        held: H,
    ) -> (Result<Prepared, ImageError>, H) {
        let Sized { bytes, header, place } = image;
        let header = match header {
            Ok(header) => header,
            Err(error) => return (Err(error), held),
        };
        let lane = if place.is_some() { &self.heavy } else { &self.usual };
        let turn = lane.turn(request, ahead).await.expect("any number may wait");
        let memory = self.memory_for(&header).await;
        let (spec, limits, left) = (Arc::clone(spec), self.limits, Arc::clone(&wanted.left));
        let work = move || {
            let _work = (place, memory);
            let prepared = preprocess::decode_unless(&bytes, &limits, &left).map(|image| preprocess::prepare(image, &spec));
            (prepared, held)
        };
        turn.run(work).await
    }

    async fn memory_for(&self, header: &Header) -> OwnedSemaphorePermit {
        let mib = u32::try_from(header.cost.bytes.div_ceil(MIB)).unwrap_or(u32::MAX).min(self.memory_mib);
        let memory = Arc::clone(&self.memory).acquire_many_owned(mib).await;
        memory.expect("the semaphore is never closed")
    }
}

fn pixels(header: &Header) -> u64 {
    u64::from(header.width) * u64::from(header.height)
}
