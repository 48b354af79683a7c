//! The layout of a graph's input: graft feeds channels first, TensorFlow's exports often want channels last.

use super::{
    Dim, Error, Graph,
    proto::{AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TypeValue, ValueInfoProto},
    proto::{DimValue, Dimension, ModelProto, TensorShapeProto, TensorType, TypeProto},
    tensors::data_type,
};

/// What the transposed copy of a channels-last input is called.
const SUFFIX: &str = "/channels_last";

/// `AttributeProto.AttributeType` of a list of whole numbers.
const INTS: i32 = 7;

impl Graph {
    /// A graph that takes N×3×H×W: one that wants N×H×W×3 gets a Transpose behind its input, any other stays as it is.
    ///
    /// # Errors
    /// As [`Graph::input`].
    pub fn with_channels_first(mut self) -> Result<Self, Error> {
        let input = self.input()?;
        let is_three = |axis: usize| input.shape.get(axis) == Some(&Dim::Fixed(3));
        if input.shape.len() != 4 || !is_three(3) || is_three(1) {
            return Ok(self);
        }
        let inner = format!("{}{SUFFIX}", input.name);
        rename_uses(&mut self.body, &input.name, &inner);
        self.body.node.insert(0, transpose(&input.name, &inner));
        let info = self.body.input.iter_mut().find(|info| info.name() == input.name);
        if let Some(TypeValue::Tensor(tensor)) = info.and_then(|info| info.r#type.as_mut()).and_then(|kind| kind.value.as_mut())
            && let Some(shape) = &mut tensor.shape
        {
            shape.dim[1..].rotate_right(1);
        }
        Ok(self)
    }

    /// Whether `tensor` is what [`Self::with_channels_first`] put in: no layer of the user's.
    pub fn is_layout(tensor: &str) -> bool {
        tensor.ends_with(SUFFIX)
    }

    /// The smallest graph, one Relu over a vector: for finding out whether a provider works.
    pub fn smallest() -> Self {
        let value = |name: &str| ValueInfoProto { name: Some(name.to_owned()), r#type: Some(vector()), ..Default::default() };
        let relu = NodeProto {
            input: vec!["input".to_owned()],
            output: vec!["output".to_owned()],
            op_type: Some("Relu".to_owned()),
            ..Default::default()
        };
        let body = GraphProto {
            name: Some("smallest".to_owned()),
            node: vec![relu],
            input: vec![value("input")],
            output: vec![value("output")],
            ..Default::default()
        };
        let opset = OperatorSetIdProto { version: Some(17), ..Default::default() };
        let header = ModelProto { ir_version: Some(8), opset_import: vec![opset], ..Default::default() };
        Self { header, body, dir: None }
    }
}

/// Lets every node that reads `from` read `to`, in subgraphs too: those of If and Loop see the tensors around them.
fn rename_uses(body: &mut GraphProto, from: &str, to: &str) {
    for node in &mut body.node {
        node.input.iter_mut().filter(|name| *name == from).for_each(|name| to.clone_into(name));
        let subgraphs = node.attribute.iter_mut().flat_map(|attribute| attribute.g.iter_mut().chain(&mut attribute.graphs));
        subgraphs.for_each(|graph| rename_uses(graph, from, to));
    }
}

fn transpose(from: &str, to: &str) -> NodeProto {
    let perm = AttributeProto { name: Some("perm".to_owned()), r#type: Some(INTS), ints: vec![0, 2, 3, 1], ..Default::default() };
    NodeProto {
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        name: Some(to.to_owned()),
        op_type: Some("Transpose".to_owned()),
        attribute: vec![perm],
        ..Default::default()
    }
}

fn vector() -> TypeProto {
    let dim = Dimension { value: Some(DimValue::Param("batch".to_owned())), denotation: None };
    let tensor = TensorType { elem_type: Some(data_type::FLOAT), shape: Some(TensorShapeProto { dim: vec![dim] }) };
    TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(dims: [i64; 4]) -> Graph {
        let mut graph = Graph::smallest();
        let dim = dims.into_iter().map(|side| Dimension { value: Some(DimValue::Value(side)), denotation: None }).collect();
        let tensor = TensorType { elem_type: Some(data_type::FLOAT), shape: Some(TensorShapeProto { dim }) };
        graph.body.input[0].r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None });
        graph
    }

    #[test]
    fn only_a_channels_last_input_is_turned() {
        let check = |dims: [i64; 4], expected: [u64; 4], nodes: usize| {
            let turned = graph(dims).with_channels_first().expect("one input");
            assert_eq!(turned.input().expect("one input").shape, expected.map(Dim::Fixed), "{dims:?}");
            assert_eq!(turned.body.node.len(), nodes, "{dims:?}");
            Graph::parse(turned.to_bytes()).expect("the turned graph is whole");
        };
        check([1, 224, 200, 3], [1, 3, 224, 200], 2);
        check([1, 3, 224, 200], [1, 3, 224, 200], 1);
        check([1, 3, 3, 3], [1, 3, 3, 3], 1);
        check([1, 224, 224, 1], [1, 224, 224, 1], 1);
    }

    #[test]
    fn subgraphs_read_the_turned_input_too() {
        let mut graph = graph([1, 224, 200, 3]);
        let inside = GraphProto { node: graph.body.node.clone(), ..Default::default() };
        graph.body.node[0].attribute.push(AttributeProto { g: Some(inside), ..Default::default() });
        let turned = graph.with_channels_first().expect("one input");
        let relu = &turned.body.node[1];
        let inside = relu.attribute[0].g.as_ref().expect("the branch is still there");
        assert_eq!((relu.input[0].as_str(), inside.node[0].input[0].as_str()), ("input/channels_last", "input/channels_last"));
    }
}
