//! Tensors that depend on no image: Constant nodes as initializers, and a bound on what other nodes make of these.
//!
//! Some exporters keep weights in nodes, where no session can share them. Knows no operator but Constant; runs nothing.

use super::{
    Error, Graph, Shapes,
    order::{describe, outputs, producers},
    proto::{NodeProto, TensorProto},
    tensors::byte_len,
};

/// Up to this IR version every initializer is an input, so that a constant cannot become one.
const LAST_WITH_INPUTS: i64 = 3;

/// Values that the constants of any graph may have: 256 MiB as float32.
const FREE_VALUES: u64 = 1 << 26;

/// Values of constants for each stored byte: a weight of 4 bits is cast and turned, and each time it is another tensor.
const VALUES_PER_BYTE: u64 = 4;

impl Graph {
    /// Tensors that nodes make without the image, Constant nodes left out.
    ///
    /// ONNX Runtime computes them when it makes a session that folds constants, and keeps them.
    pub fn made_constants(&self) -> Vec<&str> {
        let dependent = self.dependent();
        let is_made = |node: &&NodeProto| node.op_type() != "Constant" && !outputs(node).any(|name| dependent.contains(name));
        self.body.node.iter().filter(is_made).flat_map(outputs).collect()
    }

    /// Whether all nodes are the graph's own: what subgraphs and functions make cannot be asked for.
    pub fn is_flat(&self) -> bool {
        let has_subgraph = |node: &NodeProto| node.attribute.iter().any(|known| known.g.is_some() || !known.graphs.is_empty());
        self.header.functions.is_empty() && !self.body.node.iter().any(has_subgraph)
    }

    /// Checks that the constants of `shapes` are in proportion to a model that stores `stored` bytes.
    ///
    /// # Errors
    /// [`Error::LargeConstants`], with the node that makes the largest.
    pub fn check_constants(&self, shapes: &Shapes, stored: u64) -> Result<(), Error> {
        let values = |shape: &[usize]| shape.iter().fold(1, |product: u64, &side| product.saturating_mul(side as u64));
        let total = shapes.values().map(|shape| values(shape)).fold(0, u64::saturating_add);
        let most = stored.saturating_mul(VALUES_PER_BYTE).saturating_add(FREE_VALUES);
        let largest = shapes.iter().max_by_key(|(_, shape)| values(shape));
        let Some((name, shape)) = largest.filter(|_| total > most) else { return Ok(()) };
        let node = producers(&self.body).get(name.as_str()).map(|&index| describe(&self.body.node[index])).unwrap_or_default();
        Err(Error::LargeConstants { node, values: values(shape), total, most, stored })
    }

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

#[cfg(test)]
mod tests {
    use crate::graph::fixture::{branch, classifier, graph, node};

    #[test]
    fn what_no_image_reaches_is_a_constant() {
        let mut body = classifier();
        body.node.push(node("Exp", "k", "e"));
        body.node.push(node("Split", "w1", "a b"));
        body.node.push(node("RandomNormal", "", "noise"));
        body.node.push(node("Mul", "e x", "seen"));
        assert_eq!(graph(body).expect("a valid graph").made_constants(), ["e", "a", "b", "noise"]);
    }

    #[test]
    fn constants_are_in_proportion_to_what_is_stored() {
        let mut body = classifier();
        body.node.push(node("Exp", "k", "e"));
        let graph = graph(body).expect("a valid graph");
        let check = |shapes: &[(&str, &[usize])], stored: u64| {
            let shapes = shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
            graph.check_constants(&shapes, stored).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[], 0), Ok(()));
        assert_eq!(check(&[("e", &[1 << 26])], 0), Ok(()));
        assert_eq!(check(&[("e", &[1 << 27])], 1 << 24), Ok(()), "made of weights");
        let refused = check(&[("k", &[5]), ("e", &[1 << 20, 1 << 12])], 9).expect_err("too large");
        let expected = "Exp node `e` makes a constant of 4294967296 values, and all constants of the graph together have \
                        4294967301; 67108900 are the most for a model of 9 bytes of weights: store such tensors in the file";
        assert_eq!(refused, expected);
        assert!(check(&[("e", &[usize::MAX, 9])], 0).is_err(), "more than can be counted");
    }

    #[test]
    fn branches_and_functions_are_not_flat() {
        let mut body = classifier();
        assert!(graph(body.clone()).expect("a valid graph").is_flat());
        let mut conditional = node("If", "k", "either");
        conditional.attribute.push(branch("then_branch", classifier()));
        body.node.push(conditional);
        assert!(!graph(body).expect("a valid graph").is_flat());
    }
}
