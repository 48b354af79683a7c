"""Writes tests/fixtures/trajectory.json: the losses of a small head under every optimizer of Keras, batch by batch.

One network (dense, relu; dense, softmax), the same initial weights and batches for every optimizer; the metrics are reset
before each step, so that a loss is that of its batch alone. Needs Keras 3 with TensorFlow: make goldens
"""

import json
import pathlib

import keras
import numpy as np

STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 20, 4, 6, 8, 3
FIXTURE = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "trajectory.json"

SGD = keras.optimizers.SGD
CASES = {
    "sgd": dict(optimizer=lambda: SGD(0.1)),
    "sgd_momentum": dict(optimizer=lambda: SGD(0.05, momentum=0.9)),
    "sgd_nesterov": dict(optimizer=lambda: SGD(0.05, momentum=0.9, nesterov=True)),
    # Keras 3 has no SGD(decay=): lr / (1 + decay * t), t from 0, is this schedule.
    "sgd_decay": dict(
        optimizer=lambda: SGD(keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5), momentum=0.9)
    ),
    "sgd_cosine": dict(optimizer=lambda: SGD(keras.optimizers.schedules.CosineDecay(0.1, STEPS), momentum=0.9)),
    "rmsprop": dict(optimizer=lambda: keras.optimizers.RMSprop(0.01)),
    "rmsprop_momentum": dict(optimizer=lambda: keras.optimizers.RMSprop(0.01, rho=0.8, momentum=0.5)),
    "adam": dict(optimizer=lambda: keras.optimizers.Adam(0.01)),
    "l2": dict(optimizer=lambda: SGD(0.1, momentum=0.9), l2=0.01),
    "class_weights": dict(optimizer=lambda: SGD(0.1, momentum=0.9), class_weights=[0.5, 1.0, 2.5]),
}


def model(weights, l2):
    regularizer = keras.regularizers.L2(l2) if l2 else None
    network = keras.Sequential(
        [
            keras.Input((INPUTS,)),
            keras.layers.Dense(HIDDEN, activation="relu", kernel_regularizer=regularizer),
            keras.layers.Dense(CLASSES, activation="softmax", kernel_regularizer=regularizer),
        ]
    )
    network.set_weights(weights)
    return network


def losses(weights, inputs, labels, optimizer, l2=0.0, class_weights=None):
    network = model(weights, l2)
    network.compile(optimizer(), loss="sparse_categorical_crossentropy")
    found = []
    for batch, classes in zip(inputs, labels):
        network.reset_metrics()
        options = {"class_weight": dict(enumerate(class_weights))} if class_weights else {}
        found.append(float(network.train_on_batch(batch, classes, **options)))
    return found


def numbers(array):
    return [float(f"{value:.9g}") for value in np.asarray(array, np.float32).ravel()]


def main():
    random = np.random.default_rng(3)
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    weights = [random.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]
    inputs = random.normal(0, 1, (STEPS, BATCH, INPUTS)).astype(np.float32)
    labels = random.integers(0, CLASSES, (STEPS, BATCH))
    content = {
        "source": f"keras {keras.__version__}",
        "batch": BATCH,
        "weights": [numbers(array) for array in weights],
        "inputs": [numbers(batch) for batch in inputs],
        "labels": labels.tolist(),
        "losses": {name: numbers(losses(weights, inputs, labels, **case)) for name, case in CASES.items()},
    }
    FIXTURE.write_text(json.dumps(content).replace('], "', '],\n"') + "\n")


if __name__ == "__main__":
    main()
