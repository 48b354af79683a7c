//! Collects layers as a Keras script creates them: automatic names, computed shapes, Keras's final order.
//!
//! Owns names and numbering; knows no particular architecture.

use std::collections::HashMap;

use super::{Activation, Architecture, Layer, LayerKind, Padding, Transfer, WeightSpec, order, shapes};

/// Layers in creation order; indices it hands out are valid until [`Self::finish`] orders them.
#[derive(Debug, Default)]
pub struct Builder {
    layers: Vec<Layer>,
    unnamed: HashMap<&'static str, usize>,
}

/// What an architecture says of itself besides its layers.
#[derive(Debug, Clone)]
pub struct Description {
    /// Wire name.
    pub name: &'static str,
    /// Whether the classifier is there.
    pub include_top: bool,
    /// The layer that features are taken from unless another is asked for.
    pub features_layer: &'static str,
    /// How it is used under a new classifier.
    pub transfer: Transfer,
}

impl Builder {
    /// A builder that holds the input layer, whose index is 0.
    pub fn new(input_shape: [usize; 3]) -> Self {
        let mut builder = Self::default();
        let name = builder.automatic_name(&LayerKind::InputLayer);
        let output_shape = input_shape.to_vec();
        builder.layers.push(Layer { name, kind: LayerKind::InputLayer, inputs: Vec::new(), output_shape, weights: Vec::new() });
        builder
    }

    /// A builder of layers that sit on the output of another model's layer `name`: their input, whose index is 0.
    pub fn on(name: &str, output_shape: &[usize]) -> Self {
        let input = Layer {
            name: name.to_owned(),
            kind: LayerKind::InputLayer,
            inputs: Vec::new(),
            output_shape: output_shape.to_vec(),
            weights: Vec::new(),
        };
        Self { layers: vec![input], ..Self::default() }
    }

    /// The layers so far, in the order in which they were added.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Adds a layer with Keras's automatic name and gives its index.
    ///
    /// # Panics
    /// When `inputs` is empty or names no layer of this builder, or a window does not fit its input.
    pub fn add(&mut self, kind: LayerKind, inputs: &[usize]) -> usize {
        let name = self.automatic_name(&kind);
        self.push(name, kind, inputs)
    }

    /// Adds a layer that the script names, as [`Self::add`]; automatic names do not count it.
    pub fn named(&mut self, name: &str, kind: LayerKind, inputs: &[usize]) -> usize {
        self.push(name.to_owned(), kind, inputs)
    }

    /// Orders the layers as Keras's `Functional` does and numbers their weights.
    ///
    /// # Panics
    /// When `output` is no layer of this builder.
    pub fn finish(self, output: usize, description: Description) -> Architecture {
        let inputs: Vec<&[usize]> = self.layers.iter().map(|layer| layer.inputs.as_slice()).collect();
        let order = order::keras_order(&inputs, output);
        let mut new_index = vec![usize::MAX; self.layers.len()];
        for (new, &old) in order.iter().enumerate() {
            new_index[old] = new;
        }
        let mut layers: Vec<Layer> = order.iter().map(|&old| self.layers[old].clone()).collect();
        let mut position = 0;
        for layer in &mut layers {
            for input in &mut layer.inputs {
                *input = new_index[*input];
            }
            for weight in &mut layer.weights {
                weight.position = position;
                position += 1;
            }
        }
        Architecture {
            name: description.name.to_owned(),
            include_top: description.include_top,
            features_layer: description.features_layer.to_owned(),
            transfer: description.transfer,
            layers,
        }
    }

    fn push(&mut self, name: String, kind: LayerKind, inputs: &[usize]) -> usize {
        let input_shapes: Vec<&[usize]> = inputs.iter().map(|&input| self.layers[input].output_shape.as_slice()).collect();
        let output_shape = shapes::output_shape(&kind, &input_shapes);
        let weights = shapes::weights(&kind, &input_shapes)
            .into_iter()
            .map(|(name, shape)| WeightSpec { name, shape, position: 0 })
            .collect();
        self.layers.push(Layer { name, kind, inputs: inputs.to_vec(), output_shape, weights });
        self.layers.len() - 1
    }

    /// `conv2d`, `conv2d_1`, …: Keras's `auto_name` counts the unnamed layers of each class.
    fn automatic_name(&mut self, kind: &LayerKind) -> String {
        let count = self.unnamed.entry(kind.keras_name()).or_default();
        let name = if *count == 0 { kind.snake_name() } else { format!("{}_{count}", kind.snake_name()) };
        *count += 1;
        name
    }
}

impl LayerKind {
    /// `Dense` with a bias.
    pub fn dense(units: usize, activation: Activation) -> Self {
        Self::Dense { units, use_bias: true, activation }
    }

    /// `MaxPooling2D` without padding, of a square window.
    pub fn max_pooling(size: usize, stride: usize) -> Self {
        Self::MaxPooling2D { pool: [size; 2], strides: [stride; 2], padding: Padding::Valid }
    }
}
