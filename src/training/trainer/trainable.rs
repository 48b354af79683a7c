//! What is asked of a training graph, and whether there is one: told before anything is queued.
//!
//! Runs nothing.

use super::head::Trained;
use crate::{
    config::Provider,
    graph::{
        BuildError, Graph,
        gradient::{self, GradientError, Labels, TrainingSpec, training_graph},
    },
    registry::{Metadata, ModelVersion},
    telemetry::chain,
    training::recipe::{Head, Phase, Problem, Recipe, Trainable},
};

/// The training graph that `phase` needs.
pub(super) fn spec(trained: &Trained, recipe: &Recipe, phase: &Phase, provider: Provider) -> TrainingSpec {
    let base = phase.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.regularized));
    let trainable = base.chain(trained.parameters());
    let l2 = |regularized| if regularized { phase.l2 as f32 } else { 0.0 };
    TrainingSpec {
        logits: trained.output().to_owned(),
        batch: recipe.batch_size,
        labels: Labels::Classes,
        trainable: trainable.map(|(name, regularized)| gradient::TrainableTensor { name, l2: l2(regularized) }).collect(),
        optimizer: phase.optimizer.clone(),
        provider,
    }
}

/// What of `base` the phases of `recipe` cannot be trained through on `provider`: an operator without a gradient, a shape that
/// cannot be told, operators in another version.
pub fn untrainable(base: &ModelVersion, recipe: &Recipe, provider: Provider) -> Vec<Problem> {
    // Whatever the head is made of has gradients: the smallest one takes the least memory.
    let recipe = &Recipe { head: Head { hidden: Vec::new(), outputs: 1, ..recipe.head.clone() }, ..recipe.clone() };
    let trained = match Graph::read(&base.graph_path()).map_err(BuildError::from).and_then(|graph| Trained::new(&graph, recipe)) {
        Ok(trained) => trained,
        Err(error) => return vec![problem("base", &error)],
    };
    let of_phase = |(index, phase): (usize, &Phase)| {
        let field = match phase.trainable {
            Trainable::Head => "base".to_owned(),
            Trainable::From { .. } => format!("phases[{index}].trainable_from"),
        };
        let made = trained.behind(&phase.frontier).map_err(GradientError::from);
        let made = made.and_then(|graph| training_graph(&graph, &spec(&trained, recipe, phase, provider)));
        made.err().map(|error| {
            let way_out = error.start().and_then(|start| begin_behind(&base.metadata, recipe.head.on_index, start));
            let Problem { field, detail } = problem(&field, &error);
            Problem { field, detail: detail + &way_out.unwrap_or_default() }
        })
    };
    recipe.phases.iter().enumerate().filter_map(of_phase).collect()
}

/// Where to begin when the tensor `start` stands in the way, in the layers below the head on the layer `last`.
fn begin_behind(metadata: &Metadata, last: usize, start: &str) -> Option<String> {
    let position = metadata.layers.iter().position(|layer| layer.tensor == start)?;
    let next = metadata.layers[position + 1..].iter().find(|layer| layer.index <= last);
    Some(next.map_or_else(
        || "; use `\"trainable\": \"head\"`".to_owned(),
        |layer| format!("; begin at `{}` ({}) or after it", layer.name, layer.index),
    ))
}

fn problem(field: &str, error: &dyn std::error::Error) -> Problem {
    Problem { field: field.to_owned(), detail: format!("cannot be trained: {}", chain(error)) }
}
