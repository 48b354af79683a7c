//! Decoding: images that are let in become tensors, in lanes that bound threads and memory.
//!
//! What takes a thread for half a second has a lane of its own, at low priority, so that others need not wait; and ends when nobody wants it
//! any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{Admission, Error, Image};
use crate::{
    config::{ImagesConfig, RuntimeConfig, ServerConfig},
    preprocess::{self, Decoder, Header, ImageError, Limits, Preprocessing, Warning},
    tensor::Tensor,
    work::{Budget, Exceeded, Lane, Memory, Origin, Share},
};

/// Samples of the heavy images that may be decoded or wait for that, over all requests: less than a minute's.
const HEAVY_WAITING: u64 = 6_000_000_000;

/// How much lower the priority of decoding a heavy image is.
const HEAVY_NICE: u8 = 10;

/// The lanes in which images are decoded.
#[derive(Debug)]
pub(super) struct Decoding {
    limits: Limits,
    /// Most pixels of all images of one request.
    max_pixels: u64,
    headers: Lane,
    usual: Lane,
    heavy: Lane,
    /// Samples of heavy images.
    samples: Budget,
    /// Memory of images that are being decoded: whoever wants some has a turn, and waits for others to end.
    memory: Memory,
    beside: Decoder,
}

/// An image whose header has been read, or that needs none.
#[derive(Debug)]
pub(super) enum Sized {
    /// It is to be decoded.
    Encoded {
        bytes: Bytes,
        header: Header,
        /// What those of the request that are heavy hold together.
        heavy: Option<Arc<Share>>,
    },
    /// It is no image that is decoded.
    Bad(ImageError),
    /// It is prepared.
    Tensor(Tensor),
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
        let one = limits.decoding_samples();
        let memory = Memory::new(images.decoding_bytes.max(limits.decoding_bytes()));
        // How many wait is bounded by what their requests hold: memory alone where headers are read, places in the model's queue
        // besides where images are decoded.
        let lane = |name| Lane::new(name, runtime.decode_threads, usize::MAX);
        Self {
            limits,
            max_pixels: server.max_request_pixels,
            headers: lane("headers"),
            usual: lane("decode"),
            heavy: Lane::new("decode_heavy", 1, usize::MAX).with_nice(HEAVY_NICE),
            samples: Budget::shared(HEAVY_WAITING.max(one), server.max_client_percent, one),
            beside: Decoder::new(limits, memory.clone()),
            memory,
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn beside(&self) -> &Decoder {
        &self.beside
    }

    /// Reads the headers of `images`, away from the async threads, and lets them in by their pixels.
    ///
    /// # Errors
    /// [`Error::TooManyPixels`], [`Error::HeavyRequest`], [`Error::HeavyImages`].
    pub(super) async fn sized(&self, images: Vec<Image>, admission: &Admission) -> Result<Vec<Sized>, Error> {
        let (limits, held) = (self.limits, admission.clone());
        let read = move || {
            let _held = held;
            let sized = |image| match image {
                Image::Tensor(tensor) => Sized::Tensor(tensor),
                Image::Encoded(bytes) => match preprocess::header(&bytes, &limits) {
                    Ok(header) => Sized::Encoded { bytes, header, heavy: None },
                    Err(error) => Sized::Bad(error),
                },
            };
            images.into_iter().map(sized).collect::<Vec<_>>()
        };
        let mut sized = self.headers.run(admission.origin(), read).await.expect("any number may wait");
        let total = sized.iter().fold(0u64, |sum, image| sum.saturating_add(image.pixels()));
        if total > self.max_pixels {
            return Err(Error::TooManyPixels { pixels: total, limit: self.max_pixels });
        }
        let heavy = sized.iter().filter(|image| image.is_heavy()).fold(0u64, |sum, image| sum.saturating_add(image.samples()));
        if heavy > self.samples.per_client() {
            return Err(Error::HeavyRequest { samples: heavy, limit: self.samples.per_client() });
        }
        let heavy = self.samples.take(admission.client(), heavy);
        let heavy = heavy.map_err(|exceeded| Error::HeavyImages { of_client: exceeded == Exceeded::Client })?;
        let share = Arc::new(heavy);
        for image in sized.iter_mut().filter(|image| image.is_heavy()) {
            image.hold(&share);
        }
        Ok(sized)
    }

    /// Decodes and preprocesses one of the images of `origin`. What is `held` comes back with the result, and is dropped with the work
    /// where nobody waits for it any more.
    pub(super) async fn prepare<H: Send + 'static>(
        &self,
        image: Sized,
        origin: &Origin,
        wanted: &Wanted,
        spec: &Arc<Preprocessing>,
        held: H,
    ) -> (Result<Prepared, ImageError>, H) {
        let (bytes, header, heavy) = match image {
            Sized::Encoded { bytes, header, heavy } => (bytes, header, heavy),
            Sized::Bad(error) => return (Err(error), held),
            Sized::Tensor(tensor) => {
                let spec = Arc::clone(spec);
                let work = move || (checked(tensor, &spec).map(|tensor| (tensor, Vec::new())), held);
                return self.usual.run(origin.clone(), work).await.expect("any number may wait");
            }
        };
        let lane = if heavy.is_some() { &self.heavy } else { &self.usual };
        let turn = lane.turn(origin.clone()).await.expect("any number may wait");
        let memory = self.memory.take(header.cost.bytes).await;
        let (spec, limits, left) = (Arc::clone(spec), self.limits, Arc::clone(&wanted.left));
        let work = move || {
            let _work = (heavy, memory);
            let prepared = preprocess::decode_unless(&bytes, &limits, &left).map(|image| preprocess::prepare(image, &spec));
            (prepared, held)
        };
        turn.run(work).await
    }
}

