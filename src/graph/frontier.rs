//! The frontier: where a graph is cut so that what lies before it never changes while what lies behind it trains.
//!
//! Tensors there can be computed once and cached; [`Graph::behind`] is the part that reads them.

use std::collections::HashSet;

use super::{
    Error, Graph, make,
    order::{outputs as made, uses},
};

impl Graph {
    /// The tensors that cross from before the first node that reads one of `weights` to that node and those after it.
    ///
    /// Nodes count in graph order, which for graft's own graphs is Keras's order of layers, as far as `output` needs them.
    /// The graph's inputs are among the answer where nodes behind the cut read them; tensors made of constants alone are not.
    ///
    /// # Errors
    /// An output that the graph does not compute; no ancestor of it reads any of `weights`.
    pub fn frontier(&self, weights: &[&str], output: &str) -> Result<Vec<String>, Error> {
        let cut = self.cut(&[output])?;
        let nodes = &cut.body.node;
        let reads = |name: &&str| weights.contains(name);
        let first = nodes.iter().position(|node| uses(node).iter().any(reads));
        let first = first.ok_or_else(|| Error::UnknownInitializer(weights.first().copied().unwrap_or_default().to_owned()))?;
        let dependent = cut.dependent();
        let behind: HashSet<&str> = nodes[first..].iter().flat_map(made).collect();
        let mut seen = HashSet::new();
        let crossing = nodes[first..].iter().flat_map(uses);
        let crossing = crossing.filter(|name| dependent.contains(name) && !behind.contains(name) && seen.insert(*name));
        Ok(crossing.map(str::to_owned).collect())
    }

    /// The part of the graph that computes `outputs` from `inputs`: these tensors become its inputs, float32, batch first.
    ///
    /// Each input comes with its shape without the batch. Costs no copy of any weights.
    ///
    /// # Errors
    /// A name that the graph does not compute; outputs that depend on an input of the graph that is not among `inputs`.
    pub fn behind(&self, inputs: &[(&str, &[usize])], outputs: &[&str]) -> Result<Self, Error> {
        let own: HashSet<&str> = super::order::inputs(&self.body).collect();
        let mut open = self.clone();
        for (name, _) in inputs {
            let producer = open.body.node.iter().position(|node| made(node).any(|made| made == *name));
            match producer {
                Some(index) => open.body.node[index].output.iter_mut().filter(|made| *made == name).for_each(String::clear),
                None if own.contains(name) => {}
                None => return Err(Error::UnknownTensor((*name).to_owned())),
            }
        }
        open.body.input.retain(|info| !inputs.iter().any(|(name, _)| *name == info.name()));
        open.body.input.extend(inputs.iter().map(|(name, shape)| make::batched(name, shape)));
        let mut cut = open.cut(outputs)?;
        let fed: HashSet<String> = super::order::inputs(&cut.body).map(str::to_owned).collect();
        let foreign = |name: &&String| !inputs.iter().any(|(input, _)| input == name);
        if let Some(name) = fed.iter().filter(foreign).find(|name| cut.reads(name)) {
            return Err(Error::NotBehind { input: name.clone() });
        }
        // Weights that an old IR version lists as inputs stay.
        cut.body.input.retain(|info| !fed.contains(info.name()) || inputs.iter().any(|(input, _)| *input == info.name()));
        Ok(cut)
    }

    fn reads(&self, name: &str) -> bool {
        let outputs = self.body.output.iter().map(|output| output.name());
        self.body.node.iter().flat_map(uses).chain(outputs).any(|read| read == name)
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{
        Error,
        fixture::{classifier, graph, node},
        order,
    };

    #[test]
    fn the_frontier_is_what_crosses() {
        let mut body = classifier();
        body.node[4] = node("Gemm", "shifted w2 skip", "logits");
        body.node.insert(1, node("Neg", "hidden", "skip"));
        let whole = graph(body).expect("a valid graph");
        let check = |weights: &[&str], expected: &[&str]| {
            assert_eq!(whole.frontier(weights, "y").expect("a tensor of the graph"), expected, "{weights:?}");
        };
        check(&["w1"], &["x"]);
        check(&["w2", "w1"], &["x"]);
        check(&["w2"], &["shifted", "skip"]);
        assert!(matches!(whole.frontier(&["unused"], "y"), Err(Error::UnknownInitializer(name)) if name == "unused"));
        assert!(matches!(whole.frontier(&["w2"], "relu"), Err(Error::UnknownInitializer(_))), "behind the output");
        assert!(matches!(whole.frontier(&["w2"], "zz"), Err(Error::UnknownTensor(_))));
    }

    #[test]
    fn what_lies_behind_reads_the_frontier_alone() {
        let whole = graph(classifier()).expect("a valid graph");
        let check = |inputs: &[(&str, &[usize])], expected: &str| {
            let behind = whole.behind(inputs, &["logits"]).expect("a frontier");
            let nodes: Vec<&str> = behind.body.node.iter().map(|node| node.output[0].as_str()).collect();
            assert_eq!(nodes.join(" "), expected);
            assert!(order::inputs(&behind.body).eq(inputs.iter().map(|(name, _)| *name)), "{inputs:?}");
            crate::graph::Graph::parse(behind.to_bytes()).expect("it is whole");
        };
        check(&[("relu", &[2])], "k shifted logits");
        check(&[("shifted", &[2])], "logits");
        check(&[("x", &[3])], "hidden relu k shifted logits");
        check(&[("logits", &[4])], "");
        assert!(matches!(whole.behind(&[("logits", &[4])], &["relu"]), Err(Error::NotBehind { input }) if input == "x"));
        assert!(matches!(whole.behind(&[("zz", &[4])], &["y"]), Err(Error::UnknownTensor(_))));
    }
}
