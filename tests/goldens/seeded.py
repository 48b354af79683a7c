"""graft's seeded weights (src/weights/seeded.rs) in numpy.

Run from the repository's root, it writes tests/fixtures/seeded.json: python tests/goldens/seeded.py
"""

import hashlib
import json
import math
import pathlib

import numpy as np

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def fans(shape):
    area = math.prod(shape[:-2])
    return shape[-2] * area, shape[-1] * area


def spread(name, shape, perturbed, depthwise=False):
    """Centre and half width of a tensor's values."""
    if name == "kernel":
        fan_in, fan_out = fans(shape)
        if depthwise and perturbed:
            return 0.0, math.sqrt(6 / fan_out)
        return 0.0, math.sqrt(6 / fan_in) if perturbed else math.sqrt(6 / (fan_in + fan_out))
    centre = 1.0 if name in ("gamma", "moving_variance") else 0.0
    return centre, {"gamma": 0.2, "moving_variance": 0.3}.get(name, 0.1) if perturbed else 0.0


def tensor(position, name, shape, seed, perturbed, depthwise=False):
    centre, half = spread(name, shape, perturbed, depthwise)
    with np.errstate(over="ignore"):
        key = mix(np.uint64(seed) ^ mix(np.uint64(position + 1)))
        bits = mix(key + np.arange(math.prod(shape), dtype=np.uint64) * GOLDEN_GAMMA)
    unit = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    values = np.float32(centre) + (np.float32(2) * unit - np.float32(1)) * np.float32(half)
    return values.astype(np.float32).reshape(shape)


def weights(layers, seed, perturbed=False):
    """All weight tensors of `layers` (each with `weights`: [[name, shape], …]), in the order of `model.get_weights()`."""
    specs = [(name, tuple(shape), is_depthwise(layer)) for layer in layers for name, shape in layer["weights"]]
    return [tensor(position, name, shape, seed, perturbed, depthwise) for position, (name, shape, depthwise) in enumerate(specs)]


def is_depthwise(layer):
    return layer.get("type") == "DepthwiseConv2D"


def architecture(name):
    return json.loads((FIXTURES / f"keras_layers_{name}.json").read_text())["layers"]


def golden(name, layer_name, seed, perturbed):
    position = 0
    for layer in architecture(name):
        if layer["name"] == layer_name:
            break
        position += len(layer["weights"])
    tensors = []
    for offset, (weight, shape) in enumerate(layer["weights"]):
        values = tensor(position + offset, weight, tuple(shape), seed, perturbed, is_depthwise(layer))
        flat = values.ravel()
        tensors.append(
            {
                "first": [float(value) for value in flat[:3]],
                "last": float(flat[-1]),
                "sha256": hashlib.sha256(values.astype("<f4").tobytes()).hexdigest(),
            }
        )
    return {"arch": name, "layer": layer_name, "seed": seed, "perturbed": perturbed, "tensors": tensors}


if __name__ == "__main__":
    cases = [
        golden("vgg16", "block1_conv1", 0, False),
        golden("vgg16", "predictions", 1, False),
        golden("vgg16", "block2_conv2", 2**64 - 1, True),
        golden("inception_v3", "conv2d", 7, False),
        golden("inception_v3", "batch_normalization_5", 7, False),
        golden("inception_v3", "batch_normalization_93", 7, True),
        golden("inception_v3", "conv2d_60", 7, True),
        golden("efficientnet_lite0", "block3a_dwconv", 7, False),
        golden("efficientnet_lite0", "block3a_dwconv", 7, True),
    ]
    (FIXTURES / "seeded.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
