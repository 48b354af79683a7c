//! `graft layers`: the table of a model's layers.

use anyhow::anyhow;
use clap::Args;

use super::{
    Global, answer,
    context::{find, model_and_version},
};
use crate::{arch, graph::Layout, message::Listed};

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
        if let Some(architecture) = arch::by_name(&name, true).filter(|_| wanted.is_none() && snapshot.model(&name).is_none()) {
            let mut layers = architecture.layers.iter().enumerate();
            return layers.try_for_each(|(index, layer)| {
                print(index, &layer.name, &layer.output_shape, Layout::of_rank(layer.output_shape.len()))
            });
        }
        let version = find(&snapshot, &name, wanted).map_err(|error| match snapshot.model(&name) {
            Some(_) => error,
            None => anyhow!("{error}; the layers of {} are known without their weights", Listed::of(arch::NAMES)),
        })?;
        version.metadata.layers.iter().try_for_each(|layer| print(layer.index, &layer.name, &layer.shape, layer.layout()))
    }
}

/// A row as `for i, layer in enumerate(model.layers): print(i, layer.name, layer.output_shape)` has it.
///
/// What is neither a map nor a vector says so behind it.
fn print(index: usize, name: &str, shape: &[usize], layout: Layout) -> anyhow::Result<()> {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let note = match layout {
        Layout::Map(_) | Layout::Vector => "",
        Layout::Tokens(_) => " tokens",
        Layout::NoMap => " no map",
    };
    Ok(answer::line(format_args!("{index} {name} (None, {}){note}", shape.join(", ")))?)
}
