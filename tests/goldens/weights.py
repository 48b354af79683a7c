"""Writes tests/fixtures/weights/*.h5: one toy model in every layout that graft reads, by Keras 3 and h5py.

The toy is `toy()` in src/weights/keras/tests.rs. Element i of weight tensor p is ((31 p + 7 i) mod 101 - 50) / 64.
Run it from the repository's root: python tests/goldens/weights.py
"""

import pathlib

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "weights"


def toy(include_top):
    keras.backend.clear_session()
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Activation("relu")(x)
    left = layers.Conv2D(5, (1, 3), padding="same", activation="relu")(x)
    right = layers.Conv2D(6, (3, 1), padding="same", activation="relu")(x)
    x = layers.Concatenate()([left, right])
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if include_top:
        x = layers.Dense(7, activation="softmax", name="predictions")(x)
    model = keras.Model(image, x)
    model.set_weights([values(p, w.shape) for p, w in enumerate(model.get_weights())])
    return model


def values(position, shape):
    count = int(np.prod(shape))
    return (((31 * position + 7 * np.arange(count)) % 101 - 50) / 64).astype(np.float32).reshape(shape)


# Names as in the files that Keras published: VGG16's for kernels and biases, InceptionV3's for the rest.
NAMES_2016 = {"kernel": "{}_W_1:0", "bias": "{}_b_1:0"}


def write_2016(path, model):
    """Fixed-length names, every layer listed, keras_version absent (Keras 1)."""
    with h5py.File(path, "w", libver="earliest") as file:
        names = [f"old_{index}" for index in range(len(model.layers))]
        file.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name, layer in zip(names, model.layers):
            group = file.create_group(name)
            weights = [NAMES_2016.get(w.name, "{}/" + w.name + ":0").format(name) for w in layer.weights]
            group.attrs["weight_names"] = np.array([weight.encode() for weight in weights])
            for weight, value in zip(weights, layer.get_weights()):
                group.create_dataset(weight, data=value)


def write_packed(path, model):
    """Newest HDF5 structures, gzip chunks, and lists of names split into pieces as Keras splits long ones."""
    with h5py.File(path, "w", libver="latest") as file:
        weighted = [layer for layer in model.layers if layer.weights]
        for piece, part in enumerate(np.array_split(np.array([layer.name.encode() for layer in weighted]), 3)):
            file.attrs[f"layer_names{piece}"] = part
        for layer in weighted:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [w.path for w in layer.weights]
            for w, value in zip(layer.weights, layer.get_weights()):
                chunks = tuple(max(1, (side + 1) // 2) for side in value.shape)
                options = {"chunks": chunks, "compression": "gzip", "shuffle": True, "fletcher32": True}
                group.create_dataset(w.path, data=value, **options)


def write_double(path, model):
    with h5py.File(path, "w", libver="latest") as file:
        for index, layer in enumerate(layer for layer in model.layers if layer.weights):
            name = f"layer_{index}"
            group = file.create_group(name)
            group.attrs["weight_names"] = [w.name for w in layer.weights]
            for w, value in zip(layer.weights, layer.get_weights()):
                group[w.name] = value.astype(np.float64)
        file.attrs["layer_names"] = sorted(file.keys())


def write_shapes(path, model):
    """The legacy layout with datasets that were never written: all headers, hardly any bytes."""
    with h5py.File(path, "w", libver="latest") as file:
        weighted = [layer for layer in model.layers if layer.weights]
        file.attrs["layer_names"] = [layer.name for layer in weighted]
        for layer in weighted:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [w.name for w in layer.weights]
            for w in layer.weights:
                group.create_dataset(w.name, w.shape, dtype="float32")


model = toy(True)
write_2016(OUT / "keras_2016.h5", model)
write_packed(OUT / "packed.h5", model)
write_double(OUT / "float64.h5", model)
with h5py.File(OUT / "legacy.h5", "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, model)
model.save_weights(OUT / "keras_3.weights.h5")
toy(False).save_weights(OUT / "keras_3_notop.weights.h5")
model.compile("sgd", "mse")
model.fit(np.zeros((1, 8, 8, 3)), np.zeros((1, 7)), verbose=0, epochs=0)
model.optimizer.build(model.trainable_variables)
model.save(OUT / "whole_model.h5")
with h5py.File(OUT / "foreign.h5", "w", libver="latest") as file:
    file["temperature"] = np.zeros(3)
write_shapes(OUT / "vgg16_notop_shapes.h5", keras.applications.VGG16(weights=None, include_top=False))
