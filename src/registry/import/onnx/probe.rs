//! What a graph's tensors are, found by running it.
//!
//! Knows shapes and numbers; what they mean is `output`'s to say.

use tracing::warn;

use crate::{
    config::{Provider, ProviderChoice, ProviderPolicy},
    graph::{Graph, InputInfo},
    registry::{Layer, Staging, import::ImportError},
    runtime::{Runtime, Session, SessionSource, SharedWeights},
    tensor::Tensor,
};

/// Runs the graph with every layer as an output.
pub(super) struct Probe<'a> {
    pub runtime: &'a Runtime,
    pub staging: &'a Staging,
    pub graph: &'a Graph,
    pub size: [usize; 2],
}

impl Probe<'_> {
    /// The layers with their shapes, and the batch size when the graph fixes it.
    pub(super) fn layers(&self, input: &InputInfo) -> Result<(Vec<Layer>, Option<usize>), ImportError> {
        let nodes: Vec<_> = self.graph.image_layers().into_iter().filter(|node| !Graph::is_layout(&node.name)).collect();
        let all: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let floats = self.session(&all)?.float_outputs();
        let names: Vec<&str> = all.into_iter().filter(|name| floats.iter().any(|float| float == name)).collect();
        let mut session = self.session(&names)?;
        let declared = input.shape.first().and_then(|dim| dim.fixed()).and_then(|size| usize::try_from(size).ok());
        let batch = declared.unwrap_or(1);
        let outputs = self.run(&mut session, batch)?;
        let fixed = declared.or_else(|| if self.takes_two(&mut session, &outputs) { None } else { Some(1) });
        let with_batch = names.iter().zip(&outputs).filter(|(_, output)| output.shape().first() == Some(&batch));
        let layer = |(index, (name, output)): (usize, (&&str, &Tensor))| Layer {
            index,
            name: (*name).to_owned(),
            kind: nodes.iter().find(|node| node.name == **name).map(|node| node.op_type.clone()).unwrap_or_default(),
            shape: channels_last(&output.shape()[1..]),
            tensor: (*name).to_owned(),
        };
        Ok((with_batch.enumerate().map(layer).collect(), fixed))
    }

    /// Whether a graph with an open batch dimension really takes two images: some reshape to a fixed batch of 1.
    fn takes_two(&self, session: &mut Session, single: &[Tensor]) -> bool {
        let doubled = |(one, two): (&Tensor, &Tensor)| one.data().len() * 2 == two.data().len();
        let takes = self.run(session, 2).is_ok_and(|two| single.iter().zip(&two).all(doubled));
        if !takes {
            warn!("the graph leaves its batch dimension open but takes one image only; graft will run images one by one");
        }
        takes
    }

    fn session(&self, tensors: &[&str]) -> Result<Session, ImportError> {
        let graph = self.graph.cut(tensors)?.to_bytes();
        let shared = SharedWeights::default();
        let source = SessionSource { graph: &graph, folder: self.staging.dir(), shared: &shared };
        let cpu = ProviderChoice { provider: Provider::Cpu, policy: ProviderPolicy::Required };
        Ok(self.runtime.session(source, cpu)?)
    }

    fn run(&self, session: &mut Session, batch: usize) -> Result<Vec<Tensor>, ImportError> {
        let shape = vec![batch, 3, self.size[0], self.size[1]];
        let zeros = vec![0.0; shape.iter().product()];
        Ok(session.run(&Tensor::new(shape, zeros).expect("as many zeros as the shape has"))?)
    }
}

/// Channel, height, width → height, width, channel; other ranks as they are.
fn channels_last(shape: &[usize]) -> Vec<usize> {
    match *shape {
        [channels, height, width] => vec![height, width, channels],
        _ => shape.to_vec(),
    }
}
