//! VGG16, InceptionV3 and EfficientNet-Lite0 as data, in Keras's own vocabulary: layers with names, inputs, hyperparameters and shapes.
//!
//! Order, names and indices are those of `model.layers` in Keras 3.
//! Knows neither weight files nor ONNX.

mod builder;
mod efficientnet_lite0;
mod inception_v3;
mod order;
mod shapes;
mod vgg16;

pub use builder::{Builder, Description};
pub use efficientnet_lite0::efficientnet_lite0;
pub use inception_v3::inception_v3;
pub use vgg16::vgg16;

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 3] = ["vgg16", "inception_v3", "efficientnet_lite0"];

/// A network: its layers, and how its authors feed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Wire name: `vgg16`, `inception_v3`, `efficientnet_lite0`.
    pub name: String,
    /// Whether the classifier is there.
    pub include_top: bool,
    /// Name of the layer that features are taken from unless another is asked for.
    pub features_layer: String,
    /// What a new classifier sits on, and what of the layers below it trains.
    pub transfer: Transfer,
    /// In the order of Keras's `model.layers`; inputs come before their consumers.
    pub layers: Vec<Layer>,
}

/// How an architecture is used under a new classifier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// The last layer of each block, from the input on; a new head sits on the last of them.
    pub blocks: Vec<String>,
    /// How many blocks train in the second phase of the default recipe, counted from the head.
    pub top_blocks: usize,
    /// Its own hidden dense layers, which a head can keep below itself (`head.keep_fc`); none without its classifier.
    pub fully_connected: Vec<String>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Keras's name, unique in the architecture.
    pub name: String,
    /// Its class and hyperparameters.
    pub kind: LayerKind,
    /// Indices of the layers it reads, in Keras's order; empty for an input.
    pub inputs: Vec<usize>,
    /// Shape of its output without the batch dimension: height, width, channel, or units.
    pub output_shape: Vec<usize>,
    /// Its weight tensors, in Keras's order; empty for most classes.
    pub weights: Vec<WeightSpec>,
}

/// One weight tensor of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Keras's name: `kernel`, `bias`, `gamma`, `beta`, `moving_mean`, `moving_variance`.
    pub name: &'static str,
    /// Keras's layout: convolution kernels are height, width, in, out, depthwise ones height, width, channel, 1;
    /// dense kernels in, out.
    pub shape: Vec<usize>,
    /// Position among all weight tensors of the architecture, from 0.
    pub position: usize,
}

impl WeightSpec {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Keras's layer classes, with the hyperparameters that change what they compute.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// The image, height, width, channel.
    InputLayer,
    /// Convolution.
    Conv2D {
        /// Output channels.
        filters: usize,
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        strides: [usize; 2],
        /// What happens at the border.
        padding: Padding,
        /// Whether a bias is added.
        use_bias: bool,
        /// Applied to the sum.
        activation: Activation,
    },
    /// Convolution of each channel with a kernel of its own.
    DepthwiseConv2D {
        /// Height and width of the kernel.
        kernel: [usize; 2],
        /// Vertical and horizontal stride.
        strides: [usize; 2],
        /// What happens at the border.
        padding: Padding,
        /// Whether a bias is added.
        use_bias: bool,
        /// Applied to the sum.
        activation: Activation,
    },
    /// Rows and columns of zeros around a map.
    ZeroPadding2D {
        /// Above and below, left and right.
        padding: [[usize; 2]; 2],
    },
    /// Normalisation of the last axis with moving statistics.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
        /// Whether there is a `gamma`.
        scale: bool,
        /// Whether there is a `beta`.
        center: bool,
    },
    /// An activation by itself.
    Activation(Activation),
    /// Maximum over windows; padding does not take part.
    MaxPooling2D {
        /// Height and width of the window.
        pool: [usize; 2],
        /// Vertical and horizontal stride.
        strides: [usize; 2],
        /// What happens at the border.
        padding: Padding,
    },
    /// Mean over windows; padding does not count.
    AveragePooling2D {
        /// Height and width of the window.
        pool: [usize; 2],
        /// Vertical and horizontal stride.
        strides: [usize; 2],
        /// What happens at the border.
        padding: Padding,
    },
    /// Inputs side by side on the last axis.
    Concatenate,
    /// The sum of its inputs.
    Add,
    /// Leaves values out while a head trains; in a base, which runs as it is served, it is its input.
    Dropout {
        /// Share of the values that is left out; 0 in a base.
        rate: f32,
    },
    /// Mean over height and width.
    GlobalAveragePooling2D,
    /// Everything on one axis, height, width, channel.
    Flatten,
    /// Fully connected.
    Dense {
        /// Outputs.
        units: usize,
        /// Whether a bias is added.
        use_bias: bool,
        /// Applied to the sum.
        activation: Activation,
    },
}