impl Sized {
    fn pixels(&self) -> u64 {
        match self {
            Self::Encoded { header, .. } => u64::from(header.width) * u64::from(header.height),
            Self::Bad(_) | Self::Tensor(_) => 0,
        }
    }

    fn samples(&self) -> u64 {
        match self {
            Self::Encoded { header, .. } => header.cost.samples,
            Self::Bad(_) | Self::Tensor(_) => 0,
        }
    }

    fn is_heavy(&self) -> bool {
        matches!(self, Self::Encoded { header, .. } if header.cost.is_heavy())
    }

    fn hold(&mut self, share: &Arc<Share>) {
        if let Self::Encoded { heavy, .. } = self {
            *heavy = Some(Arc::clone(share));
        }
    }
}

/// `tensor`, if it is what `spec` makes of an image.
fn checked(tensor: Tensor, spec: &Preprocessing) -> Result<Tensor, ImageError> {
    let wanted = [spec.channels(), spec.height as usize, spec.width as usize];
    match tensor.shape() {
        shape if shape != wanted => Err(ImageError::Shape { shape: shape.to_vec(), wanted }),
        _ if !tensor.data().iter().all(|value| value.is_finite()) => Err(ImageError::NotFinite),
        _ => Ok(tensor),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{GrayImage, ImageBuffer, ImageFormat, Rgba};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::{
        config::{self, Sources},
        preprocess::{ChannelOrder, Fit, Orientation, Resize},
        work::Client,
    };

    fn decoding() -> Arc<Decoding> {
        let config = config::load(&Sources::default()).expect("the defaults are valid");
        let images = ImagesConfig { max_pixels: 16_000_000, ..config.images };
        Arc::new(Decoding::new(&images, &config.server, &RuntimeConfig { decode_threads: 1, ..config.runtime }))
    }

    fn spec() -> Arc<Preprocessing> {
        Arc::new(Preprocessing {
            height: 8,
            width: 8,
            resize: Resize::Nearest,
            fit: Fit::Stretch,
            channel_order: ChannelOrder::Rgb,
            mean: [0.0; 3],
            scale: [1.0; 3],
            orientation: Orientation::Ignore,
            integer: None,
        })
    }

    /// A grey picture of `side` × `side`.
    fn picture(side: u32) -> Image {
        let mut bytes = Cursor::new(Vec::new());
        GrayImage::new(side, side).write_to(&mut bytes, ImageFormat::Png).expect("it is written");
        Image::Encoded(bytes.into_inner().into())
    }

    async fn sized(decoding: &Decoding, image: Image, admission: &Admission) -> Sized {
        decoding.sized(vec![image], admission).await.expect("it is let in").remove(0)
    }

    /// A client that has `image` decoded, holding `held` for it.
    fn client(decoding: &Arc<Decoding>, image: Sized, held: Arc<()>) -> JoinHandle<Result<Prepared, ImageError>> {
        let decoding = Arc::clone(decoding);
        tokio::spawn(async move {
            let wanted = Wanted::default();
            let origin = Admission::local().origin();
            decoding.prepare(image, &origin, &wanted, &spec(), held).await.0
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_being_decoded_keeps_its_place_when_its_client_leaves() {
        let decoding = decoding();
        let image = sized(&decoding, picture(4000), &Admission::local()).await;
        let held = Arc::new(());
        let leaving = client(&decoding, image, Arc::clone(&held));
        while decoding.usual.running() == 0 {
            tokio::task::yield_now().await;
        }
        leaving.abort();
        assert!(leaving.await.is_err_and(|error| error.is_cancelled()), "its client has left");
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(decoding.usual.running(), 0, "what it held is free, so nothing is decoded");
        assert_eq!(decoding.memory.free(), decoding.memory.bound());
    }

    #[tokio::test]
    async fn what_has_not_begun_is_not_decoded_when_its_client_leaves() {
        let decoding = decoding();
        let turn = decoding.usual.turn(Admission::local().origin()).await.expect("it is free");
        let image = sized(&decoding, picture(8), &Admission::local()).await;
        let held = Arc::new(());
        let leaving = client(&decoding, image, Arc::clone(&held));
        tokio::task::yield_now().await;
        leaving.abort();
        assert!(leaving.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(Arc::strong_count(&held), 1);
        drop(turn);
        assert_eq!(decoding.usual.running(), 0, "nobody has the turn that was waited for");
    }

    #[tokio::test]
    async fn headers_that_wait_are_forgotten_with_their_client() {
        let decoding = decoding();
        let turn = decoding.headers.turn(Admission::local().origin()).await.expect("it is free");
        let (admission, other) = (Admission::local(), Arc::clone(&decoding));
        let Image::Encoded(bytes) = picture(8) else { panic!("it is encoded") };
        let image = Image::Encoded(bytes.clone());
        let leaving = tokio::spawn(async move { other.sized(vec![image], &admission).await });
        tokio::task::yield_now().await;
        leaving.abort();
        assert!(leaving.await.is_err_and(|error| error.is_cancelled()));
        assert!(bytes.is_unique(), "nothing holds the image any more");
        drop(turn);
        assert_eq!(decoding.headers.running(), 0);
    }

    #[tokio::test]
    async fn one_client_has_a_share_of_what_takes_long() {
        let decoding = decoding();
        let config = config::load(&Sources::default()).expect("the defaults are valid");
        let admissions = super::super::Admissions::new(&config.server);
        let [one, other] = [1, 2].map(|number| admissions.admit(&Client::address([10, 0, 0, number].into()), None));
        let mut bytes = Cursor::new(Vec::new());
        let deep = ImageBuffer::<Rgba<u16>, Vec<u16>>::new(4000, 4000);
        deep.write_to(&mut bytes, ImageFormat::Png).expect("it is written");
        let heavy = Image::Encoded(bytes.into_inner().into());
        let mut at_hand = Vec::new();
        let refused = loop {
            match decoding.sized(vec![heavy.clone()], &one).await {
                Ok(images) => at_hand.push(images),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Error::HeavyImages { of_client: true }), "{refused}");
        assert_eq!(at_hand.len() as u64, HEAVY_WAITING / 2 / (8 * 16_000_000), "half of the lane");
        at_hand.push(decoding.sized(vec![heavy.clone()], &other).await.expect("another client has its own share"));
        let whole = decoding.sized(vec![heavy; 24], &other).await.expect_err("it never fits");
        assert!(matches!(whole, Error::HeavyRequest { samples: 3_072_000_000, limit: 3_000_000_000 }), "{whole}");
        drop(at_hand);
        assert_eq!(decoding.samples.used(), 0);
    }
}
