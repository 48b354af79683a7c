"""Compares fine-tuning with Keras, batch by batch: `make trajectory`.

`prepare` writes a weight file, photos and recipes; tests/parity/trajectory.rs runs each recipe as graft's trainer runs a
job, and writes the head that it began with and every step's images and loss; `compare` takes the same steps in Keras, from
the same weights, on the same batches, with the metrics reset before each step. Exits with 1 when a loss is off.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np

import keras_files
from keras_files import Array, keras

ROOT = Path(__file__).resolve().parents[2]
INCEPTION = keras_files.ARCHITECTURES["inception_v3"]
CLASSES, PHOTOS = ["checks", "discs", "stripes", "waves"], 9
# 36 photos: five steps an epoch, the last of four photos.
BATCH, EPOCHS, STEPS = 8, 4, 20
HIDDEN = 1024
# Of a batch's loss, or of LEAST where the loss is less.
BOUND, LEAST = 1e-3, 0.05
# Share of the first loss that the last one must be under for a comparison to say anything.
LEARNT = 0.75


@dataclass(frozen=True)
class Phase:
    """What trains, and by which optimizer: as a recipe says it, and as Keras makes it."""

    recipe: dict
    optimizer: Callable[[], keras.optimizers.Optimizer]


def head(rate: float) -> Phase:
    """The head alone."""
    optimizer = {"type": "rmsprop", "learning_rate": rate}
    return Phase({"trainable": "head", "optimizer": optimizer}, lambda: keras.optimizers.RMSprop(rate))


def blocks(rate: float, nesterov: bool = False, decay: float = 0.0) -> Phase:
    """The two blocks above `mixed8`, `model.layers[249:]`, and the head."""
    optimizer = {"type": "sgd", "learning_rate": rate, "momentum": 0.9, "nesterov": nesterov, "learning_rate_decay": decay}
    # Keras 3 ignores SGD(decay=); rate / (1 + decay * t), t from 0, is this schedule.
    schedule = keras.optimizers.schedules.InverseTimeDecay(rate, 1, decay) if decay else rate
    return Phase(
        {"trainable_from": 249, "optimizer": optimizer},
        lambda: keras.optimizers.SGD(schedule, momentum=0.9, nesterov=nesterov),
    )


@dataclass(frozen=True)
class Case:
    phases: list[Phase]
    batch_norm: str = "frozen"

    def recipe(self, name: str) -> dict:
        return {
            "dataset": "photos",
            "name": name,
            "head": {"hidden": [HIDDEN]},
            "phases": [{"epochs": EPOCHS, **phase.recipe} for phase in self.phases],
            "batch_size": BATCH,
            "validation_split": 0,
            "batch_norm": self.batch_norm,
        }


# Rates at which the loss falls visibly, and rounding does not grow to a thousandth within the steps.
CASES = {
    "head": Case([head(1e-3)]),
    "momentum": Case([blocks(5e-4)]),
    "nesterov": Case([blocks(5e-4, nesterov=True)]),
    "decay": Case([blocks(1e-3, decay=0.1)]),
    "affine": Case([blocks(1e-3)], batch_norm="affine"),
    "two_phases": Case([head(3e-5), blocks(5e-4)]),
}


def main() -> int:
    options = parse_arguments()
    if options.command == "prepare":
        options.work.mkdir(parents=True, exist_ok=True)
        prepare(options.work, options.weights)
        return 0
    return compare(options.work)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "compare"])
    parser.add_argument("--work", type=Path, default=ROOT / ".parity/trajectory", help="where both sides read and write")
    parser.add_argument("--weights", type=Path, help="prepare: InceptionV3's weights in any of Keras's files [default: random]")
    return parser.parse_args()


def prepare(work: Path, weights: Path | None) -> None:
    (work / "runs.json").unlink(missing_ok=True)
    rng = np.random.default_rng(8)
    for label in CLASSES:
        folder = work / "photos" / label
        folder.mkdir(parents=True, exist_ok=True)
        colours = rng.choice([30, 225], (2, 3))
        for number in range(PHOTOS):
            keras.utils.array_to_img(photo(rng, label, colours), scale=False).save(folder / f"{number}.png")
    if weights is None:
        weights = work / "random.h5"
        model = INCEPTION.model()
        inputs = np.concatenate([INCEPTION.load(path) for path in sorted(work.glob("photos/*/*.png"))])
        keras_files.randomize(model, 8, inputs)
        normalise(model, inputs)
        keras_files.write_legacy(model, weights)
    recipes = {name: case.recipe(name) for name, case in CASES.items()}
    (work / "cases.json").write_text(json.dumps({"weights": str(weights.resolve()), "recipes": recipes}))


def normalise(model: keras.Model, inputs: Array) -> None:
    """Gives every normalisation the statistics of `inputs`, and a shift that lets most values through its relu.

    As they are, random layers make all photos the same and rounding errors large. All activations are then divided by
    `scale`, which brings `mixed8` to the size that trained layers give it.
    """
    shift, scale = 1.5, 5
    layers = normalisations(model)
    for layer in layers:
        layer.momentum = 0.0
        beta, mean, variance = layer.get_weights()
        layer.set_weights([beta + shift, mean, variance])
    model(inputs, training=True)
    for number, layer in enumerate(layers):
        beta, mean, variance = layer.get_weights()
        # The first one's inputs come from the photos, all others' from activations.
        statistics = [mean / scale, variance] if number else [mean, variance * scale**2]
        layer.set_weights([beta / scale, *statistics])


def normalisations(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def photo(rng: np.random.Generator, label: str, colours: Array) -> Array:
    """The label's pattern, about its colours, and noise: 299 by 299, 0 to 255."""
    y, x = np.mgrid[:299, :299] - rng.uniform(0, 299, (2, 1, 1))
    period = rng.uniform(30, 60)
    wave = lambda value: np.sin(2 * math.pi * value / period)
    pattern = {
        "checks": np.sign(wave(x) * wave(y)),
        "discs": np.sign(wave(x) + wave(y) - 0.5),
        "stripes": np.sign(wave(x)),
        "waves": wave(np.hypot(x, y)),
    }[label]
    image = np.where(pattern[..., np.newaxis] > 0, *(colours + rng.normal(0, 5, colours.shape))) + rng.normal(0, 15, (299, 299, 3))
    return np.clip(np.rint(image), 0, 255)


