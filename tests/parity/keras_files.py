"""Keras models with random weights, and the four kinds of weight files that Keras has written since 2016."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

Array = np.ndarray


@dataclass(frozen=True)
class Architecture:
    """One of the two, as Keras has it."""

    name: str
    size: int
    build: Callable[..., keras.Model]
    preprocess: Callable[[Array], Array]

    def load(self, photo: Path) -> Array:
        """The input of the model for a photo: Keras's own `load_img` and `preprocess_input`, shape (1, h, w, 3)."""
        image = keras.utils.load_img(photo, target_size=(self.size, self.size))
        return self.preprocess(keras.utils.img_to_array(image)[np.newaxis])

    def model(self, include_top: bool = True) -> keras.Model:
        """The model with Keras's own layer names, which count up within a session."""
        keras.utils.clear_session()
        return self.build(weights=None, include_top=include_top, input_shape=(self.size, self.size, 3))


ARCHITECTURES = {
    "vgg16": Architecture(
        "vgg16", 224, keras.applications.VGG16, keras.applications.vgg16.preprocess_input
    ),
    "inception_v3": Architecture(
        "inception_v3", 299, keras.applications.InceptionV3, keras.applications.inception_v3.preprocess_input
    ),
}


def randomize(model: keras.Model, seed: int, inputs: Array) -> None:
    """Random kernels that keep the scale of activations, random biases and BatchNorm statistics.

    `predictions` is scaled so that the logits of `inputs` have a standard deviation of 1.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        layer.set_weights([_random(rng, weight.name, weight.shape) for weight in layer.weights])
    head = model.get_layer("predictions")
    before = keras.Model(model.input, head.input).predict(inputs, verbose=0)
    kernel, bias = head.get_weights()
    head.set_weights([kernel / np.std(before @ kernel), bias])


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    if name == "kernel":
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    centre, spread = {
        "bias": (0, 0.1),
        "gamma": (1, 0.2),
        "beta": (0, 0.1),
        "moving_mean": (0, 0.1),
        "moving_variance": (1, 0.3),
    }[name]
    return rng.uniform(centre - spread, centre + spread, shape).astype(np.float32)


def without_top(architecture: Architecture, model: keras.Model) -> keras.Model:
    """The same weights in the model without its top."""
    weights = [layer.get_weights() for layer in model.layers]
    bare = architecture.model(include_top=False)
    for layer, values in zip(bare.layers, weights):
        layer.set_weights(values)
    return bare


def write_published(model: keras.Model, path: Path) -> None:
    """As the files that Keras published in 2016 (VGG16) and 2017 (InceptionV3) are: layers and datasets named otherwise.

    VGG16: `block1_conv1/block1_conv1_W_1:0`, `…_b_1:0`. InceptionV3: layers count from 1, `conv2d_1/kernel:0`.
    """
    _write_layers(model, path, lambda names: np.array([name.encode() for name in names]))


def write_variable_length(model: keras.Model, path: Path) -> None:
    """The published layout with attributes of variable-length strings, as some h5py versions wrote them."""
    _write_layers(model, path, lambda names: np.array(names, dtype=h5py.string_dtype()))


def _write_layers(model: keras.Model, path: Path, strings: Callable[[list[str]], Array]) -> None:
    names = {layer: _published_layer(layer) for layer in model.layers}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = strings([names[layer] for layer in model.layers])
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.0"
        for layer in model.layers:
            group = file.create_group(names[layer])
            weights = [_published_weight(names[layer], weight.name) for weight in layer.weights]
            group.attrs["weight_names"] = strings(weights) if weights else np.zeros(0)
            for name, values in zip(weights, layer.get_weights()):
                group.create_dataset(name, data=values)


def _published_layer(layer: keras.Layer) -> str:
    stem, _, number = layer.name.rpartition("_")
    if layer.name in ("conv2d", "batch_normalization", "activation", "input_layer", "concatenate"):
        return f"{layer.name}_1".replace("input_layer", "input")
    if stem in ("conv2d", "batch_normalization", "activation", "concatenate"):
        return f"{stem}_{int(number) + 1}"
    return layer.name


def _published_weight(layer: str, weight: str) -> str:
    if layer.startswith(("block", "fc")):
        return f"{layer}_{ {'kernel': 'W', 'bias': 'b'}[weight] }_1:0"
    return f"{layer}/{weight}:0"


def write_legacy(model: keras.Model, path: Path) -> None:
    """The layout with `layer_names`, as Keras writes it today."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def write_whole(model: keras.Model, path: Path) -> None:
    """A whole model: the layout with `layer_names` under `model_weights`."""
    model.save(path, include_optimizer=False)


def write_keras3(model: keras.Model, path: Path) -> None:
    """Keras 3's own: `layers/conv2d_1/vars/0`."""
    model.save_weights(path)


@dataclass(frozen=True)
class Kind:
    """A kind of weight file."""

    name: str
    suffix: str
    write: Callable[[keras.Model, Path], None]
    top: bool = True


KINDS = [
    Kind("published", ".h5", write_published),
    Kind("legacy", ".h5", write_legacy),
    Kind("whole", ".h5", write_whole),
    Kind("keras3", ".weights.h5", write_keras3),
    Kind("published-notop", ".h5", write_published, top=False),
    Kind("variable-notop", ".h5", write_variable_length, top=False),
    Kind("keras3-notop", ".weights.h5", write_keras3, top=False),
]
