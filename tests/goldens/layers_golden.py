"""Writes tests/fixtures/golden_{vgg16,inception_v3,efficientnet_lite0}.{json,png}: what Keras computes at every layer from
seeded weights.

The weights are `Seeded::perturbed(SEED)` (see seeded.py), the image is made by a formula and stored as PNG, so a test
needs neither Keras nor a weight file. Per layer: shape, L2 norm, mean, and the largest value by magnitude of each of
eight equal parts of the output (flat position in height-width-channel order, value). Needs Keras 3 with TensorFlow:
make goldens

EfficientNet-Lite0 is no model of Keras's: its layers are, put together as keras_layers_efficientnet_lite0.json says.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

import seeded

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "parity"))
from keras_files import ARCHITECTURES, keras

SEED = 2016
PARTS = 8
WIDTH, HEIGHT = 97, 61
# Mean and half range of the three channels. Kernels keep the scale of what comes in: VGG16's input is not divided by
# anything, so its image stays close to the mean that is subtracted, and the softmax does not saturate.
COLORS = {
    "vgg16": ((124, 117, 104), 6),
    "inception_v3": ((128, 128, 128), 120),
    "efficientnet_lite0": ((127, 127, 127), 120),
}


class Lite0:
    """EfficientNet-Lite0 in Keras's layers."""

    @staticmethod
    def model():
        tensors, inputs = {}, None
        for layer in seeded.architecture("efficientnet_lite0"):
            name, config = layer["name"], layer["config"]
            if layer["type"] == "InputLayer":
                inputs = tensors[name] = keras.Input(layer["shape"], name=name)
                continue
            config = config | ({"rate": 0.2} if layer["type"] == "Dropout" else {})
            sources = [tensors[source] for source in layer["inputs"]]
            made = getattr(keras.layers, layer["type"])(name=name, **config)
            tensors[name] = made(sources if len(sources) > 1 else sources[0])
        return keras.Model(inputs, tensors["predictions"])

    @staticmethod
    def load(path):
        image = Image.open(path).convert("RGB")
        short = min(image.size)
        image = image.resize([256 * side // short for side in image.size], Image.Resampling.BICUBIC)
        left, top = (round((side - 224) / 2) for side in image.size)
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
        return (pixels[None] - 127) / 128


MODELS = ARCHITECTURES | {"efficientnet_lite0": Lite0}


def picture(name):
    """Slow waves and a hash of the position, 8 bits, RGB; neither square nor the model's size."""
    (mean, half) = COLORS[name]
    y, x, channel = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    waves = np.sin(x / 9 + channel) + np.cos(y / 7 - 2 * channel)
    noise = ((x * 73 + y * 151 + channel * 31) ** 2 % 251) / 125 - 1
    pixels = np.round(np.array(mean) + half * (0.3 * waves + 0.4 * noise))
    return keras.utils.array_to_img(pixels, scale=False)


def describe(layer, output):
    flat = output.ravel()
    edges = [part * flat.size // PARTS for part in range(PARTS + 1)]
    peaks = [start + int(np.argmax(np.abs(flat[start:end]))) for start, end in zip(edges, edges[1:])]
    exact = flat.astype(np.float64)
    return {
        "name": layer.name,
        "shape": list(output.shape),
        "norm": float(f"{np.linalg.norm(exact):.9g}"),
        "mean": float(f"{exact.mean():.9g}"),
        "peaks": [[position, float(f"{flat[position]:.9g}")] for position in peaks],
    }


def golden(name):
    architecture = MODELS[name]
    png = seeded.FIXTURES / f"golden_{name}.png"
    picture(name).save(png, optimize=True)
    model = architecture.model()
    model.set_weights(seeded.weights(seeded.architecture(name), SEED, perturbed=True))
    taps = keras.Model(model.input, [layer.output for layer in model.layers])
    outputs = [output[0] for output in taps.predict(architecture.load(png), verbose=0)]
    scores = outputs[-1]
    best = np.argsort(-scores, kind="stable")[:6]
    gaps = scores[best[:-1]] / scores[best[1:]] - 1
    assert gaps.min() > 1e-3, f"{name}: near ties among the best classes, {gaps}"
    assert scores[best[0]] < 0.9, f"{name}: the softmax saturates, {scores[best]}"
    return {
        "source": f"keras {keras.__version__}",
        "seed": SEED,
        "image": png.name,
        "top_5": [{"index": int(index), "score": float(f"{scores[index]:.9g}")} for index in best[:5]],
        "layers": [describe(layer, output) for layer, output in zip(model.layers, outputs)],
    }


def main():
    for name in sys.argv[1:] or MODELS:
        content = golden(name)
        layers = ",\n".join(json.dumps(layer) for layer in content.pop("layers"))
        head = json.dumps(content)[:-1]
        (seeded.FIXTURES / f"golden_{name}.json").write_text(f'{head}, "layers": [\n{layers}\n]}}\n')


if __name__ == "__main__":
    main()
