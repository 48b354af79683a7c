//! Nodes with weights: what of them can train, and what would have to be cached if training began there.
//!
//! Says what is possible; what does train is its callers' choice.

use std::collections::{HashMap, HashSet};

use super::{
    ElementType, Error, Graph, Initializer,
    order::{outputs as made, producers, uses},
    proto::NodeProto,
};

/// A node that reads stored tensors which can train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedNode {
    /// The tensor that it makes.
    pub tensor: String,
    /// The node's place in the graph, for comparison with [`Graph::position`].
    pub position: usize,
    /// The tensor that the first reader of [`Self::tensor`] makes, such as that of an activation.
    pub read_by: Option<String>,
    /// Its stored tensors, in the order of its inputs.
    pub parameters: Vec<StoredWeight>,
    /// Tensors made before it that it or a later node reads, the graph's input included: the frontier if training began here.
    ///
    /// More than one means that the node lies inside a block of parallel paths.
    pub crossing: Vec<String>,
}

/// A stored float32 tensor that can train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWeight {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What it is to its node.
    pub role: Role,
}

/// What a stored tensor is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a convolution: multiplied once per output position.
    Kernel,
    /// Of a matrix product: multiplied once per image.
    Matrix,
    /// Added.
    Bias,
    /// Scale of a batch normalisation.
    Scale,
    /// Shift of a batch normalisation.
    Shift,
}

impl StoredWeight {
    /// Number of its values.
    pub fn values(&self) -> u64 {
        self.shape.iter().map(|&side| side as u64).product()
    }
}

impl Graph {
    /// The nodes with weights that `output` depends on, in graph order.
    ///
    /// Weights are float32 tensors that Conv, Gemm, MatMul (and the Add behind it) and BatchNormalization read directly;
    /// moving statistics are none.
    ///
    /// # Errors
    /// An output that the graph does not compute.
    pub fn weighted(&self, output: &str) -> Result<Vec<WeightedNode>, Error> {
        let cut = self.cut(&[output])?;
        let spans = cut.spans();
        let stored: HashMap<&str, Initializer<'_>> = cut.initializers().map(|tensor| (tensor.name, tensor)).collect();
        let producers = producers(&cut.body);
        let is_sum = |name: &str| producers.get(name).is_some_and(|&at| matches!(cut.body.node[at].op_type(), "MatMul" | "Conv"));
        let mut weighted = Vec::new();
        for (at, node) in cut.body.node.iter().enumerate() {
            let parameters = parameters(node, &stored, is_sum);
            let Some(tensor) = made(node).next().filter(|_| !parameters.is_empty()) else { continue };
            let reader = cut.body.node[at..].iter().find(|node| uses(node).contains(&tensor));
            weighted.push(WeightedNode {
                tensor: tensor.to_owned(),
                position: self.position(tensor).unwrap_or(at),
                read_by: reader.and_then(|node| made(node).next()).map(str::to_owned),
                parameters,
                crossing: spans.iter().filter(|span| span.first <= at && at <= span.last).map(|span| span.name.clone()).collect(),
            });
        }
        Ok(weighted)
    }

    /// The place of the node that makes `tensor`; `None` for inputs, stored tensors and unknown names.
    pub fn position(&self, tensor: &str) -> Option<usize> {
        self.body.node.iter().position(|node| made(node).any(|name| name == tensor))
    }

    /// Where the tensors that depend on the graph's inputs are needed, in the order in which they are made.
    fn spans(&self) -> Vec<Span> {
        let dependent = self.dependent();
        let inputs = self.body.input.iter().map(|input| (input.name(), 0));
        let nodes = self.body.node.iter().enumerate().flat_map(|(at, node)| made(node).map(move |name| (name, at + 1)));
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, node) in self.body.node.iter().enumerate() {
            last.extend(uses(node).into_iter().map(|name| (name, at)));
        }
        let needed: HashSet<&str> = last.keys().copied().filter(|name| dependent.contains(name)).collect();
        let span = |(name, first): (&str, usize)| Span { name: name.to_owned(), first, last: last[name] };
        inputs.chain(nodes).filter(|(name, _)| needed.contains(name)).map(span).collect()
    }
}

/// A tensor and the nodes before which it exists and is still read.
struct Span {
    name: String,
    first: usize,
    last: usize,
}