/// What happens at the border of a window operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Windows stay inside.
    Valid,
    /// Output size is input size ÷ stride, rounded up; of an odd total, the extra row or column is at the end.
    Same,
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// None.
    Linear,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// Over the last axis.
    Softmax,
}

impl LayerKind {
    /// Keras's class name, such as `Conv2D`.
    pub fn keras_name(&self) -> &'static str {
        match self {
            Self::InputLayer => "InputLayer",
            Self::Conv2D { .. } => "Conv2D",
            Self::DepthwiseConv2D { .. } => "DepthwiseConv2D",
            Self::ZeroPadding2D { .. } => "ZeroPadding2D",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::Activation(_) => "Activation",
            Self::MaxPooling2D { .. } => "MaxPooling2D",
            Self::AveragePooling2D { .. } => "AveragePooling2D",
            Self::Concatenate => "Concatenate",
            Self::Add => "Add",
            Self::Dropout { .. } => "Dropout",
            Self::GlobalAveragePooling2D => "GlobalAveragePooling2D",
            Self::Flatten => "Flatten",
            Self::Dense { .. } => "Dense",
        }
    }

    /// The class name as Keras derives automatic layer names from it, such as `conv2d`.
    pub fn snake_name(&self) -> String {
        let mut snake = String::new();
        let mut after_lowercase = false;
        for letter in self.keras_name().chars() {
            if after_lowercase && letter.is_ascii_uppercase() {
                snake.push('_');
            }
            after_lowercase = letter.is_ascii_lowercase();
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }
}

impl Architecture {
    /// The layer called `name`, with its index.
    pub fn layer(&self, name: &str) -> Option<(usize, &Layer)> {
        self.layers.iter().enumerate().find(|(_, layer)| layer.name == name)
    }

    /// Layers that have weights, with their indices, in order.
    pub fn weighted(&self) -> impl Iterator<Item = (usize, &Layer)> {
        self.layers.iter().enumerate().filter(|(_, layer)| !layer.weights.is_empty())
    }

    /// Number of weights (Keras's `count_params`), BatchNorm's statistics included.
    pub fn params(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.weights).map(WeightSpec::elements).sum()
    }

    /// Shape of one input: height, width, channel.
    pub fn input_shape(&self) -> &[usize] {
        &self.layers[0].output_shape
    }
}

impl Transfer {
    /// The layer that a new head sits on: the last one below the classifier.
    pub fn base(&self) -> &str {
        self.blocks.last().map_or("", String::as_str)
    }

    /// The layer behind which the top blocks begin: the last one that the default recipe keeps frozen.
    pub fn frontier(&self) -> &str {
        let frontier = self.blocks.iter().rev().nth(self.top_blocks);
        frontier.map_or("", String::as_str)
    }
}

/// The architecture that `name` stands for, with or without its classifier.
pub fn by_name(name: &str, include_top: bool) -> Option<Architecture> {
    match name {
        "vgg16" => Some(vgg16(include_top)),
        "inception_v3" => Some(inception_v3(include_top)),
        "efficientnet_lite0" => Some(efficientnet_lite0(include_top)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
