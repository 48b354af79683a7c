//! What the axes of a graph's tensors mean, followed from its input on: batch, channel, height, width, tokens.
//!
//! A layer is shown as it lies in the image, whichever way its graph turns it: TensorFlow's exports and many of PyTorch's
//! models transpose back and forth. Where the meaning cannot be followed, a layer is no map. Runs nothing.

mod axis;
mod judge;
mod operators;
mod rules;

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use self::axis::{Axis, Meaning};
pub(super) use self::operators::{Effect, effect};
use super::{
    Error, Graph, make,
    order::{self, captured, inputs, outputs},
    proto::TensorProto,
    tensors::data_type,
};

/// How one image's output of a layer lies in its tensor; axis 0 is the first behind the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "axes", rename_all = "snake_case")]
pub enum Layout {
    /// A map: which axes are its height, width and channel.
    Map([usize; 3]),
    /// Positions of the image in a row: which axes are the position and the channel.
    Tokens([usize; 2]),
    /// One axis, or none.
    Vector,
    /// Several axes of which the meaning is not that of a map: attention, windows, or what could not be followed.
    NoMap,
}

impl Layout {
    /// The layout that a tensor of `rank` axes behind the batch has in graft's own architectures: channels first.
    pub fn of_rank(rank: usize) -> Self {
        match rank {
            0 | 1 => Self::Vector,
            3 => Self::Map([1, 2, 0]),
            _ => Self::NoMap,
        }
    }

    /// The axes of a tensor's `shape` in the order in which they are shown: height, width, channel; tokens, channel.
    pub fn shown(&self, shape: &[usize]) -> Vec<usize> {
        match self {
            Self::Map(axes) => axes.map(|axis| shape[axis]).to_vec(),
            Self::Tokens(axes) => axes.map(|axis| shape[axis]).to_vec(),
            Self::Vector | Self::NoMap => shape.to_vec(),
        }
    }

    /// The tensor's own shape, of which `shown` is what [`Self::shown`] makes.
    pub fn stored(&self, shown: &[usize]) -> Vec<usize> {
        let mut shape = shown.to_vec();
        let axes: &[usize] = match self {
            Self::Map(axes) => axes,
            Self::Tokens(axes) => axes,
            Self::Vector | Self::NoMap => &[],
        };
        axes.iter().zip(shown).for_each(|(&axis, &side)| shape[axis] = side);
        shape
    }

    /// Whether the axes that it names are those of a tensor with `rank` axes behind the batch.
    pub fn fits(&self, rank: usize) -> bool {
        let permutes = |axes: &[usize]| axes.len() == rank && (0..rank).all(|axis| axes.contains(&axis));
        match self {
            Self::Map(axes) => permutes(axes),
            Self::Tokens(axes) => permutes(axes),
            Self::Vector => rank < 2,
            Self::NoMap => true,
        }
    }
}

impl Graph {
    /// How the tensors of `shapes` lie, which are known with their batch; the graph's input is batch, channel, height, width.
    ///
    /// Shapes of more tensors than those of interest help: without them, what an operator does to its sizes is not known.
    pub fn layouts(&self, shapes: &HashMap<String, Vec<usize>>) -> HashMap<String, Layout> {
        let image = self.image(shapes);
        shapes.iter().map(|(name, shape)| (name.clone(), judge::layout(image.axes(name), shape))).collect()
    }

    /// Those of `shapes` that are a vector of positions of the image, or of channels and positions: maps that were flattened.
    pub fn flattened_maps(&self, shapes: &HashMap<String, Vec<usize>>) -> HashSet<String> {
        let image = self.image(shapes);
        let is_flattened = |name: &str| image.axes(name).is_some_and(|axes| axes.len() == 2 && axes[1].runs_over_positions());
        shapes.keys().filter(|name| is_flattened(name)).cloned().collect()
    }

    fn image<'a>(&'a self, shapes: &'a HashMap<String, Vec<usize>>) -> Image<'a> {
        let mut image = Image { shapes, constants: HashMap::new(), followed: HashMap::new() };
        image.constants.extend(self.body.initializer.iter().map(|tensor| (tensor.name(), tensor)));
        for name in inputs(&self.body) {
            let size = |axis: usize| shapes.get(name).and_then(|shape| shape.get(axis)).copied().unwrap_or(0);
            let meanings = [Meaning::Batch, Meaning::Channel, Meaning::Height, Meaning::Width];
            let axes = meanings.into_iter().enumerate().map(|(axis, meaning)| Axis::whole(meaning, size(axis)));
            image.followed.insert(name, Some(axes.collect()));
        }
        for node in &self.body.node {
            image.follow(node);
        }
        image
    }
}

impl Graph {
    /// This graph with the sizes of `tensors` as tensors of their own, float32, called as `named` says.
    ///
    /// # Errors
    /// A name that the graph has already.
    pub fn with_sizes(&self, tensors: &[&str], named: impl Fn(&str) -> String) -> Result<Self, Error> {
        let mut graph = self.clone();
        for tensor in tensors {
            let (sizes, whole) = (named(tensor), format!("{}/int64", named(tensor)));
            graph.body.node.push(make::node("Shape", &[tensor], &[&whole], Vec::new()));
            graph.body.node.push(make::node("Cast", &[&whole], &[&sizes], vec![make::int("to", data_type::FLOAT.into())]));
        }
        order::check(&mut graph.body)?;
        Ok(graph)
    }
}

/// What is known of the tensors so far.
struct Image<'a> {
    shapes: &'a HashMap<String, Vec<usize>>,
    /// Small stored tensors: some operators read their axes from them.
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Axes of the tensors that depend on the image; `None` for those of which nothing is known.
    followed: HashMap<&'a str, Option<Vec<Axis>>>,
}

impl<'a> Image<'a> {
    /// The axes of `tensor`, where they are known.
    fn axes(&self, tensor: &str) -> Option<&Vec<Axis>> {
        self.followed.get(tensor)?.as_ref()
    }

    fn depends(&self, tensor: &str) -> bool {
        self.followed.contains_key(tensor)
    }

    fn shape(&self, tensor: &str) -> Option<&'a [usize]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }

    fn follow(&mut self, node: &'a super::proto::NodeProto) {
        if node.op_type() == "Constant"
            && let (Some(name), Some(tensor)) = (node.output.first(), node.attribute.iter().find_map(|known| known.t.as_ref()))
        {
            self.constants.insert(name, tensor);
        }
        let reads_image = node.input.iter().any(|name| self.depends(name));
        if captured(node).iter().any(|name| self.depends(name)) {
            self.followed.extend(outputs(node).map(|name| (name, None)));
        } else if reads_image && !operators::tells_sizes(node.op_type()) {
            let axes = self.after(node);
            let splits = operators::splits(node.op_type());
            let several = splits || axes.is_none();
            for (part, name) in outputs(node).take(if several { usize::MAX } else { 1 }).enumerate() {
                let axes = if splits { self.part(node, axes.clone(), part) } else { axes.clone() };
                let fitted = self.shape(name).map_or_else(|| axes.clone(), |shape| Some(fitted(axes.as_deref(), shape)));
                self.followed.insert(name, fitted);
            }
        }
    }
}

/// `axes` with the sizes of `shape`: what a rule left open, or could not know.
fn fitted(axes: Option<&[Axis]>, shape: &[usize]) -> Vec<Axis> {
    match axes {
        Some(axes) if axes.len() == shape.len() => axes.iter().zip(shape).map(|(axis, &side)| axis.resized(side)).collect(),
        _ => shape.iter().map(|&side| Axis::unknown(side)).collect(),
    }
}

#[cfg(test)]
mod tests;
