//! `graft serve`: the server.

use clap::Args;

use super::{
    Global,
    context::{block_on, open},
};
use crate::app::App;

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
    /// Model that requests without `model=` get [default: vgg16; GRAFT__MODELS__DEFAULT]
    #[arg(long, value_name = "MODEL")]
    default_model: Option<String>,
}

impl Serve {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let port = self.port.map(|port| port.to_string());
        let config =
            global.config(&[("server.host", self.host), ("server.port", port), ("models.default", self.default_model)])?;
        let repository = open(&config)?;
        block_on(async { App::bind(config, repository).await?.run(crate::app::terminated()).await })?
    }
}