fn parameters(node: &NodeProto, stored: &HashMap<&str, Initializer<'_>>, is_sum: impl Fn(&str) -> bool) -> Vec<StoredWeight> {
    let role = |position: usize| match (node.op_type(), position) {
        ("Conv", 1) => Some(Role::Kernel),
        ("Gemm", 0 | 1) | ("MatMul", 0 | 1) => Some(Role::Matrix),
        ("Conv" | "Gemm", 2) => Some(Role::Bias),
        ("BatchNormalization", 1) => Some(Role::Scale),
        ("BatchNormalization", 2) => Some(Role::Shift),
        ("Add", 0 | 1) => node.input.get(1 - position).filter(|other| is_sum(other)).map(|_| Role::Bias),
        _ => None,
    };
    let trainable = |(position, name): (usize, &String)| {
        let tensor = stored.get(name.as_str()).filter(|tensor| tensor.elem == Some(ElementType::F32))?;
        Some(StoredWeight { name: name.clone(), shape: tensor.shape.clone(), role: role(position)? })
    };
    if !node.domain().is_empty() {
        return Vec::new();
    }
    node.input.iter().enumerate().filter_map(trainable).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Role, WeightedNode};
    use crate::{
        arch::{Architecture, Layer, efficientnet_lite0, inception_v3, vgg16},
        graph::{
            ExternalData, Graph, build,
            fixture::{classifier, graph, node, zeros},
        },
        tensor::Tensor,
        weights::{self, WeightSource},
    };

    #[test]
    fn weights_have_roles() {
        let mut body = classifier();
        body.initializer.extend([zeros("b", &[4]), zeros("g", &[2]), zeros("m", &[2])]);
        body.node[3] = node("BatchNormalization", "relu g g m m", "shifted");
        body.node[4] = node("MatMul", "shifted w2", "product");
        body.node.insert(5, node("Add", "product b", "logits"));
        let weighted = graph(body).expect("a valid graph").weighted("y").expect("a tensor of the graph");
        let found: Vec<_> = weighted
            .iter()
            .flat_map(|node| node.parameters.iter().map(|weight| (node.tensor.as_str(), weight.name.as_str(), weight.role)))
            .collect();
        let expected = [
            ("hidden", "w1", Role::Matrix),
            ("shifted", "g", Role::Scale),
            ("shifted", "g", Role::Shift),
            ("product", "w2", Role::Matrix),
            ("logits", "b", Role::Bias),
        ];
        assert_eq!(found, expected);
        assert_eq!(weighted[0].read_by.as_deref(), Some("relu"));
    }

    #[test]
    fn crossings_are_frontiers() {
        let mut body = classifier();
        body.node[4] = node("Gemm", "shifted w2 skip", "logits");
        body.node.insert(1, node("Neg", "hidden", "skip"));
        let whole = graph(body).expect("a valid graph");
        let weighted = whole.weighted("y").expect("a tensor of the graph");
        let crossing: Vec<_> = weighted.iter().map(|node| node.crossing.join(" ")).collect();
        assert_eq!(crossing, ["x", "skip shifted"]);
        assert_eq!(whole.weighted("relu").expect("a tensor of the graph").len(), 1);
    }

    struct Zeros;

    impl WeightSource for Zeros {
        fn layer(&mut self, _index: usize, layer: &Layer) -> Result<Vec<Tensor>, weights::Error> {
            let zeros = |shape: &[usize]| Tensor::new(shape.to_vec(), vec![0.0; shape.iter().product()]);
            Ok(layer.weights.iter().map(|spec| zeros(&spec.shape).expect("as many zeros as the shape says")).collect())
        }
    }

    fn built(architecture: &Architecture) -> Graph {
        build(architecture, &mut Zeros, &mut ExternalData::new(io::sink(), "weights.bin")).expect("a sound architecture")
    }

    /// The first weighted node of layer `index` or a later one, and the values that train from there on.
    fn from(architecture: &Architecture, weighted: &[WeightedNode], graph: &Graph, index: usize) -> (Vec<String>, u64, u64) {
        let last_frozen = graph.position(&architecture.layers[index - 1].name);
        let behind: Vec<_> = weighted.iter().filter(|node| last_frozen.is_none_or(|last| node.position > last)).collect();
        let values = |wanted: fn(Role) -> bool| {
            let parameters = behind.iter().flat_map(|node| &node.parameters);
            parameters.filter(|weight| wanted(weight.role)).map(super::StoredWeight::values).sum()
        };
        let kernels = values(|role| !matches!(role, Role::Scale | Role::Shift));
        (behind[0].crossing.clone(), kernels, values(|role| role == Role::Shift))
    }

    #[test]
    fn the_architectures_frontiers_are_keras_s() {
        let check = |architecture: &Architecture, index: usize, frontier: &[&str], kernels: u64, shifts: u64| {
            let graph = built(architecture);
            let output = &architecture.layers.last().expect("it has layers").name;
            let weighted = graph.weighted(output).expect("its last layer");
            let found = from(architecture, &weighted, &graph, index);
            assert_eq!(found, (frontier.iter().map(|&name| name.to_owned()).collect(), kernels, shifts), "{index}");
            let names: Vec<&str> = weighted.iter().flat_map(|node| &node.parameters).map(|weight| weight.name.as_str()).collect();
            // What comes before the first weights, such as padding, is the same for every image and can be cached.
            assert_eq!(graph.frontier(&names, output).expect("weights of the graph"), weighted[0].crossing);
        };
        check(&inception_v3(false), 249, &["mixed8"], 11_108_352, 6528);
        check(&inception_v3(false), 172, &["mixed5", "activation_55", "conv2d_51"], 16_204_800, 11_136);
        check(&efficientnet_lite0(false), 144, &["block6d_add"], 1_009_792, 3904);
        check(&efficientnet_lite0(false), 140, &["block6c_add", "block6d_activation"], 1_230_976, 4096);
        check(&vgg16(false), 15, &["block4_pool"], 7_079_424, 0);
    }
}
