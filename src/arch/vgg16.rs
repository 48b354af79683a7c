//! VGG16 (Simonyan and Zisserman 2014) as `keras.applications.vgg16` defines it.
//!
//! The only place with its widths, names and depth.

use super::{Activation, Architecture, Builder, Description, LayerKind, Padding, Transfer};

/// Channels and number of convolutions of the five blocks.
const BLOCKS: [(usize, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];

/// Width of the hidden dense layers, and number of ImageNet's classes.
const HIDDEN: usize = 4096;
const CLASSES: usize = 1000;

/// VGG16 for 224 × 224 images: 23 layers, 19 without the top.
pub fn vgg16(include_top: bool) -> Architecture {
    let mut model = Builder::new([224, 224, 3]);
    let mut x = 0;
    for (block, (filters, convolutions)) in (1..).zip(BLOCKS) {
        for convolution in 1..=convolutions {
            x = model.named(&format!("block{block}_conv{convolution}"), conv3x3(filters), &[x]);
        }
        x = model.named(&format!("block{block}_pool"), LayerKind::max_pooling(2, 2), &[x]);
    }
    if include_top {
        x = model.named("flatten", LayerKind::Flatten, &[x]);
        x = model.named("fc1", LayerKind::dense(HIDDEN, Activation::Relu), &[x]);
        x = model.named("fc2", LayerKind::dense(HIDDEN, Activation::Relu), &[x]);
        x = model.named("predictions", LayerKind::dense(CLASSES, Activation::Softmax), &[x]);
    }
    let features_layer = if include_top { "fc2" } else { "block5_pool" };
    let transfer = Transfer {
        blocks: (1..=BLOCKS.len()).map(|block| format!("block{block}_pool")).collect(),
        top_blocks: 1,
        fully_connected: if include_top { vec!["fc1".to_owned(), "fc2".to_owned()] } else { Vec::new() },
    };
    model.finish(x, Description { name: "vgg16", include_top, features_layer, transfer })
}

fn conv3x3(filters: usize) -> LayerKind {
    LayerKind::Conv2D {
        filters,
        kernel: [3, 3],
        strides: [1, 1],
        padding: Padding::Same,
        use_bias: true,
        activation: Activation::Relu,
    }
}
