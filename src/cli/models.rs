//! `graft models`: what the repository holds.

use clap::Args;

use super::{Global, answer};
use crate::registry::{Metadata, Stable};

/// The models of the repository, and what in it is ignored.
#[derive(Debug, Args)]
pub(super) struct Models {}

impl Models {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let repository = global.repository()?;
        let snapshot = repository.scan()?;
        if snapshot.models.is_empty() {
            answer::note(format_args!(
                "no models in {}; add one with `graft pull vgg16`, `graft import` or `graft init`",
                repository.root().display()
            ));
        }
        for model in &snapshot.models {
            for version in &model.versions {
                let metadata = &version.metadata;
                answer::line(format_args!(
                    "{:<24} {:>4}{} {:<18} {:>5} classes {:<18} {:>8.1} MB  {}{}",
                    metadata.name,
                    metadata.version,
                    match model.stable {
                        Stable { version, pinned: true } if version == metadata.version => "!",
                        Stable { version, .. } if version == metadata.version => "*",
                        _ => " ",
                    },
                    metadata.architecture,
                    metadata.labels.len(),
                    metadata.output.as_ref().map_or("-", |output| output.kind.name()),
                    metadata.weights.bytes as f64 / 1e6,
                    metadata.weights.source,
                    if metadata.pretrained { "" } else { "  UNTRAINED" },
                ))?;
            }
        }
        for version in snapshot.models.iter().flat_map(|model| &model.versions) {
            let Metadata { name, version, correction, .. } = &*version.metadata;
            correction.iter().for_each(|correction| answer::note(format_args!("{name} version {version}: {correction}")));
        }
        for problem in &snapshot.problems {
            answer::note(format_args!("ignored {}: {}", problem.path, problem.reason));
        }
        Ok(())
    }
}
