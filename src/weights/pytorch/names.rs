//! What PyTorch calls the weights of an architecture.
//!
//! Names alone; shapes and layouts are the reader's part.

use crate::arch::{Architecture, Layer};

/// Architectures whose PyTorch names are known here.
pub(super) const KNOWN: [&str; 1] = ["efficientnet_lite0"];

/// Per layer of `architecture` the module that has its weights, `None` for layers without; `None` when no names are known.
pub(super) fn modules(architecture: &Architecture) -> Option<Vec<Option<String>>> {
    KNOWN.contains(&architecture.name.as_str()).then(|| efficientnet(architecture))
}

/// The tensor of `module` that Keras calls `weight`.
pub(super) fn tensor(module: &str, weight: &str) -> String {
    let name = match weight {
        "kernel" | "gamma" => "weight",
        "beta" => "bias",
        "moving_mean" => "running_mean",
        "moving_variance" => "running_var",
        other => other,
    };
    format!("{module}.{name}")
}

/// Whether `tensor` is one of `module`'s.
pub(super) fn is_of(module: &str, tensor: &str) -> bool {
    tensor.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

/// The modules of lukemelas's EfficientNet-PyTorch, which the Lite models keep: blocks are counted from 0, and each counts
/// its normalisations, of which the first is that of its expansion.
fn efficientnet(architecture: &Architecture) -> Vec<Option<String>> {
    let ends = &architecture.transfer.blocks;
    let module = |layer: &Layer| match layer.name.as_str() {
        "stem_conv" => Some("_conv_stem".to_owned()),
        "stem_bn" => Some("_bn0".to_owned()),
        "top_conv" => Some("_conv_head".to_owned()),
        "top_bn" => Some("_bn1".to_owned()),
        "predictions" => Some("_fc".to_owned()),
        name => {
            let (block, role) = name.split_once('_')?;
            let position = ends.iter().position(|end| end.split_once('_').is_some_and(|(of, _)| of == block))?;
            let module = match role {
                "expand_conv" => "_expand_conv",
                "expand_bn" => "_bn0",
                "dwconv" => "_depthwise_conv",
                "bn" => "_bn1",
                "project_conv" => "_project_conv",
                "project_bn" => "_bn2",
                _ => return None,
            };
            Some(format!("_blocks.{position}.{module}"))
        }
    };
    architecture.layers.iter().map(|layer| module(layer).filter(|_| !layer.weights.is_empty())).collect()
}
