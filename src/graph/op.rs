//! A node as rules see it: inputs by position, attributes by name.
//!
//! Knows nothing of what the rules are for.

use crate::graph::proto::{AttributeProto, NodeProto};

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Op<'a> {
    pub(super) node: &'a NodeProto,
}

impl<'a> Op<'a> {
    /// The operator's name, such as `Conv`; operators of other domains have none here.
    pub(super) fn kind(self) -> &'a str {
        if matches!(self.node.domain(), "" | "ai.onnx") { self.node.op_type() } else { "" }
    }

    /// The tensor at `position`, if the node has one there.
    pub(super) fn optional(self, position: usize) -> Option<&'a str> {
        self.node.input.get(position).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The tensor at `position`; empty in a damaged graph, in which no tensor is called so.
    pub(super) fn input(self, position: usize) -> &'a str {
        self.optional(position).unwrap_or_default()
    }

    /// All inputs that are there.
    pub(super) fn inputs(self) -> impl Iterator<Item = &'a str> {
        self.node.input.iter().map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The first output.
    pub(super) fn output(self) -> &'a str {
        self.node.output.first().map_or("", String::as_str)
    }

    pub(super) fn int(self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(self, name: &str, default: f32) -> f32 {
        self.attribute(name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A list of sizes; `None` when it is absent or has negative values.
    pub(super) fn sizes(self, name: &str) -> Option<Vec<usize>> {
        self.ints(name)?.iter().map(|&value| usize::try_from(value).ok()).collect()
    }

    pub(super) fn text(self, name: &str) -> Option<&'a [u8]> {
        self.attribute(name).and_then(|attribute| attribute.s.as_deref())
    }

    /// The axis that attribute `name` says, counted from the front.
    pub(super) fn axis(self, name: &str, default: i64, rank: usize) -> Option<usize> {
        position(self.int(name, default), rank)
    }

    fn attribute(self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name() == name)
    }
}

/// `axis` of a tensor of `rank`, negative ones from the end, counted from the front.
pub(super) fn position(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + rank } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}
