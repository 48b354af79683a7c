//! The graph that is trained: the base up to the head's tensor, and the head with its first weights.
//!
//! Knows nothing of steps.

use crate::{
    arch::Activation,
    graph::{Graph, HeadLayer},
    tensor::Tensor,
    training::{
        Purpose, Stream,
        recipe::{Frontier, Head, Pool, Recipe},
    },
};

/// The whole model in training.
#[derive(Debug)]
pub(super) struct Trained {
    /// From the base's input to the head's softmax.
    pub(super) graph: Graph,
    /// The head's layers, in order.
    pub(super) layers: Vec<NewLayer>,
}

/// A layer of the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewLayer {
    /// Its name, and that of its output tensor.
    pub(super) name: String,
    /// Keras's class name.
    pub(super) kind: &'static str,
    /// Output shape without the batch.
    pub(super) shape: Vec<usize>,
}

impl Trained {
    /// `base` with the head of `recipe`, its kernels drawn with the seed (Keras's `glorot_uniform`), its biases 0.
    pub(super) fn new(base: &Graph, recipe: &Recipe) -> Result<Self, crate::graph::Error> {
        let head = &recipe.head;
        let body = base.cut(&[&head.tensor])?;
        let layers = layers(head, |name| body.position(name).is_some());
        let dense = layers.iter().filter(|layer| layer.kind == "Dense");
        let sizes: Vec<usize> = std::iter::once(head.inputs).chain(dense.clone().map(|layer| layer.shape[0])).collect();
        let kernels: Vec<Tensor> = sizes.windows(2).zip(0..).map(|(sizes, at)| kernel(recipe.seed, at, sizes)).collect();
        let biases: Vec<Tensor> = dense.map(|layer| zeros(layer.shape[0])).collect();
        let mut weights = kernels.iter().zip(&biases);
        let specs = layers.iter().enumerate().map(|(at, layer)| match layer.kind {
            "GlobalAveragePooling2D" => HeadLayer::GlobalAveragePooling { name: &layer.name },
            "Flatten" => HeadLayer::Flatten { name: &layer.name },
            "Dropout" => HeadLayer::Dropout { name: &layer.name, rate: head.dropout as f32 },
            _ => {
                let (kernel, bias) = weights.next().expect("every dense layer has weights");
                let activation = if at + 1 == layers.len() { Activation::Softmax } else { Activation::Relu };
                HeadLayer::Dense { name: &layer.name, kernel, bias, activation }
            }
        });
        let specs: Vec<HeadLayer<'_>> = specs.collect();
        let graph = body.with_head(&head.tensor, &specs)?;
        Ok(Self { graph, layers })
    }

    /// The softmax's tensor.
    pub(super) fn output(&self) -> &str {
        &self.layers.last().expect("a head ends in its softmax").name
    }

    /// Kernels and biases of the head.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (String, bool)> {
        let dense = self.layers.iter().filter(|layer| layer.kind == "Dense");
        dense.flat_map(|layer| [(format!("{}/kernel", layer.name), true), (format!("{}/bias", layer.name), false)])
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

/// The head's layers, under Keras's names, or such names with a number where the base has them already.
fn layers(head: &Head, taken: impl Fn(&str) -> bool) -> Vec<NewLayer> {
    let mut layers: Vec<NewLayer> = Vec::new();
    let mut add = |name: &str, kind: &'static str, shape: Vec<usize>| {
        let candidates = std::iter::once(name.to_owned()).chain((1..).map(|number| format!("{name}_{number}")));
        let free = |candidate: &String| !taken(candidate) && layers.iter().all(|layer| layer.name != *candidate);
        let name = { candidates }.find(free).expect("numbers do not end");
        layers.push(NewLayer { name, kind, shape });
    };
    match head.pool {
        Pool::Avg => add("global_average_pooling2d", "GlobalAveragePooling2D", vec![head.inputs]),
        Pool::Flatten => add("flatten", "Flatten", vec![head.inputs]),
        Pool::None => {}
    }
    head.hidden.iter().for_each(|&units| add("dense", "Dense", vec![units]));
    if head.dropout > 0.0 {
        add("dropout", "Dropout", vec![head.hidden.last().copied().unwrap_or(head.inputs)]);
    }
    add("predictions", "Dense", vec![head.outputs]);
    layers
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
            let names: Vec<String> = layers(head, |name| taken.contains(&name)).into_iter().map(|layer| layer.name).collect();
            assert_eq!(names, expected);
        };
        check(&head(Pool::Avg, &[1024], 0.0), &[], &["global_average_pooling2d", "dense", "predictions"]);
        check(&head(Pool::Flatten, &[8, 4], 0.5), &["dense"], &["flatten", "dense_1", "dense_2", "dropout", "predictions"]);
        check(&head(Pool::None, &[], 0.0), &["predictions"], &["predictions_1"]);
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
