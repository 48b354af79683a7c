//! `graft init`: a model with untrained, seeded weights.

use anyhow::bail;
use clap::Args;

use super::{Global, import::report};
use crate::registry;

/// Untrained weights, the same for a seed on every machine: for trying graft, tests and benchmarks.
///
/// Such a model says `pretrained: false` everywhere, and its classes are called class_0 … class_999.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// vgg16, inception_v3 or efficientnet_lite0
    architecture: String,
    /// Seed of the initial weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Name of the model [default: the architecture's]
    #[arg(long)]
    name: Option<String>,
}

impl Init {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let repository = global.repository()?;
        let name = self.name.as_deref().unwrap_or(&self.architecture);
        let snapshot = repository.scan()?;
        let versions = snapshot.model(name).into_iter().flat_map(|model| &model.versions);
        if versions.into_iter().any(|version| version.metadata.pretrained) {
            bail!("`{name}` has trained weights; give the untrained ones another name (`--name`)");
        }
        let version = registry::import_seeded(&repository, name, &self.architecture, self.seed)?;
        report(&version)
    }
}
