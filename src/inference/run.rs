//! One request through the engine: its images are let in, decoded and queued, and their answers gathered.
//!
//! Everything that was begun holds what bounds it until it is over; a request that is dropped takes with it only what was not.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};

use super::{
    Admission, Answer, Engine, Error, Image, OnError, Plan, Timings,
    decoding::{Prepared, Wanted},
    find::find,
    worker::{Place, Ran, Task, Worker},
};
use crate::{
    preprocess::{ImageError, Preprocessing},
    registry::{Metadata, ModelVersion},
    work::{Exceeded, Share},
};

impl Engine {
    /// Decodes `images` and runs `plan` on them, loading the model when it is not.
    ///
    /// Dropping the future forgets what has not begun; what has begun keeps what it holds of `admission` until it is over.
    ///
    /// # Errors
    /// [`Error::BadImages`] unless the plan skips them, a full queue, no memory for them, a model that does not load, [`Error::Late`].
    pub async fn run(&self, plan: Plan, images: Vec<Image>, admission: &Admission) -> Result<Answer, Error> {
        let answer = self.answer(plan, images, admission);
        match admission.time() {
            None => answer.await,
            Some(time) => tokio::time::timeout(time, answer).await.unwrap_or(Err(Error::Late { ms: time.as_millis() })),
        }
    }

    async fn answer(&self, plan: Plan, images: Vec<Image>, admission: &Admission) -> Result<Answer, Error> {
        let images = self.decoding().sized(images, admission).await?;
        let worker = match self.load(&plan.version, admission.origin()).await {
            Err(error) => return Err(self.gone(&plan.version).await.unwrap_or(error)),
            Ok(worker) => worker,
        };
        let plan = Plan { version: worker.version().clone(), ..plan };
        let places = worker.admit(admission.client(), images.len())?;
        let inputs = Arc::new(memory_for(&plan, images.len(), admission)?);
        let places: Vec<Place> = places.into_iter().map(|place| place.holding(&inputs)).collect();
        drop(inputs);
        let started = Instant::now();
        let (spec, wanted, origin) = (Arc::new(plan.preprocessing.clone()), Wanted::default(), admission.origin());
        let prepared = images
            .into_iter()
            .zip(places)
            .map(|(image, place)| self.decoding().prepare(image, &origin, &wanted, &spec, (place, admission.clone())));
        let prepared: Vec<_> = join_all(prepared).await.into_iter().map(|(image, (place, _))| (image, place)).collect();
        let decode = started.elapsed();
        if plan.on_error == OnError::Fail {
            let bad = |(position, (image, _)): (usize, &(Result<Prepared, ImageError>, Place))| {
                Some((position, image.as_ref().err()?.clone()))
            };
            let bad: Vec<_> = prepared.iter().enumerate().filter_map(bad).collect();
            if !bad.is_empty() {
                return Err(Error::BadImages(bad));
            }
        }
        let version = plan.version.clone();
        let task = Arc::new(Task::new(plan, admission.clone()));
        let ran = match self.infer(&task, &worker, prepared).await {
            Err(error) => return Err(self.gone(&version).await.unwrap_or(error)),
            Ok(ran) => ran,
        };
        let timings = timings(decode, &ran);
        let images = ran.into_iter().map(|image| image.map(|ran| ran.answer)).collect();
        Ok(Answer { images, timings })
    }

    /// That `version` left the repository since it was planned with, if it did.
    async fn gone(&self, version: &ModelVersion) -> Option<Error> {
        let dir = version.dir().to_owned();
        // Where that cannot be told, its own error stands.
        if tokio::task::spawn_blocking(move || dir.exists()).await.unwrap_or(true) {
            return None;
        }
        self.rescan().await.err().or_else(|| {
            let Metadata { name, version, .. } = &*version.metadata;
            find(&self.snapshot(), name, Some(*version)).err()
        })
    }

    async fn infer(
        &self,
        task: &Arc<Task>,
        worker: &Worker,
        prepared: Vec<(Result<Prepared, ImageError>, Place)>,
    ) -> Result<Vec<Result<Ran, ImageError>>, Error> {
        let runs = prepared.into_iter().enumerate().map(|(position, (image, place))| async move {
            let (input, warnings) = match image {
                Ok(prepared) => prepared,
                Err(error) => return Ok(Err(error)),
            };
            let mut ran = worker.infer(input, Arc::clone(task), position, place).await?;
            ran.answer.warnings = warnings;
            Ok(Ok(ran))
        });
        let ran = try_join_all(runs).await;
        if let Err(Error::WorkerGone { .. }) = ran {
            self.loaded_models().forget(worker);
        }
        ran
    }
}

/// Memory for so many images as the model of `plan` takes them, 32 bits a value: from before they are decoded until all are answered.
fn memory_for(plan: &Plan, images: usize, admission: &Admission) -> Result<Share, Error> {
    let Preprocessing { height, width, .. } = plan.preprocessing;
    let values = u64::from(height) * u64::from(width) * plan.preprocessing.channels() as u64;
    let (bytes, limit) = (values * 4 * images as u64, admission.memory().most());
    admission.memory().beside(bytes).map_err(|exceeded| match exceeded {
        _ if bytes > limit => Error::LargeInput { model: plan.version.metadata.name.clone(), bytes, limit },
        exceeded => Error::Busy { of_client: exceeded == Exceeded::Client },
    })
}

/// Wall times of a request; a run that several of its images shared counts once.
fn timings(decode: Duration, ran: &[Result<Ran, ImageError>]) -> Timings {
    let ran = || ran.iter().flatten();
    let runs: BTreeMap<u64, Duration> = ran().map(|ran| (ran.run, ran.inference)).collect();
    Timings { decode, queue: ran().map(|ran| ran.queue).max().unwrap_or_default(), inference: runs.values().sum() }
}
