//! `graft pull`: Keras's published weights, downloaded and imported.

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    Global, context,
    import::report,
    progress::{Progress, Unit},
};
use crate::{
    arch, registry,
    weights::{
        download::{Download, Options, fetch},
        published,
    },
};

/// Download the weights that Keras publishes, check their sum, and import them.
///
/// A broken transfer goes on where it stopped, also in the next call. `--set weights.base_url=http://mirror/…` downloads
/// from a mirror; a file that was brought by hand is read by `graft import`.
#[derive(Debug, Args)]
pub(super) struct Pull {
    /// vgg16 or inception_v3
    architecture: String,
    /// The file without the classifier
    #[arg(long)]
    no_top: bool,
    /// Name of the model [default: the architecture's]
    #[arg(long)]
    name: Option<String>,
    /// Keep the downloaded file
    #[arg(long)]
    keep: bool,
}

impl Pull {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let Some(file) = published(&self.architecture, !self.no_top) else {
            bail!("unknown architecture `{}`; graft has {}", self.architecture, arch::NAMES.join(", "));
        };
        let download = Download::published(&file, &config.weights.base_url);
        let repository = context::open(&config)?;
        let folder = config.data.dir.join("downloads");
        let options = Options {
            connect_timeout: config.weights.connect_timeout,
            read_timeout: config.weights.read_timeout,
            ..Options::default()
        };
        eprintln!("downloading {}", download.url);
        let mut progress = Progress::new(&self.architecture, Unit::Bytes);
        let fetched = fetch(&download, &folder, &options, &mut |done, total| progress.set(done, total));
        progress.finish();
        let path = fetched?;
        let name = self.name.as_deref().unwrap_or(&self.architecture);
        let source = format!("url:{}", download.url);
        let version = registry::import_keras(&repository, name, &self.architecture, &path, source)
            .with_context(|| format!("cannot import {}", path.display()))?;
        if !self.keep {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        report(&version)
    }
}
