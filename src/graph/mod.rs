//! ONNX graphs and passes over them: read, inspect, cut, move weights out, and build from an architecture.
//!
//! The only place that knows ONNX's protobuf; tensors are shared `Bytes`, so a clone or a cut copies no weights.
//! Knows neither sessions nor the model repository.

mod axes;
mod bounds;
mod build;
mod constants;
mod cut;
mod error;
mod external;
mod feed;
mod frontier;
pub mod gradient;
mod head;
mod inspect;
mod make;
mod op;
mod order;
mod outputs;
mod properties;
mod proto;
mod scores;
mod single;
mod single_file;
mod stored;
mod temperature;
mod tensors;
mod weighted;
mod weights;

use std::{io::Read, path::Path};

use bytes::Bytes;
use prost::Message;

pub use self::{
    axes::Layout,
    build::{BuildError, build},
    error::{Error, LocationProblem, TensorProblem},
    external::{ExternalData, Span},
    feed::{DeclaredInput, FirstUse, InputKind, InputLayout},
    inspect::{Consumer, Dim, ElementType, Initializer, InputInfo, NodeOutput, ValueInfo},
    outputs::DeclaredOutput,
    scores::{Scores, Shapes},
    single_file::SingleFile,
    weighted::{Role, StoredWeight, WeightedNode},
    weights::{NOWHERE, Sums, Weights},
};
use self::{
    proto::{GraphProto, ModelProto, TensorProto},
    weights::Folder,
};
use crate::config::open_regular;

/// Largest model file: protobuf messages end at 2 GiB.
pub const MAX_MODEL_BYTES: u64 = i32::MAX as u64;

/// A checked ONNX model: names are unique and defined, nodes are in topological order, tensors are as long as they say.
///
/// Cloning shares the tensors' data.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The model's message without its graph.
    header: ModelProto,
    body: GraphProto,
    /// The folder that relative locations of external data start from.
    dir: Option<Folder>,
}

impl Graph {
    /// A model from the bytes of an `.onnx` file; nodes that the file has out of order are put in order.
    ///
    /// External data are neither read nor looked for; use [`Self::read`] for a model whose tensors lie beside it.
    ///
    /// # Errors
    /// Bytes that are no ONNX model, an undefined or duplicate tensor name, a cycle, a tensor whose data do not fit its shape,
    /// more nodes, nesting or text than graft takes.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let size = bytes.len() as u64;
        if size > MAX_MODEL_BYTES {
            return Err(Error::TooLarge { bytes: size });
        }
        let mut header = ModelProto::decode(bytes.clone()).map_err(|source| Error::foreign(&bytes, Some(source)))?;
        let body = header.graph.take().filter(|body| !body.output.is_empty());
        let body = body.ok_or_else(|| Error::foreign(&bytes, None))?;
        let mut graph = Self { header, body, dir: None };
        bounds::check_nodes(&graph.header, &graph.body)?;
        let mut data = 0;
        graph.visit(&mut |tensor| {
            data += bounds::data_bytes(tensor);
            tensors::check(tensor)
        })?;
        bounds::check_structure(&graph.header, &graph.body, data)?;
        order::check(&mut graph.body)?;
        Ok(graph)
    }

    /// Reads an `.onnx` file and remembers its folder, in which its external data are looked for when they are moved.
    ///
    /// # Errors
    /// As [`Self::parse`], and when the file cannot be read or is larger than [`MAX_MODEL_BYTES`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = open_regular(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        if size > MAX_MODEL_BYTES {
            return Err(Error::TooLarge { bytes: size });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(MAX_MODEL_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        Self::parse(bytes.into()).map(|graph| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => graph.beside(parent),
            _ => graph.beside(Path::new(".")),
        })
    }

    /// The model as the contents of an `.onnx` file.
    pub fn to_bytes(&self) -> Bytes {
        let mut model = self.header.clone();
        model.graph = Some(self.body.clone());
        model.encode_to_vec().into()
    }

    /// Calls `see` with every tensor of the model, in attributes, subgraphs and functions too.
    fn visit(&mut self, see: &mut impl FnMut(&mut TensorProto) -> Result<(), Error>) -> Result<(), Error> {
        tensors::visit(&mut self.body, see)?;
        let mut nodes = self.header.functions.iter_mut().flat_map(|function| &mut function.node);
        nodes.try_for_each(|node| tensors::visit_node(node, see))
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
