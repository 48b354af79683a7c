"""Compares fine-tuning with Keras, batch by batch: `make trajectory`.

`prepare` writes a weight file, photos and recipes; tests/parity/trajectory.rs runs each recipe as graft's trainer runs a
job, and writes the head that it began with and every step's images and loss; `compare` takes the same steps in Keras, from
the same weights, on the same batches, with the metrics reset before each step.

Steps amplify rounding: at high rates Keras's own losses depend on the precision it computes in. So every case runs at every
rate of RATES, in Keras with float32 and with float64, and judges graft where Keras tells what is right: where its two
precisions agree ten times better than graft is asked to agree with Keras. Exits with 1 when a loss is off there, or when a
case has no such rate at which Keras learns.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

import keras_files
from keras_files import Array, keras

ROOT = Path(__file__).resolve().parents[2]
INCEPTION = keras_files.ARCHITECTURES["inception_v3"]
SUFFIXES = {".jpg", ".jpeg", ".png"}
PATTERNS = ["checks", "discs", "stripes", "waves"]
# Of all classes together: five steps an epoch, the last of four photos; twenty steps in all.
PHOTOS, BATCH, EPOCHS = 36, 8, 4
HIDDEN = 1024
# Half-decades about the defaults of a recipe: RMSprop's 1e-3 and SGD's 1e-4.
RATES = [1e-4, 3e-4, 1e-3, 3e-3]
PRECISIONS = ["float32", "float64"]
# Of a batch's loss, or of LEAST where the loss is less.
BOUND, LEAST = 1e-3, 0.05
# Keras's precisions must agree within this share of BOUND for the rest to be judged.
AGREED = 0.1
# Share of the first loss that the last one must be under for a comparison to say anything.
LEARNT = 0.9


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


def cases() -> dict[str, Case]:
    """Every case at every rate, as `momentum-0.001`."""
    kinds = {
        "head": lambda rate: Case([head(rate)]),
        "momentum": lambda rate: Case([blocks(rate)]),
        "nesterov": lambda rate: Case([blocks(rate, nesterov=True)]),
        "decay": lambda rate: Case([blocks(rate, decay=0.1)]),
        "affine": lambda rate: Case([blocks(rate)], batch_norm="affine"),
        # A head that has learnt all there is would leave nothing to the second phase.
        "two_phases": lambda rate: Case([head(rate / 10), blocks(rate)]),
    }
    return {f"{kind}-{rate:g}": case(rate) for kind, case in kinds.items() for rate in RATES}


def main() -> int:
    options = parse_arguments()
    if options.command == "prepare":
        options.work.mkdir(parents=True, exist_ok=True)
        prepare(options.work, options.weights, options.photos)
        return 0
    return compare(options.work)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["prepare", "compare"])
    parser.add_argument("--work", type=Path, default=ROOT / ".parity/trajectory", help="where both sides read and write")
    parser.add_argument("--weights", type=Path, help="prepare: InceptionV3's weights in any of Keras's files [default: random]")
    parser.add_argument("--photos", type=Path, help=f"prepare: class folders, {PHOTOS} photos are taken [default: drawn]")
    return parser.parse_args()


def prepare(work: Path, weights: Path | None, photos: Path | None) -> None:
    (work / "runs.json").unlink(missing_ok=True)
    shutil.rmtree(work / "photos", ignore_errors=True)
    draw(work / "photos") if photos is None else take(photos, work / "photos")
    if weights is None:
        weights = work / "random.h5"
        model = INCEPTION.model()
        inputs = load_photos(work, listing(work)[0])
        keras_files.randomize(model, 8, inputs)
        normalise(model, inputs)
        keras_files.write_legacy(model, weights)
    recipes = {name: case.recipe(name) for name, case in cases().items()}
    (work / "cases.json").write_text(json.dumps({"weights": str(weights.resolve()), "recipes": recipes}))


def draw(photos: Path) -> None:
    rng = np.random.default_rng(8)
    for label in PATTERNS:
        folder = photos / label
        folder.mkdir(parents=True)
        colours = rng.choice([30, 225], (2, 3))
        for number in range(PHOTOS // len(PATTERNS)):
            keras.utils.array_to_img(photo(rng, label, colours), scale=False).save(folder / f"{number}.png")


def take(source: Path, photos: Path) -> None:
    """Takes the first of each class, at the model's size and without loss: decoders of JPEG are not what is compared."""
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    for folder in folders:
        (photos / folder.name).mkdir(parents=True)
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in paths[: PHOTOS // len(folders)]:
            image = keras.utils.load_img(path, target_size=(INCEPTION.size, INCEPTION.size))
            image.save(photos / folder.name / f"{path.stem}.png")


def listing(work: Path) -> tuple[list[str], list[str]]:
    """Photos as `class/name.png`, and classes in the order of their indices."""
    names = sorted(path.relative_to(work / "photos").as_posix() for path in work.glob("photos/*/*.png"))
    return names, sorted({name.split("/")[0] for name in names})


def load_photos(work: Path, names: list[str]) -> Array:
    return np.concatenate([INCEPTION.load(work / "photos" / name) for name in names])


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
    image = np.where(pattern[..., np.newaxis] > 0, *(colours + rng.normal(0, 5, colours.shape)))
    return np.clip(np.rint(image + rng.normal(0, 15, (299, 299, 3))), 0, 255)


@dataclass
class Row:
    """The losses of a case at a rate: graft's, and Keras's in each precision."""

    name: str
    steps: int
    found: list[float]
    expected: dict[str, list[float]]

    @property
    def agreed(self) -> float:
        """How far Keras is from itself."""
        return worst(self.expected["float32"], self.expected["float64"])

    @property
    def counts(self) -> bool:
        return self.agreed <= AGREED * BOUND and self.has_learnt

    @property
    def has_learnt(self) -> bool:
        losses = self.expected["float64"]
        return bool(losses) and losses[-1] < LEARNT * losses[0]

    def delta(self, precision: str = "float32") -> float:
        return worst(self.found, self.expected[precision])

    def failures(self) -> list[str]:
        failures = []
        if len(self.found) != self.steps:
            failures.append(f"{self.name}: {len(self.found)} steps instead of {self.steps}")
        if self.counts and self.delta() > BOUND:
            failures.append(f"{self.name}: a loss is off by {self.delta():.1e} of Keras's, more than {BOUND:.0e}")
        return failures


def worst(found: list[float], expected: list[float]) -> float:
    """The largest difference, as a share of the loss; what is not a number is infinite."""
    shares = [abs(a - b) / max(b, LEAST) for a, b in zip(found, expected)]
    return math.inf if any(math.isnan(share) for share in shares) else max(shares, default=math.inf)


def compare(work: Path) -> int:
    weights = Path(json.loads((work / "cases.json").read_text())["weights"])
    runs = json.loads((work / "runs.json").read_text())
    steps = EPOCHS * math.ceil(len(listing(work)[0]) / BATCH)
    rows = [
        Row(name, steps * len(case.phases), [step["loss"] for step in runs[name]], {}) for name, case in cases().items()
    ]
    for precision in PRECISIONS:
        keras.config.set_floatx(precision)
        reference = Reference(work, weights)
        for row in rows:
            print(f"{row.name}: Keras takes the steps in {precision}", flush=True)
            row.expected[precision] = reference.losses(cases()[row.name], runs[row.name])
    return report(weights, rows)


class Reference:
    """Keras, in the precision that it is set to."""

    def __init__(self, work: Path, weights: Path):
        self.first = np.load(work / "head.npz")
        base = load(weights)
        names, self.classes = listing(work)
        mixed8, mixed10 = (base.get_layer(name).output for name in ("mixed8", "mixed10"))
        self.blocks = keras.Model(mixed8, mixed10)
        until = keras.Model(base.input, mixed8)
        self.features = dict(zip(names, until.predict(load_photos(work, names), batch_size=BATCH, verbose=0)))

    def losses(self, case: Case, steps: list[dict]) -> list[float]:
        """Of the steps that graft took, on the images that it took."""
        network = Network(self.blocks, self.first, case.batch_norm)
        losses = []
        for number, phase in enumerate(case.phases):
            network.begin(phase)
            for step in (step for step in steps if step["phase"] == number):
                labels = np.array([self.classes.index(name.split("/")[0]) for name in step["images"]])
                losses.append(network.step(np.stack([self.features[name] for name in step["images"]]), labels))
        # Keras's models hold each other: a hundred megabytes each, of which there are many.
        del network
        gc.collect()
        return losses


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

    def __init__(self, blocks: keras.Model, first: dict[str, Array], batch_norm: str):
        super().__init__()
        self.blocks = keras.models.clone_model(blocks)
        self.blocks.set_weights(blocks.get_weights())
        self.is_affine = batch_norm == "affine"
        dense = {
            "dense": keras.layers.Dense(HIDDEN, activation="relu"),
            "predictions": keras.layers.Dense(len(first["predictions/bias"]), activation="softmax"),
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

    def step(self, mixed8: Array, labels: Array) -> float:
        before = self.statistics()
        self.reset_metrics()
        loss = self.train_on_batch(mixed8, labels)
        if any((a != b).any() for a, b in zip(before, self.statistics())):
            raise SystemExit("Keras has changed the statistics of its batch normalisation: this is no reference")
        return float(loss)

    def statistics(self) -> list[Array]:
        return [values for layer in normalisations(self.blocks) for values in layer.get_weights()[-2:]]


def report(weights: Path, rows: list[Row]) -> int:
    print(f"\nInceptionV3 with {weights.name}, Keras {keras.__version__}, {BATCH} photos a step")
    print(f"worst |delta| / max(loss, {LEAST}), and whether it counts: Keras's precisions agree within {AGREED * BOUND:.0e}")
    print("| case-rate | first loss | last loss | graft - float32 | graft - float64 | float32 - float64 | counts |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        losses = row.expected["float64"]
        deltas = f"{row.delta():.1e} | {row.delta('float64'):.1e} | {row.agreed:.1e}"
        print(f"| {row.name} | {losses[0]:.4f} | {losses[-1]:.4f} | {deltas} | {'yes' if row.counts else 'no'} |")
    failures = [failure for row in rows for failure in row.failures()]
    for kind in dict.fromkeys(kind_of(row) for row in rows):
        if not any(row.counts for row in rows if kind_of(row) == kind):
            failures.append(f"{kind}: at no rate Keras both learns and agrees with itself, so nothing is compared")
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"trajectory: {len(failures)} failures" if failures else f"trajectory: every batch within {BOUND:.0e} of Keras")
    return 1 if failures or not rows else 0


def kind_of(row: Row) -> str:
    return row.name.partition("-")[0]


if __name__ == "__main__":
    sys.exit(main())
