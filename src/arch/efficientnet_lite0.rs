//! EfficientNet-Lite0 (Tan and Le 2019; the Lite models of 2020): Keras's `EfficientNetB0` with its layers' names and order.
//!
//! It has no rescaling, normalisation and squeeze-and-excitation layers, and ReLU6 in place of swish.

use super::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer};

/// Input side, and number of ImageNet's classes.
const SIDE: usize = 224;
const CLASSES: usize = 1000;

/// Channels of the first and the last convolution.
const STEM: usize = 32;
const TOP: usize = 1280;

/// Keras's default for `BatchNormalization`.
const EPSILON: f32 = 1e-3;

/// The stages: how many blocks, side of the depthwise kernel, stride of the first block, expansion, output channels.
const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, filters: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, filters: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, filters: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, filters: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, filters: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, filters: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, filters: 320 },
];

/// EfficientNet-Lite0 for 224 × 224 images: 158 layers, 155 without the top.
pub fn efficientnet_lite0(include_top: bool) -> Architecture {
    let mut net = Net { model: Builder::new([SIDE, SIDE, 3]), channels: 3, side: SIDE, blocks: Vec::new() };
    let mut x = net.padded("stem_conv_pad", 0, 3);
    x = net.conv("stem_conv", x, STEM, 3, 2, Padding::Valid);
    x = net.normalized("stem_bn", x);
    x = net.activated("stem_activation", x);
    for (number, stage) in (1..).zip(STAGES) {
        for (letter, block) in ('a'..='z').zip(0..stage.blocks) {
            let stride = if block == 0 { stage.stride } else { 1 };
            x = net.block(&format!("block{number}{letter}_"), x, &Stage { stride, ..stage });
        }
    }
    x = net.conv("top_conv", x, TOP, 1, 1, Padding::Same);
    x = net.normalized("top_bn", x);
    x = net.ending("top_activation", x, Net::activated);
    if include_top {
        x = net.model.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[x]);
        x = net.model.named("top_dropout", LayerKind::Dropout { rate: 0.0 }, &[x]);
        x = net.model.named("predictions", LayerKind::dense(CLASSES, Activation::Softmax), &[x]);
    }
    let features_layer = if include_top { "avg_pool" } else { "top_activation" };
    // On the ants and bees of PyTorch's tutorial the head alone reaches what any number of blocks does; two, as for InceptionV3,
    // train at 50 images per second on two busy cores, and each further one halves that and overfits sooner.
    let transfer = Transfer { blocks: net.blocks, top_blocks: 2, fully_connected: Vec::new() };
    net.model.finish(x, Description { name: "efficientnet_lite0", include_top, features_layer, transfer })
}

/// Blocks of one width.
#[derive(Debug, Clone, Copy)]
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    filters: usize,
}

struct Net {
    model: Builder,
    /// Channels and side of the map that the next layer reads.
    channels: usize,
    side: usize,
    /// Names of the layers that end a block.
    blocks: Vec<String>,
}

impl Net {
    /// An inverted residual block: expansion, depthwise convolution, projection, and the sum with its input where shapes allow.
    fn block(&mut self, name: &str, input: usize, stage: &Stage) -> usize {
        let (channels, side) = (self.channels, self.side);
        let mut x = input;
        if stage.expansion != 1 {
            x = self.conv(&format!("{name}expand_conv"), x, channels * stage.expansion, 1, 1, Padding::Same);
            x = self.normalized(&format!("{name}expand_bn"), x);
            x = self.activated(&format!("{name}expand_activation"), x);
        }
        x = self.depthwise(name, x, stage);
        x = self.normalized(&format!("{name}bn"), x);
        x = self.activated(&format!("{name}activation"), x);
        x = self.conv(&format!("{name}project_conv"), x, stage.filters, 1, 1, Padding::Same);
        if (stage.filters, self.side) != (channels, side) {
            return self.ending(&format!("{name}project_bn"), x, Self::normalized);
        }
        x = self.normalized(&format!("{name}project_bn"), x);
        x = self.model.named(&format!("{name}drop"), LayerKind::Dropout { rate: 0.0 }, &[x]);
        self.ending(&format!("{name}add"), x, |net, name, x| net.model.named(name, LayerKind::Add, &[x, input]))
    }

    /// The last layer of a block, which `add` adds.
    fn ending(&mut self, name: &str, x: usize, add: impl FnOnce(&mut Self, &str, usize) -> usize) -> usize {
        self.blocks.push(name.to_owned());
        add(self, name, x)
    }

    fn depthwise(&mut self, name: &str, mut x: usize, stage: &Stage) -> usize {
        let padding = if stage.stride == 1 { Padding::Same } else { Padding::Valid };
        if padding == Padding::Valid {
            x = self.padded(&format!("{name}dwconv_pad"), x, stage.kernel);
        }
        self.side = self.side.div_ceil(stage.stride);
        let (kernel, strides) = ([stage.kernel; 2], [stage.stride; 2]);
        let kind = LayerKind::DepthwiseConv2D { kernel, strides, padding, use_bias: false, activation: Activation::Linear };
        self.model.named(&format!("{name}dwconv"), kind, &[x])
    }

    /// Keras's `correct_pad`: with it a valid convolution of stride 2 meets the inputs that TensorFlow's `SAME` does.
    fn padded(&mut self, name: &str, x: usize, kernel: usize) -> usize {
        let (half, odd) = (kernel / 2, self.side % 2);
        let side = [half - (1 - odd), half];
        self.model.named(name, LayerKind::ZeroPadding2D { padding: [side; 2] }, &[x])
    }

    fn conv(&mut self, name: &str, x: usize, filters: usize, kernel: usize, stride: usize, padding: Padding) -> usize {
        self.channels = filters;
        self.side = self.side.div_ceil(stride);
        let (kernel, strides, activation) = ([kernel; 2], [stride; 2], Activation::Linear);
        let kind = LayerKind::Conv2D { filters, kernel, strides, padding, use_bias: false, activation };
        self.model.named(name, kind, &[x])
    }

    fn normalized(&mut self, name: &str, x: usize) -> usize {
        self.model.named(name, LayerKind::BatchNormalization { epsilon: EPSILON, scale: true, center: true }, &[x])
    }

    fn activated(&mut self, name: &str, x: usize) -> usize {
        self.model.named(name, LayerKind::Activation(Activation::Relu6), &[x])
    }
}