@dataclass
class Row:
    """The losses of a case, on both sides."""

    name: str
    steps: int
    expected: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)

    def worst(self) -> float:
        """The largest difference, as a share of the loss; what is not a number is infinite."""
        shares = [abs(a - b) / max(b, LEAST) for a, b in zip(self.found, self.expected)]
        return math.inf if any(math.isnan(share) for share in shares) else max(shares, default=math.inf)

    def failures(self) -> list[str]:
        failures = []
        if len(self.expected) != self.steps:
            failures.append(f"{self.name}: {len(self.expected)} steps instead of {self.steps}")
        if self.worst() > BOUND:
            failures.append(f"{self.name}: a loss is off by {self.worst():.1e} of Keras's, more than {BOUND:.0e}")
        if not self.expected or not self.expected[-1] < LEARNT * self.expected[0]:
            failures.append(f"{self.name}: Keras learns too little for the comparison to say anything")
        return failures


def compare(work: Path) -> int:
    weights = Path(json.loads((work / "cases.json").read_text())["weights"])
    runs = json.loads((work / "runs.json").read_text())
    first = np.load(work / "head.npz")
    base = load(weights)
    names = sorted(path.relative_to(work / "photos").as_posix() for path in work.glob("photos/*/*.png"))
    inputs = np.concatenate([INCEPTION.load(work / "photos" / name) for name in names])
    mixed8 = keras.Model(base.input, base.get_layer("mixed8").output).predict(inputs, batch_size=BATCH, verbose=0)
    features = dict(zip(names, mixed8))
    rows = []
    for name, case in CASES.items():
        print(f"{name}: Keras takes the steps", flush=True)
        network = Network(base, first, case.batch_norm)
        row = Row(name, STEPS * len(case.phases))
        for number, phase in enumerate(case.phases):
            network.begin(phase)
            for step in (step for step in runs[name] if step["phase"] == number):
                row.found.append(step["loss"])
                row.expected.append(network.step(features, step["images"]))
        rows.append(row)
    return report(weights, rows)


def load(weights: Path) -> keras.Model:
    """InceptionV3 with a file's weights, with its top if the file has it."""
    try:
        model = INCEPTION.model()
        model.load_weights(weights)
    except ValueError:
        model = INCEPTION.model(include_top=False)
        model.load_weights(weights)
    return model


class Network(keras.Model):
    """What lies behind `mixed8`, and a head with graft's first weights."""

    def __init__(self, base: keras.Model, first: dict[str, Array], batch_norm: str):
        super().__init__()
        copy = keras.models.clone_model(base)
        copy.set_weights(base.get_weights())
        self.blocks = keras.Model(copy.get_layer("mixed8").output, copy.get_layer("mixed10").output)
        self.is_affine = batch_norm == "affine"
        dense = {
            "dense": keras.layers.Dense(HIDDEN, activation="relu"),
            "predictions": keras.layers.Dense(len(CLASSES), activation="softmax"),
        }
        self.head = keras.Sequential(
            [keras.Input(self.blocks.output.shape[1:]), keras.layers.GlobalAveragePooling2D(), *dense.values()]
        )
        for name, layer in dense.items():
            layer.set_weights([first[f"{name}/kernel"], first[f"{name}/bias"]])

    def call(self, mixed8: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        # A normalisation that does not train keeps its statistics by itself; one whose shift trains must be told.
        return self.head(self.blocks(mixed8, training=False if self.is_affine else training))

    def begin(self, phase: Phase) -> None:
        self.blocks.trainable = "trainable_from" in phase.recipe
        for layer in normalisations(self.blocks):
            layer.trainable = self.blocks.trainable and self.is_affine
        self.compile(phase.optimizer(), loss="sparse_categorical_crossentropy")

    def step(self, features: dict[str, Array], names: list[str]) -> float:
        before = self.statistics()
        labels = np.array([CLASSES.index(name.split("/")[0]) for name in names])
        self.reset_metrics()
        loss = self.train_on_batch(np.stack([features[name] for name in names]), labels)
        if any((a != b).any() for a, b in zip(before, self.statistics())):
            raise SystemExit("Keras has changed the statistics of its batch normalisation: this is no reference")
        return float(loss)

    def statistics(self) -> list[Array]:
        return [values for layer in normalisations(self.blocks) for values in layer.get_weights()[-2:]]


def report(weights: Path, rows: list[Row]) -> int:
    print(f"\nInceptionV3 with {weights.name}, Keras {keras.__version__}, {BATCH} photos a step")
    print(f"| case | steps | first loss | last loss | worst |delta| / max(loss, {LEAST}) |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.name} | {row.steps} | {row.expected[0]:.4f} | {row.expected[-1]:.4f} | {row.worst():.1e} |")
    failures = [failure for row in rows for failure in row.failures()]
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"trajectory: {len(failures)} failures" if failures else f"trajectory: every batch within {BOUND:.0e} of Keras")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
