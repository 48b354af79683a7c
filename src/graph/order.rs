//! Names and order: what a node reads, who makes a tensor, and the check that a graph is whole and acyclic.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

use super::{
    Error,
    proto::{GraphProto, NodeProto},
};

/// Names that `node` reads: its inputs, then what its subgraphs take from outside; absent optional inputs left out.
pub(super) fn uses(node: &NodeProto) -> Vec<&str> {
    let inputs = node.input.iter().map(String::as_str).filter(|name| !name.is_empty());
    inputs.chain(captured(node)).collect()
}

/// Names that the subgraphs of `node` take from outside.
pub(super) fn captured(node: &NodeProto) -> Vec<&str> {
    let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    graphs.flat_map(free_names).collect()
}

fn free_names(graph: &GraphProto) -> Vec<&str> {
    let own: HashSet<&str> = sources(graph).chain(graph.node.iter().flat_map(outputs)).collect();
    let read = graph.node.iter().flat_map(uses).chain(graph.output.iter().map(|output| output.name()));
    read.filter(|name| !own.contains(name)).collect()
}

/// Names of the tensors that `node` makes.
pub(super) fn outputs(node: &NodeProto) -> impl Iterator<Item = &str> {
    node.output.iter().map(String::as_str).filter(|name| !name.is_empty())
}

/// Names of the graph's inputs that are no initializers.
pub(super) fn inputs(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let constants: HashSet<&str> = initializers(graph).collect();
    graph.input.iter().map(|input| input.name()).filter(move |name| !constants.contains(name))
}

/// Which node makes each tensor.
pub(super) fn producers(graph: &GraphProto) -> HashMap<&str, usize> {
    let indexed = graph.node.iter().enumerate();
    indexed.flat_map(|(index, node)| outputs(node).map(move |name| (name, index))).collect()
}

/// How messages name a node.
pub(super) fn describe(node: &NodeProto) -> String {
    let name = if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() };
    format!("{} node `{name}`", node.op_type())
}

/// Checks that every tensor is defined once and before its readers; puts the nodes in order where they are not.
pub(super) fn check(graph: &mut GraphProto) -> Result<(), Error> {
    check_unique(graph)?;
    let producers = producers(graph);
    check_defined(graph, &producers)?;
    let needs: Vec<Vec<usize>> =
        graph.node.iter().map(|node| uses(node).iter().filter_map(|name| producers.get(name).copied()).collect()).collect();
    let in_order = needs.iter().enumerate().all(|(index, needs)| needs.iter().all(|&needed| needed < index));
    if in_order {
        return Ok(());
    }
    let order = sort(&needs).map_err(|stuck| {
        let node = &graph.node[stuck];
        let waits_for = |name: &&str| producers.contains_key(name);
        let tensor = uses(node).into_iter().find(waits_for).unwrap_or_default().to_owned();
        Error::Cycle { node: describe(node), tensor }
    })?;
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.iter().filter_map(|&index| nodes[index].take()).collect();
    Ok(())
}

/// Inputs and initializers.
fn sources(graph: &GraphProto) -> impl Iterator<Item = &str> {
    graph.input.iter().map(|input| input.name()).chain(initializers(graph))
}

fn initializers(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).map(|tensor| tensor.name())
}

fn check_unique(graph: &GraphProto) -> Result<(), Error> {
    let duplicate = |tensor: &str, by: String| Error::Duplicate { tensor: tensor.to_owned(), by };
    let mut inputs = HashSet::new();
    for input in &graph.input {
        if !inputs.insert(input.name()) {
            return Err(duplicate(input.name(), "the graph's input list".to_owned()));
        }
    }
    // Up to IR version 3 every initializer is an input as well.
    let mut defined = HashSet::new();
    for name in initializers(graph) {
        if !defined.insert(name) {
            return Err(duplicate(name, "the graph's initializers".to_owned()));
        }
    }
    defined.extend(inputs);
    for node in &graph.node {
        for name in outputs(node) {
            if !defined.insert(name) {
                return Err(duplicate(name, describe(node)));
            }
        }
    }
    Ok(())
}

fn check_defined(graph: &GraphProto, producers: &HashMap<&str, usize>) -> Result<(), Error> {
    let sources: HashSet<&str> = sources(graph).collect();
    let undefined = |name: &&str| !sources.contains(name) && !producers.contains_key(name);
    for node in &graph.node {
        if let Some(tensor) = uses(node).into_iter().find(undefined) {
            return Err(Error::Undefined { reader: describe(node), tensor: tensor.to_owned() });
        }
    }
    match graph.output.iter().map(|output| output.name()).find(undefined) {
        Some(tensor) => Err(Error::Undefined { reader: "the graph's output list".to_owned(), tensor: tensor.to_owned() }),
        None => Ok(()),
    }
}

/// Kahn's algorithm, first come first; `Err` is a node on or behind a cycle.
fn sort(needs: &[Vec<usize>]) -> Result<Vec<usize>, usize> {
    let mut readers = vec![Vec::new(); needs.len()];
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (index, needs) in needs.iter().enumerate() {
        for &needed in needs {
            readers[needed].push(index);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(index, _)| Reverse(index)).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match missing.iter().position(|&missing| missing > 0) {
        Some(stuck) => Err(stuck),
        None => Ok(order),
    }
}
