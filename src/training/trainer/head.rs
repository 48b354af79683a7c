//! The graph that is trained: the base up to the head's tensor, and the head with its first weights.
//!
//! Knows nothing of steps.

use crate::{
    arch::{Activation, Builder, Layer, LayerKind, WeightSpec},
    graph::{BuildError, Graph},
    tensor::Tensor,
    training::{
        Purpose, Stream,
        base::trained,
        recipe::{Frontier, Head, Pool, Recipe},
    },
};

/// The whole model in training.
#[derive(Debug)]
pub(super) struct Trained {
    /// From the base's input to the head's softmax.
    pub(super) graph: Graph,
    /// The head's layers, in order.
    pub(super) layers: Vec<Layer>,
}

impl Trained {
    /// `base` with the head of `recipe`, its kernels drawn with the seed (Keras's `glorot_uniform`), its biases 0.
    pub(super) fn new(base: &Graph, recipe: &Recipe) -> Result<Self, BuildError> {
        let (body, on) = trained(base, recipe)?;
        let head = layers(&recipe.head, &on, |name| body.position(name).is_some());
        let mut drawn = 0;
        let graph = body.with_head(head.layers(), &mut |_, layer: &Layer| {
            let mut draw = |shape: &[usize]| {
                let is_bias = shape.len() == 1;
                drawn += u64::from(!is_bias);
                if is_bias { zeros(shape[0]) } else { kernel(recipe.seed, drawn - 1, shape) }
            };
            Ok(layer.weights.iter().map(|weight| draw(&weight.shape)).collect())
        })?;
        Ok(Self { graph, layers: head.layers()[1..].to_vec() })
    }

    /// The softmax's tensor.
    pub(super) fn output(&self) -> &str {
        &self.layers.last().expect("a head ends in its softmax").name
    }

    /// Kernels and biases of the head, and whether they are kernels.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (String, bool)> {
        let of_layer = |layer: &Layer| {
            let named = |weight: &WeightSpec| (format!("{}/{}", layer.name, weight.name), weight.name == "kernel");
            layer.weights.iter().map(named).collect::<Vec<_>>()
        };
        self.layers.iter().flat_map(of_layer)
    }

    /// What lies behind `frontier`, whose tensors become inputs.
    pub(super) fn behind(&self, frontier: &[Frontier]) -> Result<Graph, crate::graph::Error> {
        let pooled = &self.layers[0].name;
        let input = |tensor: &Frontier| if tensor.pooled { pooled.clone() } else { tensor.tensor.clone() };
        let names: Vec<String> = frontier.iter().map(input).collect();
        let inputs: Vec<(&str, &[usize])> =
            names.iter().zip(frontier).map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())).collect();
        self.graph.behind(&inputs, &[self.output()])
    }
}

/// The head's layers on the tensor `on`, under Keras's names, or such names with a number where the base has them already.
fn layers(head: &Head, on: &str, taken: impl Fn(&str) -> bool) -> Builder {
    let mut builder = Builder::on(on, &head.shape);
    let mut add = |name: &str, kind: LayerKind| {
        let candidates = std::iter::once(name.to_owned()).chain((1..).map(|number| format!("{name}_{number}")));
        let layers = builder.layers();
        let free = |candidate: &String| !taken(candidate) && layers.iter().all(|layer| layer.name != *candidate);
        let name = { candidates }.find(free).expect("numbers do not end");
        let last = layers.len() - 1;
        builder.named(&name, kind, &[last]);
    };
    match head.pool {
        Pool::Avg => add("global_average_pooling2d", LayerKind::GlobalAveragePooling2D),
        Pool::Flatten => add("flatten", LayerKind::Flatten),
        Pool::None => {}
    }
    head.hidden.iter().for_each(|&units| add("dense", LayerKind::dense(units, Activation::Relu)));
    if head.dropout > 0.0 {
        add("dropout", LayerKind::Dropout { rate: head.dropout as f32 });
    }
    add("predictions", LayerKind::dense(head.outputs, Activation::Softmax));
    builder
}

/// Keras's `GlorotUniform`: uniform within ±√(6 ÷ (in + out)).
fn kernel(seed: u64, layer: u64, sizes: &[usize]) -> Tensor {
    let limit = (6.0 / (sizes[0] + sizes[1]) as f64).sqrt();
    let mut stream = Stream::new(seed, Purpose::Weights, 0, 0, layer);
    let values = (0..sizes[0] * sizes[1]).map(|_| ((f64::from(stream.unit()) * 2.0 - 1.0) * limit) as f32);
    Tensor::new(sizes.to_vec(), values.collect()).expect("as many values as the shape has")
}

fn zeros(length: usize) -> Tensor {
    Tensor::new(vec![length], vec![0.0; length]).expect("one dimension")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pool: Pool, hidden: &[usize], dropout: f64) -> Head {
        Head {
            on: "mixed10".to_owned(),
            on_index: 310,
            tensor: "mixed10".to_owned(),
            shape: vec![8, 8, 2048],
            pool,
            inputs: 2048,
            hidden: hidden.to_vec(),
            dropout,
            outputs: 2,
            params: 0,
        }
    }

    #[test]
    fn layers_have_keras_names_where_they_are_free() {
        let check = |head: &Head, taken: &[&str], expected: &[&str]| {
            let head = layers(head, &head.tensor, |name| taken.contains(&name));
            let names: Vec<&str> = head.layers()[1..].iter().map(|layer| layer.name.as_str()).collect();
            assert_eq!(names, expected);
        };
        check(&head(Pool::Avg, &[1024], 0.0), &[], &["global_average_pooling2d", "dense", "predictions"]);
        check(&head(Pool::Flatten, &[8, 4], 0.5), &["dense"], &["flatten", "dense_1", "dense_2", "dropout", "predictions"]);
        check(&Head { shape: vec![2048], ..head(Pool::None, &[], 0.0) }, &["predictions"], &["predictions_1"]);
    }

    #[test]
    fn kernels_are_glorots_and_depend_on_the_seed() {
        let drawn = kernel(1, 0, &[200, 100]);
        let limit = (6.0f32 / 300.0).sqrt();
        assert!(drawn.data().iter().all(|value| value.abs() <= limit));
        let mean = drawn.data().iter().sum::<f32>() / 20_000.0;
        assert!(mean.abs() < limit / 50.0, "{mean}");
        assert_ne!(drawn, kernel(2, 0, &[200, 100]));
        assert_ne!(drawn, kernel(1, 1, &[200, 100]));
    }
}
