//! Changes to the stores: versions are chosen and removed, data sets are removed, and nothing that a job uses goes. What has begun
//! goes on whoever leaves.

use tokio::task::spawn_blocking;

use super::{Error, Service};
use crate::{
    finetuning::kinds::{dataset_resource, version_resource},
    inference::{Admission, ModelView},
    jobs::{Error as JobsError, Removal, Resource},
    registry::ModelVersion,
    work::Origin,
};

impl Service {
    /// Lets `version` of `model` answer requests that name none; gives the model.
    ///
    /// # Errors
    /// [`Error::StoreBusy`]; unknown ones; a repository that refuses.
    pub async fn pin(&self, model: String, version: u32, admission: &Admission) -> Result<ModelView, Error> {
        let engine = self.engine().clone();
        let pinning = async move {
            engine.pin(&model, version).await?;
            Ok(engine.model(&model)?)
        };
        self.change(admission, pinning).await
    }

    /// Lets the newest published version of `model` answer again; gives the model.
    ///
    /// # Errors
    /// [`Error::StoreBusy`]; [`Error::VersionInUse`] where none was published; an unknown one; a repository that refuses.
    pub async fn unpin(&self, model: String, admission: &Admission) -> Result<ModelView, Error> {
        let engine = self.engine().clone();
        let unpinning = async move {
            let view = engine.model(&model)?;
            if view.stable.pinned && !view.versions.iter().any(|version| version.metadata.published) {
                return Err(Error::VersionInUse(format!(
                    "no version of `{model}` was published: without a choice none is to answer; choose another instead"
                )));
            }
            engine.unpin(&model).await?;
            Ok(engine.model(&model)?)
        };
        self.change(admission, unpinning).await
    }

    /// Removes the data set `id`.
    ///
    /// # Errors
    /// [`Error::StoreBusy`], [`Error::DatasetInUse`]; unknown ones; a store that refuses.
    pub async fn remove_dataset(&self, id: String, admission: &Admission) -> Result<(), Error> {
        let (service, origin) = (self.clone(), admission.origin());
        self.change(admission, async move { service.remove_unused_dataset(id, origin).await }).await
    }

    /// Removes `version` of `model`.
    ///
    /// # Errors
    /// [`Error::StoreBusy`], [`Error::VersionInUse`]; unknown ones; a repository that refuses.
    pub async fn remove_version(&self, model: String, version: u32, admission: &Admission) -> Result<(), Error> {
        let service = self.clone();
        self.change(admission, async move { service.remove_unused_version(&model, version).await }).await
    }

    /// Makes a `change`: a client that leaves must not leave it half made.
    async fn change<T: Send + 'static>(
        &self,
        admission: &Admission,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let (seat, held) = (self.seat(admission.client())?, admission.clone());
        let changing = async move {
            let _held = held;
            change.await
        };
        seat.run_async(changing).await
    }

    /// Nobody finds it any more then; its files go one data set after the other, which may take longer than a client waits.
    async fn remove_unused_dataset(&self, id: String, origin: Origin) -> Result<(), Error> {
        let (datasets, known) = (self.datasets().clone(), id.clone());
        spawn_blocking(move || datasets.check(&known)).await.map_err(|_| Error::ShuttingDown)??;
        let removal = match self.removal(dataset_resource(&id), None).await {
            Err(JobsError::InUse { job, .. }) => return Err(Error::DatasetInUse { id, job }),
            removal => removal?,
        };
        let datasets = self.datasets().clone();
        let removed = spawn_blocking(move || datasets.remove(&id)).await.map_err(|_| Error::ShuttingDown)??;
        removal.into_iter().for_each(Removal::done);
        let lane = self.inner.deleting.clone();
        tokio::spawn(async move { lane.run(origin, move || drop(removed)).await });
        Ok(())
    }

    async fn remove_unused_version(&self, model: &str, version: u32) -> Result<(), Error> {
        let engine = self.engine();
        engine.rescan_for(model).await?;
        let view = engine.model(model)?;
        let published = |other: &ModelVersion| other.metadata.published && other.metadata.version != version;
        if view.stable.version == version
            && view.versions.len() > 1
            && (view.stable.pinned || !view.versions.iter().any(published))
        {
            let why = if view.stable.pinned { "this one was chosen" } else { "no other was published" };
            return Err(Error::VersionInUse(format!(
                "version {version} answers for `{model}`, and {why}; choose which answers in its place first (`PUT /models/{model}/stable`), or \
                 delete the others before it"
            )));
        }
        let numbers = view.versions.iter().map(|known| known.metadata.version);
        let others: Vec<Resource> =
            numbers.filter(|other| *other != version).map(|other| version_resource(model, other)).collect();
        let others = (model == engine.configured_default()).then_some(others.as_slice());
        let removal = match self.removal(version_resource(model, version), others).await {
            Err(JobsError::InUse { job, .. }) => {
                let detail = format!("job `{job}` uses version {version} of `{model}`; wait for its end or cancel it");
                return Err(Error::VersionInUse(detail));
            }
            Err(JobsError::Last { .. }) => {
                return Err(Error::VersionInUse(format!(
                    "version {version} is all that the default model `{model}` has; import another or change `models.default` first"
                )));
            }
            removal => removal?,
        };
        engine.remove_version(model, version).await?;
        removal.into_iter().for_each(Removal::done);
        Ok(())
    }

    /// Lets `resource` be removed, which no unfinished job may use; with `others`, one of which must stay. Without jobs everything may
    /// go.
    async fn removal(&self, resource: Resource, others: Option<&[Resource]>) -> Result<Option<Removal>, JobsError> {
        let Some(part) = &self.jobs else { return Ok(None) };
        part.jobs.remove(resource, others).await.map(Some)
    }
}
