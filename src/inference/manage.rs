//! Changes of the repository through the engine: what is asked next sees them.
//!
//! Knows neither HTTP nor who may ask.

use super::{Engine, Error, find::find_model};
use crate::{
    graph::SingleFile,
    registry::{self, ModelVersion, Repository},
};

impl Engine {
    /// Pins `version`: requests without a version get it.
    ///
    /// # Errors
    /// Unknown model or version; a repository that cannot be written.
    pub async fn pin(&self, name: &str, version: u32) -> Result<(), Error> {
        self.change(name, version, Repository::pin).await
    }

    /// Takes the choice of a version back.
    ///
    /// # Errors
    /// Unknown model; a repository that cannot be written.
    pub async fn unpin(&self, name: &str) -> Result<(), Error> {
        // The version that was chosen need not be there.
        self.rescan_for(name).await?;
        let (repository, model) = (self.repository().clone(), find_model(&self.snapshot(), name)?.name.clone());
        let changed = tokio::task::spawn_blocking(move || repository.unpin(&model)).await;
        self.rescan().await?;
        Ok(changed.expect("the repository does not panic")?)
    }

    /// Deletes a version; requests that run on it finish.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub async fn remove_version(&self, name: &str, version: u32) -> Result<(), Error> {
        self.change(name, version, Repository::remove).await
    }

    /// A version as one ONNX file that says what its metadata say. Blocks, as does whoever reads the file.
    ///
    /// # Errors
    /// Unknown model or version; [`Error::Graph`] when its files are damaged, or larger than one file can be.
    pub fn single_file(&self, name: &str, version: u32) -> Result<SingleFile, Error> {
        let found = self.as_loaded(self.version(name, Some(version))?);
        let graph = found.open()?.with_properties(registry::PREFIX, found.metadata.properties());
        graph.into_single_file().map_err(|source| Error::Graph { model: name.to_owned(), source: source.into() })
    }

    /// Reads the repository again for the model `name`: what was published a moment ago counts.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], without reading anything, where no folder is called so; as [`Self::rescan`].
    pub async fn rescan_for(&self, name: &str) -> Result<(), Error> {
        if let Err(unknown) = find_model(&self.snapshot(), name) {
            let (repository, model) = (self.repository().clone(), name.to_owned());
            let has_folder = tokio::task::spawn_blocking(move || repository.has_folder(&model)).await;
            if !has_folder.expect("looking for a folder does not panic") {
                return Err(unknown);
            }
        }
        self.rescan().await
    }

    async fn change(
        &self,
        name: &str,
        version: u32,
        change: fn(&Repository, &str, u32) -> Result<(), registry::Error>,
    ) -> Result<(), Error> {
        self.rescan_for(name).await?;
        let found: ModelVersion = self.version(name, Some(version))?;
        let (repository, model) = (self.repository().clone(), found.metadata.name.clone());
        let changed = tokio::task::spawn_blocking(move || change(&repository, &model, version)).await;
        let changed = changed.expect("the repository does not panic");
        self.rescan().await?;
        match changed {
            // Somebody else was faster.
            Err(registry::Error::UnknownVersion { .. }) => self.version(name, Some(version)).map(drop),
            other => Ok(other?),
        }
    }
}
