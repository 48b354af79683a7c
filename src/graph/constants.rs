//! Constant nodes as initializers: some exporters keep weights in nodes, where no session can share them.

use super::{
    Error, Graph,
    proto::{NodeProto, TensorProto},
    tensors::byte_len,
};

/// Up to this IR version every initializer is an input, so that a constant cannot become one.
const LAST_WITH_INPUTS: i64 = 3;

impl Graph {
    /// Makes initializers of the Constant nodes whose tensors have at least `min_bytes`.
    pub(super) fn lift_constants(&mut self, min_bytes: u64) -> Result<(), Error> {
        if self.header.ir_version() <= LAST_WITH_INPUTS {
            return Ok(());
        }
        let mut kept = Vec::with_capacity(self.body.node.len());
        for mut node in std::mem::take(&mut self.body.node) {
            match large_constant(&mut node, min_bytes)? {
                Some(tensor) => self.body.initializer.push(tensor),
                None => kept.push(node),
            }
        }
        self.body.node = kept;
        Ok(())
    }
}

/// The tensor of a Constant node, called as the node's output, if it is large; the node is then used up.
fn large_constant(node: &mut NodeProto, min_bytes: u64) -> Result<Option<TensorProto>, Error> {
    if node.op_type() != "Constant" || !node.domain().is_empty() {
        return Ok(None);
    }
    let ([output], [attribute]) = (node.output.as_slice(), node.attribute.as_mut_slice()) else { return Ok(None) };
    let is_large = match &attribute.t {
        Some(tensor) => byte_len(tensor)?.is_some_and(|length| length >= min_bytes),
        None => false,
    };
    let tensor = if is_large { attribute.t.take() } else { None };
    Ok(tensor.map(|tensor| TensorProto { name: Some(output.clone()), ..tensor }))
}
