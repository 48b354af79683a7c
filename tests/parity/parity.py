"""Compares graft with Keras, layer by layer, over HTTP: `make parity`.

For each architecture: a Keras model with random weights is written as every kind of weight file, each file is imported,
the server is asked for every layer of every photo, and the worst relative difference is printed. Exits with 1 when one
is above the tolerance.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import compare
import keras_files
from client import GraftError, Photo, Server, groups, import_file, weights_sha256
from keras_files import ARCHITECTURES, KINDS, Architecture, Array, Kind, keras

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ["cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg"]
JPEGS = ["cat_720p.jpg", "hot_dog.jpg", "owl.jpg", "tract_elephants.jpg", "ovms_zebra.jpeg", "triton_vulture.jpeg"]
# One VGG16 at a time besides the one that is being replaced.
MAX_LOADED_BYTES = 1_300_000_000
IMPORT_PEAK_BYTES = 1_500_000_000
SPREAD = 12


@dataclass
class Reference:
    """A Keras model and every layer's output for every photo, without the batch dimension."""

    architecture: Architecture
    model: keras.Model
    outputs: dict[Path, dict[str, Array]]

    @classmethod
    def of(cls, architecture: Architecture, model: keras.Model, photos: list[Photo]) -> Reference:
        taps = keras.Model(model.input, [layer.output for layer in model.layers])
        names = [layer.name for layer in model.layers]
        outputs = {}
        for photo in photos:
            values = taps.predict(architecture.load(photo.path), verbose=0)
            outputs[photo.path] = {name: value[0] for name, value in zip(names, values)}
        return cls(architecture, model, outputs)

    def layers(self) -> list[dict]:
        return [
            {
                "index": index,
                "name": layer.name,
                "type": type(layer).__name__,
                "shape": [int(size) for size in layer.output.shape[1:]],
            }
            for index, layer in enumerate(self.model.layers)
        ]


def main() -> int:
    options = parse_arguments()
    photos_folder = options.data / "photos"
    if not photos_folder.is_dir():
        print(f"{photos_folder} is absent: parity needs real photos; name a folder that has photos/ with --data")
        return 2
    started = time.monotonic()
    rows: list[compare.Row] = []
    decoding: list[compare.Decoding] = []
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as scratch:
        photos = [as_lossless(photos_folder / name, Path(scratch)) for name in PHOTOS]
        jpegs = [Photo(photos_folder / name) for name in JPEGS]
        for name in options.only or ARCHITECTURES:
            check_architecture(ARCHITECTURES[name], options, Path(scratch), photos, jpegs, rows, decoding)
        partial = options.data / "weights" / "inception_v3_2015_partial.h5"
        if "inception_v3" in (options.only or ARCHITECTURES):
            if partial.is_file():
                check_partial(partial, options.graft, Path(scratch), photos, jpegs, rows, decoding)
            else:
                print(f"skipped: {partial} is absent")
    compare.print_rows(rows)
    compare.print_decoding(decoding)
    return verdict(rows, time.monotonic() - started)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", type=lambda value: Path(value).resolve(), required=True, help="the binary to test")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data", help="folder with photos/ and weights/")
    parser.add_argument("--work", type=Path, default=ROOT / ".parity/work", help="where files are written for a while")
    parser.add_argument("--only", choices=list(ARCHITECTURES), action="append", help="one architecture")
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], action="append", help="one kind of file")
    parser.add_argument("--seed", type=int, default=2016, help="of the random weights")
    return parser.parse_args()


def as_lossless(path: Path, scratch: Path) -> Photo:
    """The photo itself, or a JPEG's pixels as PNG, so that no decoder can differ."""
    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return Photo(path)
    png = scratch / f"{path.stem}.png"
    keras.utils.load_img(path).save(png)
    return Photo(png)


def check_architecture(
    architecture: Architecture,
    options: argparse.Namespace,
    scratch: Path,
    photos: list[Photo],
    jpegs: list[Photo],
    rows: list[compare.Row],
    decoding: list[compare.Decoding],
) -> None:
    """All kinds of files of one architecture."""
    model = architecture.model()
    inputs = keras_files.np.concatenate([architecture.load(photo.path) for photo in photos])
    keras_files.randomize(model, options.seed, inputs)
    bare = keras_files.without_top(architecture, model)
    references = {
        True: Reference.of(architecture, model, photos),
        False: Reference.of(architecture, bare, photos),
    }
    jpeg_reference = Reference.of(architecture, model, jpegs)
    kinds = [kind for kind in KINDS if options.kind is None or kind.name in options.kind]

    repository = fresh_repository(scratch)
    checks: dict[str, tuple[Kind, compare.Row]] = {}
    for kind in kinds:
        name = f"{architecture.name}-{kind.name}"
        row = compare.Row(name)
        rows.append(row)
        if import_kind(options.graft, repository, references[kind.top], kind, row):
            checks[name] = (kind, row)
    if not checks:
        return
    hashes: dict[bool, str] = {}
    with Server(options.graft, repository, next(iter(checks)), MAX_LOADED_BYTES) as server:
        for name, (kind, row) in checks.items():
            digest = weights_sha256(repository, name)
            first = hashes.setdefault(kind.top, digest) if kind.top not in hashes else None
            check_model(server, references[kind.top], photos, row, every=first is not None)
            if first is None and digest != hashes[kind.top]:
                row.failures.append(f"{name}: weights hash {digest}, another kind of the same file gave {hashes[kind.top]}")
        with_top = next((name for name, (kind, _) in checks.items() if kind.top), None)
        if with_top:
            decoding.append(check_jpegs(server, jpeg_reference, with_top, jpegs, architecture.features_layer, True))


