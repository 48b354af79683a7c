//! `graft serve`: the server.

use std::{fs::File, io, path::Path};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{
    Global,
    context::{block_on, open},
    examine::examine_apart,
};
use crate::{
    app::App,
    registry::{
        HashingWriter, KnownModel, ModelVersion, Repository, WeightFile, WeightSource, catalogue, import_keras, make_folder,
    },
    telemetry,
};

/// Serve the models over HTTP.
///
/// `curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8080/predict` answers with classes;
/// the API is described at /docs.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on [default: 127.0.0.1; GRAFT__SERVER__HOST]
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 8080; GRAFT__SERVER__PORT]
    #[arg(long)]
    port: Option<u16>,
    /// Model that answers requests without `model=`, if it is trained [default: vgg16; GRAFT__MODELS__DEFAULT]
    #[arg(long, value_name = "MODEL")]
    default_model: Option<String>,
}

impl Serve {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let port = self.port.map(|port| port.to_string());
        let config =
            global.config(&[("server.host", self.host), ("server.port", port), ("models.default", self.default_model)])?;
        let repository = open(&config)?;
        telemetry::init(&config.telemetry)?;
        examine_apart(&config);
        if let Some(weights) = &config.models.starter {
            bring_starter(&repository, weights);
        }
        block_on(async { App::bind(config, repository).await?.run(crate::app::terminated()).await })?
    }
}

/// Imports the starter unless the repository holds it; a server with other models, or none yet, does without.
fn bring_starter(repository: &Repository, weights: &Path) {
    let Some(known) = catalogue().iter().find(|known| known.starter) else { return };
    match import_absent(repository, known, weights) {
        Ok(None) => {}
        Ok(Some(version)) => {
            tracing::info!(model = known.name, version = version.metadata.version, weights = %weights.display(), "imported the starter");
        }
        Err(error) => tracing::warn!(model = known.name, "cannot import the starter (`models.starter`): {error:#}"),
    }
}

fn import_absent(repository: &Repository, known: &KnownModel, weights: &Path) -> anyhow::Result<Option<ModelVersion>> {
    if repository.scan()?.model(known.name).is_some() {
        return Ok(None);
    }
    check(known, weights)?;
    // Servers that start together over one repository must not each import it. Without locks there, they may.
    let folder = repository.root().join(known.name);
    make_folder(&folder)?;
    let lock = File::open(&folder)?;
    let _alone = lock.lock();
    if repository.scan()?.model(known.name).is_some() {
        return Ok(None);
    }
    let source = format!("pytorch:{}", weights.file_name().unwrap_or_default().to_string_lossy());
    let imported = import_keras(repository, Some(known.name), known.name, weights, source);
    // Fails, as it should, when a version is in it.
    let _ = std::fs::remove_dir(&folder);
    Ok(Some(imported?))
}

/// That `weights` is the file that the catalogue knows.
fn check(known: &KnownModel, weights: &Path) -> anyhow::Result<()> {
    let Some(WeightFile { source: WeightSource::Package { sha256, .. }, bytes, .. }) = known.weight_file(true) else {
        return Ok(());
    };
    let failed = || format!("cannot read {}", weights.display());
    let metadata = std::fs::metadata(weights).with_context(failed)?;
    ensure!(metadata.is_file() && metadata.len() == *bytes, "{} is not the catalogue's file of {bytes} bytes", weights.display());
    let mut hashing = HashingWriter::new(io::sink());
    io::copy(&mut File::open(weights).with_context(failed)?, &mut hashing).with_context(failed)?;
    let found = hashing.finish(String::new())?.1.sha256;
    ensure!(found == *sha256, "{} is not the catalogue's file: its SHA-256 is {found}, not {sha256}", weights.display());
    Ok(())
}
