//! The sessions of one model: its graph cut at the layers asked for, built on first use, few kept.
//!
//! Owned by the model's worker thread; what a session is built from is shared, so that another thread builds it beside those that
//! serve. Large matrices are shared by all sessions; what each holds alone is bounded.

use std::sync::Arc;

use tracing::{debug, info};

use super::{Error, ModelId};
use crate::{
    config::{Provider, ProviderChoice},
    graph::Graph,
    registry::ModelVersion,
    runtime::{self, ProviderInEffect, Runtime, Session, SessionSource, SharedWeights, trim},
    telemetry::chain,
};

/// The sessions of one version.
pub(super) struct SessionCache {
    blueprint: Arc<Blueprint>,
    /// The cut at the model's main output first, never dropped; the others by last use, oldest first.
    cached: Vec<Cut>,
    bound_bytes: u64,
}

/// What sessions of one version are built from.
pub(super) struct Blueprint {
    runtime: Runtime,
    version: ModelVersion,
    choice: ProviderChoice,
    graph: Graph,
    shared: SharedWeights,
}

/// A session that gives certain tensors.
pub(super) struct Cut {
    tensors: Vec<String>,
    session: Session,
    private_bytes: u64,
}

impl SessionCache {
    /// Reads the graph and its shared weights, and builds the session that answers by default.
    pub(super) fn open(runtime: Runtime, version: ModelVersion, choice: ProviderChoice, bound_bytes: u64) -> Result<Self, Error> {
        let graph = version.open()?;
        let shared = match choice.provider {
            Provider::Cpu => SharedWeights::of(&graph).map_err(|error| match error {
                runtime::Error::Weights(source) => version.unreadable(source).into(),
                error => runtime_error(&version, error),
            })?,
            Provider::Cuda => SharedWeights::default(),
        };
        let blueprint = Arc::new(Blueprint { runtime, version, choice, graph, shared });
        let main = blueprint.build(&blueprint.main_tensors())?;
        Ok(Self { blueprint, cached: vec![main], bound_bytes })
    }

    /// What further sessions are built from.
    pub(super) fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// Provider of the first session.
    pub(super) fn provider(&self) -> ProviderInEffect {
        self.cached.first().expect("the first session is built in `open`").session.provider().clone()
    }

    /// Whether there is a session whose outputs are `tensors`, in this order.
    pub(super) fn has(&self, tensors: &[String]) -> bool {
        self.cached.iter().any(|cut| cut.tensors == tensors)
    }

    /// The session whose outputs are `tensors`, in this order, if there is one; it becomes the most recently used.
    pub(super) fn session(&mut self, tensors: &[String]) -> Option<&mut Session> {
        let position = self.cached.iter().position(|cut| cut.tensors == tensors)?;
        if position > 0 {
            let cut = self.cached.remove(position);
            self.cached.push(cut);
        }
        let last = if position == 0 { 0 } else { self.cached.len() - 1 };
        self.cached.get_mut(last).map(|cut| &mut cut.session)
    }

    /// Adds a session, for which [`Self::make_room`] made room.
    pub(super) fn insert(&mut self, cut: Cut) {
        self.cached.push(cut);
    }

    /// Drops the least recently used sessions until one of `tensors` fits, or only the main one is left.
    pub(super) fn make_room(&mut self, tensors: &[String]) {
        // What cannot be cut fails where it is built.
        let needed = self.blueprint.cut(tensors).map_or(0, |graph| self.blueprint.private_bytes(&graph));
        let before = self.cached.len();
        let held = |cached: &[Cut]| cached.iter().map(|cut| cut.private_bytes).sum::<u64>();
        while self.cached.len() > 1 && held(&self.cached[1..]) + needed > self.bound_bytes {
            let dropped = self.cached.remove(1);
            debug!(model = self.blueprint.version.metadata.name, tensors = ?dropped.tensors, "dropped a cut");
        }
        if self.cached.len() < before {
            trim();
        }
    }
}

impl Blueprint {
    /// The version served.
    pub(super) fn version(&self) -> &ModelVersion {
        &self.version
    }

    /// The tensors that the first session gives: the classes and what novelty is measured on, or the default features of a model
    /// without a top.
    pub(super) fn main_tensors(&self) -> Vec<String> {
        let metadata = &self.version.metadata;
        let tensor = |name: &str| metadata.layer(name).map(|layer| layer.tensor.clone());
        let Some(output) = &metadata.output else {
            return vec![tensor(&metadata.features_layer).unwrap_or_else(|| metadata.features_layer.clone())];
        };
        let novelty = metadata.novelty.as_ref().and_then(|novelty| tensor(&novelty.layer));
        std::iter::once(output.tensor.clone()).chain(novelty).collect()
    }

    /// A session whose outputs are `tensors`, in this order: seconds of work where the graph is large.
    pub(super) fn build(&self, tensors: &[String]) -> Result<Cut, Error> {
        let started = std::time::Instant::now();
        let graph = self.cut(tensors)?;
        let shared = self.shared.within(&graph);
        let session = match self.open_session(&graph, &shared) {
            // What ONNX Runtime looks into while it optimises must be in the graph.
            Err(error) if !shared.is_empty() => {
                debug!(model = self.version.metadata.name, error = chain(&error), "a session holds all of its weights");
                self.open_session(&graph, &SharedWeights::default())
            }
            opened => opened,
        }?;
        info!(
            model = self.version.metadata.name,
            version = self.version.metadata.version,
            ?tensors,
            provider = ?session.provider().provider,
            ms = started.elapsed().as_millis() as u64,
            "built a session"
        );
        Ok(Cut { tensors: tensors.to_vec(), session, private_bytes: self.private_bytes(&graph) })
    }

    fn open_session(&self, graph: &Graph, shared: &SharedWeights) -> Result<Session, Error> {
        let whole = graph.clone().in_memory(|name| shared.contains(name));
        let bytes = whole.map_err(|source| self.version.unreadable(source))?.to_bytes();
        let source = SessionSource { graph: &bytes, shared };
        // What subgraphs and functions make, an import could not measure.
        let session = match graph.is_flat() {
            true => self.runtime.session(source, self.choice),
            false => self.runtime.unfolded_session(source, self.choice, None),
        };
        session.map_err(|source| runtime_error(&self.version, source))
    }

    fn cut(&self, tensors: &[String]) -> Result<Graph, Error> {
        let names: Vec<&str> = tensors.iter().map(String::as_str).collect();
        self.graph.cut(&names).map_err(|source| graph_error(&self.version, source))
    }

    fn private_bytes(&self, graph: &Graph) -> u64 {
        graph
            .initializers()
            .filter(|initializer| !self.shared.contains(initializer.name))
            .map(|initializer| initializer.bytes)
            .sum()
    }
}

pub(super) fn runtime_error(version: &ModelVersion, source: crate::runtime::Error) -> Error {
    Error::Runtime { model: ModelId::describe(version), source: Arc::new(source) }
}

pub(super) fn graph_error(version: &ModelVersion, source: crate::graph::Error) -> Error {
    Error::Graph { model: ModelId::describe(version), source: Arc::new(source) }
}
