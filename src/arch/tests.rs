//! The architectures against the layers that Keras lists (`tests/goldens/layers.py`).
//!
//! A wrong order, shape or hyperparameter names its layer.

use serde_json::{Value, json};

use super::{Activation, Architecture, Layer, LayerKind, NAMES, Padding, by_name};

#[test]
fn every_layer_is_that_of_keras() {
    for name in NAMES {
        let golden = golden(name);
        let layers = golden["layers"].as_array().expect("layers");
        let arch = by_name(name, true).expect("a known name");
        assert_eq!(arch.layers.len(), layers.len(), "{name}");
        assert_eq!(json!(arch.params()), golden["params"], "{name}");
        for (index, expected) in layers.iter().enumerate() {
            assert_eq!(&describe(&arch, index), expected, "{name} layer {index}");
        }
    }
}

#[test]
fn without_top_the_last_layers_are_missing() {
    for name in NAMES {
        let (top, bare) = (by_name(name, true).expect("known"), by_name(name, false).expect("known"));
        let expected = &golden(name)["without_top"];
        assert_eq!(json!(bare.layers.len()), expected["layers"], "{name}");
        assert_eq!(json!(bare.params()), expected["params"], "{name}");
        assert_eq!(bare.layers, top.layers[..bare.layers.len()], "{name}");
    }
}

#[test]
fn facts_of_the_architectures() {
    let check = |name, include_top, layers, params, features| {
        let arch = by_name(name, include_top).expect("a known name");
        assert_eq!((arch.name.as_str(), arch.include_top), (name, include_top));
        assert_eq!((arch.layers.len(), arch.params()), (layers, params), "{name} {include_top}");
        assert_eq!(arch.features_layer, features, "{name} {include_top}");
        assert!(arch.layer(features).is_some(), "{name} {include_top}");
    };
    check("efficientnet_lite0", true, 158, 4_694_024, "avg_pool");
    check("efficientnet_lite0", false, 155, 3_413_024, "top_activation");
    check("vgg16", true, 23, 138_357_544, "fc2");
    check("vgg16", false, 19, 14_714_688, "block5_pool");
    check("inception_v3", true, 313, 23_851_784, "avg_pool");
    check("inception_v3", false, 311, 21_802_784, "mixed10");
    assert_eq!(by_name("VGG16", true), None);
}

#[test]
fn blocks_end_in_layers_and_heads_sit_on_the_last() {
    let check = |name, include_top, blocks: usize, frontier: &str, begins: &str| {
        let arch = by_name(name, include_top).expect("a known name");
        let ends: Vec<usize> =
            arch.transfer.blocks.iter().map(|block| arch.layer(block).unwrap_or_else(|| panic!("no layer {block}")).0).collect();
        assert_eq!(ends.len(), blocks, "{name}");
        assert!(ends.is_sorted(), "{name}: {ends:?}");
        let bare = by_name(name, false).expect("a known name");
        assert_eq!(arch.transfer.base(), bare.layers.last().expect("layers").name, "{name}");
        assert_eq!(arch.transfer.frontier(), frontier, "{name}");
        let (last_frozen, _) = arch.layer(frontier).expect("a layer");
        assert_eq!(arch.layers[last_frozen + 1].name, begins, "{name}");
        assert!(arch.transfer.fully_connected.iter().all(|kept| arch.layer(kept).is_some()), "{name}");
    };
    for include_top in [true, false] {
        check("vgg16", include_top, 5, "block4_pool", "block5_conv1");
        check("inception_v3", include_top, 11, "mixed8", "conv2d_80");
        check("efficientnet_lite0", include_top, 17, "block6d_add", "block7a_expand_conv");
    }
}

#[test]
fn weights_are_numbered_in_order() {
    for name in NAMES {
        let arch = by_name(name, true).expect("a known name");
        let positions: Vec<usize> = arch.layers.iter().flat_map(|layer| &layer.weights).map(|spec| spec.position).collect();
        assert_eq!(positions, (0..positions.len()).collect::<Vec<_>>(), "{name}");
    }
}

fn golden(name: &str) -> Value {
    let text = match name {
        "vgg16" => include_str!("../../tests/fixtures/keras_layers_vgg16.json"),
        "efficientnet_lite0" => include_str!("../../tests/fixtures/keras_layers_efficientnet_lite0.json"),
        _ => include_str!("../../tests/fixtures/keras_layers_inception_v3.json"),
    };
    serde_json::from_str(text).expect("the fixture is JSON")
}

fn describe(arch: &Architecture, index: usize) -> Value {
    let layer: &Layer = &arch.layers[index];
    let inputs: Vec<&str> = layer.inputs.iter().map(|&input| arch.layers[input].name.as_str()).collect();
    let weights: Vec<Value> = layer.weights.iter().map(|weight| json!([weight.name, weight.shape])).collect();
    json!({
        "index": index,
        "name": layer.name,
        "type": layer.kind.keras_name(),
        "shape": layer.output_shape,
        "inputs": inputs,
        "config": config(&layer.kind),
        "weights": weights,
    })
}

fn config(kind: &LayerKind) -> Value {
    match *kind {
        LayerKind::Conv2D { filters, kernel, strides, padding, use_bias, activation } => json!({
            "filters": filters, "kernel_size": kernel, "strides": strides, "padding": keras_padding(padding),
            "use_bias": use_bias, "activation": keras_activation(activation),
        }),
        LayerKind::BatchNormalization { epsilon, scale, center } => {
            let epsilon: f64 = epsilon.to_string().parse().expect("a float's text is a float");
            json!({"epsilon": epsilon, "scale": scale, "center": center})
        }
        LayerKind::Activation(activation) => json!({"activation": keras_activation(activation)}),
        LayerKind::MaxPooling2D { pool, strides, padding } | LayerKind::AveragePooling2D { pool, strides, padding } => {
            json!({"pool_size": pool, "strides": strides, "padding": keras_padding(padding)})
        }
        LayerKind::Dense { units, use_bias, activation } => {
            json!({"units": units, "use_bias": use_bias, "activation": keras_activation(activation)})
        }
        LayerKind::DepthwiseConv2D { kernel, strides, padding, use_bias, activation } => json!({
            "depth_multiplier": 1, "kernel_size": kernel, "strides": strides, "padding": keras_padding(padding),
            "use_bias": use_bias, "activation": keras_activation(activation),
        }),
        LayerKind::ZeroPadding2D { padding } => json!({"padding": padding}),
        LayerKind::InputLayer
        | LayerKind::Concatenate
        | LayerKind::Add
        | LayerKind::Dropout { .. }
        | LayerKind::GlobalAveragePooling2D
        | LayerKind::Flatten => json!({}),
    }
}

fn keras_padding(padding: Padding) -> &'static str {
    match padding {
        Padding::Valid => "valid",
        Padding::Same => "same",
    }
}

fn keras_activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Linear => "linear",
        Activation::Relu => "relu",
        Activation::Relu6 => "relu6",
        Activation::Softmax => "softmax",
    }
}
