"""Writes tests/fixtures/keras_layers_{vgg16,inception_v3,efficientnet_lite0}.json from Keras itself, one line per layer.

EfficientNet-Lite0 is Keras's EfficientNetB0 without its rescaling, normalization and squeeze-and-excitation layers, whose
readers read what these read, and with relu6 in place of silu.

Needs Keras 3 with any backend; run it from the repository's root: python tests/goldens/layers.py
"""

import json
import math
import pathlib

import keras

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
MODELS = {
    "vgg16": keras.applications.VGG16,
    "inception_v3": keras.applications.InceptionV3,
    "efficientnet_lite0": keras.applications.EfficientNetB0,
}
SIDES = {"vgg16": 224, "inception_v3": 299, "efficientnet_lite0": 224}
KEPT = {
    "Conv2D": ["filters", "kernel_size", "strides", "padding", "use_bias", "activation"],
    "DepthwiseConv2D": ["depth_multiplier", "kernel_size", "strides", "padding", "use_bias", "activation"],
    "ZeroPadding2D": ["padding"],
    "BatchNormalization": ["epsilon", "scale", "center"],
    "Activation": ["activation"],
    "MaxPooling2D": ["pool_size", "strides", "padding"],
    "AveragePooling2D": ["pool_size", "strides", "padding"],
    "Dense": ["units", "use_bias", "activation"],
}


def describe(index, layer):
    config = layer.get_config()
    kind = type(layer).__name__
    if "axis" in config:
        assert config["axis"] in (-1, 3, (3,)), (layer.name, config["axis"])
    if kind == "InputLayer":
        inbound, shape = [], layer.batch_shape[1:]
    else:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        inbound, shape = [tensor._keras_history.operation.name for tensor in inputs], layer.output.shape[1:]
    return {
        "index": index,
        "name": layer.name,
        "type": kind,
        "shape": list(shape),
        "inputs": inbound,
        "config": {key: config[key] for key in KEPT.get(kind, [])},
        "weights": [[weight.name, list(weight.shape)] for weight in layer.weights],
    }


def dump(name, include_top):
    keras.backend.clear_session()
    model = MODELS[name](weights=None, include_top=include_top, input_shape=None if include_top else size(name))
    layers = [describe(index, layer) for index, layer in enumerate(model.layers)]
    if name == "efficientnet_lite0":
        layers = lite(layers)
    params = sum(math.prod(shape) for layer in layers for _, shape in layer["weights"])
    assert name == "efficientnet_lite0" or params == model.count_params()
    return params, layers


def lite(layers):
    """The layers of EfficientNetB0 that EfficientNet-Lite0 has."""
    dropped = {layer["name"]: layer["inputs"] for layer in layers if layer["type"] in ("Rescaling", "Normalization") or "_se_" in layer["name"]}

    def source(name):
        # An excited map is the product of the map itself, which is its first input, and its gates.
        while name in dropped:
            name = dropped[name][0]
        return name

    kept = [layer for layer in layers if layer["name"] not in dropped]
    for index, layer in enumerate(kept):
        layer |= {"index": index, "inputs": [source(name) for name in layer["inputs"]]}
        if layer["config"].get("activation") == "silu":
            layer["config"]["activation"] = "relu6"
    return kept


def size(name):
    return (SIDES[name], SIDES[name], 3)


for name in MODELS:
    params, layers = dump(name, True)
    params_without_top, without_top = dump(name, False)
    assert layers[: len(without_top)] == without_top, "the top comes last"
    head = {
        "source": f"keras {keras.__version__}",
        "params": params,
        "without_top": {"layers": len(without_top), "params": params_without_top},
    }
    lines = ",\n".join(json.dumps(layer) for layer in layers)
    text = json.dumps(head)[:-1] + ', "layers": [\n' + lines + "\n]}\n"
    json.loads(text)
    (FIXTURES / f"keras_layers_{name}.json").write_text(text)
