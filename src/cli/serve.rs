//! `graft serve`: the server.

use std::path::Path;

use clap::Args;

use super::{
    Global,
    context::{block_on, open},
};
use crate::{
    app::App,
    registry::{Repository, import_keras, starter},
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
        if let Some(weights) = &config.models.starter {
            bring_starter(&repository, weights);
        }
        block_on(async { App::bind(config, repository).await?.run(crate::app::terminated()).await })?
    }
}

/// Imports the starter unless the repository holds it; a server with other models, or none yet, does without.
fn bring_starter(repository: &Repository, weights: &Path) {
    let Some(name) = starter() else { return };
    let absent = || anyhow::Ok(repository.scan()?.model(name).is_none());
    let source = format!("pytorch:{}", weights.file_name().unwrap_or_default().to_string_lossy());
    let bring = || anyhow::Ok(if absent()? { Some(import_keras(repository, Some(name), name, weights, source)?) } else { None });
    match bring() {
        Ok(None) => {}
        Ok(Some(version)) => eprintln!("brought {name} version {} from {}", version.metadata.version, weights.display()),
        Err(error) => eprintln!("cannot bring {name} (`models.starter`): {error:#}"),
    }
}