def fresh_repository(scratch: Path) -> Path:
    repository = scratch / "models"
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir()
    return repository


def import_kind(graft: Path, repository: Path, reference: Reference, kind: Kind, row: compare.Row) -> bool:
    """Writes, imports and deletes one file."""
    file = repository.parent / f"{row.model}{kind.suffix}"
    kind.write(reference.model, file)
    try:
        cost = import_file(graft, repository, reference.architecture.name, file, row.model)
    except GraftError as error:
        row.failures.append(f"{row.model}: {error}")
        row.note = "not imported"
        return False
    finally:
        file.unlink()
    row.note = f"import {cost.seconds:.1f} s, {cost.peak_bytes / 1e6:.0f} MB"
    if cost.peak_bytes > IMPORT_PEAK_BYTES:
        row.failures.append(f"{row.model}: the import took {cost.peak_bytes / 1e6:.0f} MB of memory")
    return True


def check_model(
    server: Server, reference: Reference, photos: list[Photo], row: compare.Row, every: bool, last: str | None = None
) -> None:
    """Layer list, outputs and classes of one model; `every` layer or a spread of them, up to the layer `last`."""
    try:
        expected = reference.layers()
        row.layer_list(server.layers(row.model), expected)
        if last is not None:
            expected = expected[: [layer["name"] for layer in expected].index(last) + 1]
        if not every:
            expected = expected[:: max(1, len(expected) // SPREAD)] + expected[-1:]
            expected = list({layer["name"]: layer for layer in expected}.values())
        row.layers, row.photos = len(expected), len(photos)
        has_classes = reference.model.layers[-1].name == "predictions" and last is None
        for names in groups(expected):
            for photo in photos:
                outputs = server.features(row.model, photo, names)
                for name in names:
                    row.output(photo.name, name, outputs[name], reference.outputs[photo.path][name])
        for photo in photos if has_classes else []:
            row.classes(photo.name, server.predict(row.model, photo), reference.outputs[photo.path]["predictions"])
    except (GraftError, OSError, KeyError, ValueError) as error:
        row.failures.append(f"{row.model}: {type(error).__name__}: {error}\n{server.log_tail()}")


def check_jpegs(
    server: Server, reference: Reference, model: str, jpegs: list[Photo], layer: str, classes: bool
) -> compare.Decoding:
    """The same photos as JPEG bytes, decoded by graft and by Keras's Pillow."""
    report = compare.Decoding(model, layer)
    for photo in jpegs:
        outputs = reference.outputs[photo.path]
        best = server.predict(model, photo) if classes else None
        report.add(server.features(model, photo, [layer])[layer], outputs[layer], best, outputs["predictions"])
    return report


def check_partial(
    file: Path,
    graft: Path,
    scratch: Path,
    photos: list[Photo],
    jpegs: list[Photo],
    rows: list[compare.Row],
    decoding: list[compare.Decoding],
) -> None:
    """InceptionV3 with trained convolutions, up to `mixed10`; its classes mean nothing."""
    architecture = ARCHITECTURES["inception_v3"]
    model = architecture.model()
    model.load_weights(file)
    repository = fresh_repository(scratch)
    row = compare.Row("inception_v3-trained-to-mixed8")
    rows.append(row)
    try:
        import_file(graft, repository, architecture.name, file, row.model)
    except GraftError as error:
        row.failures.append(f"{row.model}: {error}")
        return
    with Server(graft, repository, row.model, MAX_LOADED_BYTES) as server:
        check_model(server, Reference.of(architecture, model, photos), photos, row, every=True, last="mixed10")
        reference = Reference.of(architecture, model, jpegs)
        decoding.append(check_jpegs(server, reference, row.model, jpegs, "mixed8", False))


def verdict(rows: list[compare.Row], seconds: float) -> int:
    failures = [failure for row in rows for failure in row.failures]
    for failure in failures[:40]:
        print(f"FAIL {failure}")
    if len(failures) > 40:
        print(f"and {len(failures) - 40} more")
    outcome = f"{len(failures)} failures" if failures else f"every layer within {compare.TOLERANCE:.0e} of Keras"
    print(f"\nparity: {outcome} ({len(rows)} models, {seconds:.0f} s)")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
