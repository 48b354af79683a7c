//! InceptionV3 (Szegedy et al. 2015) as `keras.applications.inception_v3` defines it.
//!
//! Layers are created in Keras's order, since automatic names count creations.

use super::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer};

/// Number of ImageNet's classes.
const CLASSES: usize = 1000;

/// Keras's default for `BatchNormalization`.
const EPSILON: f32 = 1e-3;

/// InceptionV3 for 299 × 299 images: 313 layers, 311 without the top.
pub fn inception_v3(include_top: bool) -> Architecture {
    let mut net = Net { model: Builder::new([299, 299, 3]) };
    let mut x = net.stem();
    for (block, pool_filters) in [32, 64, 64].into_iter().enumerate() {
        x = net.block_35(&format!("mixed{block}"), x, pool_filters);
    }
    x = net.reduction_to_17("mixed3", x);
    for (block, inner) in (4..).zip([128, 160, 160, 192]) {
        x = net.block_17(&format!("mixed{block}"), x, inner);
    }
    x = net.reduction_to_8("mixed8", x);
    for block in 0..2 {
        x = net.block_8(block, x);
    }
    if include_top {
        x = net.model.named("avg_pool", LayerKind::GlobalAveragePooling2D, &[x]);
        x = net.model.named("predictions", LayerKind::dense(CLASSES, Activation::Softmax), &[x]);
    }
    let features_layer = if include_top { "avg_pool" } else { "mixed10" };
    let transfer =
        Transfer { blocks: (0..=10).map(|block| format!("mixed{block}")).collect(), top_blocks: 2, fully_connected: Vec::new() };
    net.model.finish(x, Description { name: "inception_v3", include_top, features_layer, transfer })
}

struct Net {
    model: Builder,
}

impl Net {
    fn stem(&mut self) -> usize {
        let x = self.reduce(0, 32);
        let x = self.conv_with(x, 32, [3, 3], [1, 1], Padding::Valid);
        let x = self.conv(x, 64, [3, 3]);
        let x = self.model.add(LayerKind::max_pooling(3, 2), &[x]);
        let x = self.conv_with(x, 80, [1, 1], [1, 1], Padding::Valid);
        let x = self.conv_with(x, 192, [3, 3], [1, 1], Padding::Valid);
        self.model.add(LayerKind::max_pooling(3, 2), &[x])
    }

    fn block_35(&mut self, name: &str, x: usize, pool_filters: usize) -> usize {
        let one = self.conv(x, 64, [1, 1]);
        let five = self.chain(x, &[(48, [1, 1]), (64, [5, 5])]);
        let double_three = self.chain(x, &[(64, [1, 1]), (96, [3, 3]), (96, [3, 3])]);
        let pool = self.pooled(x, pool_filters);
        self.model.named(name, LayerKind::Concatenate, &[one, five, double_three, pool])
    }

    fn reduction_to_17(&mut self, name: &str, x: usize) -> usize {
        let three = self.reduce(x, 384);
        let double_three = self.chain(x, &[(64, [1, 1]), (96, [3, 3])]);
        let double_three = self.reduce(double_three, 96);
        let pool = self.model.add(LayerKind::max_pooling(3, 2), &[x]);
        self.model.named(name, LayerKind::Concatenate, &[three, double_three, pool])
    }

    fn block_17(&mut self, name: &str, x: usize, inner: usize) -> usize {
        let one = self.conv(x, 192, [1, 1]);
        let seven = self.chain(x, &[(inner, [1, 1]), (inner, [1, 7]), (192, [7, 1])]);
        let double_seven = self.chain(x, &[(inner, [1, 1]), (inner, [7, 1]), (inner, [1, 7]), (inner, [7, 1]), (192, [1, 7])]);
        let pool = self.pooled(x, 192);
        self.model.named(name, LayerKind::Concatenate, &[one, seven, double_seven, pool])
    }

    fn reduction_to_8(&mut self, name: &str, x: usize) -> usize {
        let three = self.conv(x, 192, [1, 1]);
        let three = self.reduce(three, 320);
        let seven = self.chain(x, &[(192, [1, 1]), (192, [1, 7]), (192, [7, 1])]);
        let seven = self.reduce(seven, 192);
        let pool = self.model.add(LayerKind::max_pooling(3, 2), &[x]);
        self.model.named(name, LayerKind::Concatenate, &[three, seven, pool])
    }

    fn block_8(&mut self, block: usize, x: usize) -> usize {
        let one = self.conv(x, 320, [1, 1]);
        let three = self.conv(x, 384, [1, 1]);
        let three = self.split(three);
        let three = self.model.named(&format!("mixed9_{block}"), LayerKind::Concatenate, &three);
        let double_three = self.chain(x, &[(448, [1, 1]), (384, [3, 3])]);
        let double_three = self.split(double_three);
        let double_three = self.model.add(LayerKind::Concatenate, &double_three);
        let pool = self.pooled(x, 192);
        self.model.named(&format!("mixed{}", 9 + block), LayerKind::Concatenate, &[one, three, double_three, pool])
    }

    /// A 1 × 3 and a 3 × 1 convolution of the same input.
    fn split(&mut self, x: usize) -> [usize; 2] {
        [self.conv(x, 384, [1, 3]), self.conv(x, 384, [3, 1])]
    }

    fn pooled(&mut self, x: usize, filters: usize) -> usize {
        let pool = LayerKind::AveragePooling2D { pool: [3, 3], strides: [1, 1], padding: Padding::Same };
        let pool = self.model.add(pool, &[x]);
        self.conv(pool, filters, [1, 1])
    }

    fn chain(&mut self, x: usize, convolutions: &[(usize, [usize; 2])]) -> usize {
        convolutions.iter().fold(x, |x, &(filters, kernel)| self.conv(x, filters, kernel))
    }

    fn conv(&mut self, x: usize, filters: usize, kernel: [usize; 2]) -> usize {
        self.conv_with(x, filters, kernel, [1, 1], Padding::Same)
    }

    /// A 3 × 3 convolution that halves height and width.
    fn reduce(&mut self, x: usize, filters: usize) -> usize {
        self.conv_with(x, filters, [3, 3], [2, 2], Padding::Valid)
    }

    /// Keras's `conv2d_bn`: convolution without bias, BatchNorm without scale, ReLU.
    fn conv_with(&mut self, x: usize, filters: usize, kernel: [usize; 2], strides: [usize; 2], padding: Padding) -> usize {
        let activation = Activation::Linear;
        let conv = LayerKind::Conv2D { filters, kernel, strides, padding, use_bias: false, activation };
        let conv = self.model.add(conv, &[x]);
        let norm = LayerKind::BatchNormalization { epsilon: EPSILON, scale: false, center: true };
        let norm = self.model.add(norm, &[conv]);
        self.model.add(LayerKind::Activation(Activation::Relu), &[norm])
    }
}
