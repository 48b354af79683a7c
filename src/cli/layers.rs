//! `graft layers`: the table of a model's layers.

use anyhow::bail;
use clap::Args;

use super::{Global, answer, context::model_and_version};
use crate::{arch, registry::nearest};

/// List a model's layers: index, name, output shape.
///
/// An architecture that is not in the repository is listed too.
#[derive(Debug, Args)]
pub(super) struct Layers {
    /// A model, NAME or NAME@VERSION
    model: String,
}

impl Layers {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<()> {
        let (name, wanted) = model_and_version(&self.model)?;
        let snapshot = global.repository()?.scan()?;
        if let Some(model) = snapshot.model(&name) {
            let version = wanted.unwrap_or(model.stable);
            let Some(version) = model.version(version) else {
                let versions: Vec<String> = model.versions.iter().map(|known| known.metadata.version.to_string()).collect();
                bail!("model `{name}` has no version {version}; it has {}", versions.join(", "));
            };
            return version.metadata.layers.iter().try_for_each(|layer| print(layer.index, &layer.name, &layer.shape));
        }
        let Some(architecture) = arch::by_name(&name, true).filter(|_| wanted.is_none()) else {
            let known = snapshot.models.iter().map(|model| model.name.as_str()).chain(arch::NAMES);
            bail!("unknown model `{name}`; near it: {}", nearest(&name, known).join(", "));
        };
        let mut layers = architecture.layers.iter().enumerate();
        layers.try_for_each(|(index, layer)| print(index, &layer.name, &layer.output_shape))
    }
}

/// A row as `for i, layer in enumerate(model.layers): print(i, layer.name, layer.output_shape)` has it.
fn print(index: usize, name: &str, shape: &[usize]) -> anyhow::Result<()> {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    Ok(answer::line(format_args!("{index} {name} (None, {})", shape.join(", ")))?)
}
