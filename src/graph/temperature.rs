//! The temperature of a classifier's softmax: logits are divided by it before the softmax is taken (Guo et al. 2017).
//!
//! Ranks do not change, and the logits as they were stay in the graph. How a temperature is found is training's business.

use super::{Error, Graph, make, op::Op};

impl Graph {
    /// The same with a temperature, stored as `OUTPUT/temperature`, before the Softmax that makes `output`.
    ///
    /// # Errors
    /// A tensor that no Softmax makes; one that has a temperature already.
    pub fn with_temperature(&self, output: &str, temperature: f32) -> Result<Self, Error> {
        let mut graph = self.clone();
        let is_softmax = |op: Op<'_>| op.kind() == "Softmax" && op.output() == output;
        let softmax = graph.body.node.iter().position(|node| is_softmax(Op { node }));
        let softmax = softmax.ok_or_else(|| Error::UnknownTensor(output.to_owned()))?;
        let [stored, calibrated] = ["temperature", "calibrated"].map(|role| format!("{output}/{role}"));
        let logits = std::mem::replace(&mut graph.body.node[softmax].input[0], calibrated.clone());
        graph.body.node.insert(softmax, make::node("Div", &[&logits, &stored], &[&calibrated], Vec::new()));
        graph.body.initializer.push(make::floats(&stored, &[], &[temperature]));
        super::order::check(&mut graph.body)?;
        Ok(graph)
    }

    /// The logits behind `output` and the temperature that they are divided by; `None` where there is none.
    pub fn temperature(&self, output: &str) -> Option<(&str, f32)> {
        let producer = |tensor: &str, kind: &str| {
            let mut ops = self.body.node.iter().map(|node| Op { node });
            ops.find(|op| op.kind() == kind && op.output() == tensor)
        };
        let division = producer(producer(output, "Softmax")?.input(0), "Div")?;
        match self.stored(division.input(1)).ok()?.data() {
            [temperature] => Some((division.input(0), *temperature)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{
        Error, Graph,
        fixture::{classifier, graph},
    };

    #[test]
    fn a_temperature_stands_between_logits_and_softmax() {
        let whole = graph(classifier()).expect("a valid graph");
        assert_eq!(whole.temperature("y"), None);
        let calibrated = whole.with_temperature("y", 2.5).expect("a softmax makes it");
        assert_eq!(calibrated.temperature("y"), Some(("logits", 2.5)));
        assert_eq!((calibrated.temperature("relu"), calibrated.temperature("logits")), (None, None));
        let nodes: Vec<&str> = calibrated.body.node.iter().map(|node| node.output[0].as_str()).collect();
        assert_eq!(nodes, ["hidden", "relu", "k", "shifted", "logits", "y/calibrated", "y"]);
        let read = Graph::parse(calibrated.to_bytes()).expect("it is whole");
        assert_eq!(read.temperature("y"), Some(("logits", 2.5)));
        assert!(matches!(calibrated.with_temperature("y", 1.5), Err(Error::Duplicate { .. })));
        assert!(matches!(whole.with_temperature("relu", 2.0), Err(Error::UnknownTensor(_))));
    }
}
