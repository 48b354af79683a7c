"""Compares graft with Keras, layer by layer, over HTTP: `make parity`.

For each architecture: a Keras model with random weights is written as every kind of weight file, each file is imported,
the server is asked for every layer of every photo, and the worst relative difference is printed. Exits with 1 when one
is above the tolerance. JPEGs are compared like any photo, at every layer and more strictly: their pixels are Pillow's.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import compare
import keras_files
from client import GraftError, Photo, Server, groups, import_file, weights_sha256
from keras_files import ARCHITECTURES, KINDS, Architecture, Array, Kind, keras

ROOT = Path(__file__).resolve().parents[2]
# In the folder of real data (`tests/README.md`), and what takes their place without it: scikit-image's and graft's own.
PHOTOS = ["cat.bmp", "bird.bmp", "grace_hopper.bmp", "hot_dog.jpg"]
JPEGS = ["cat_720p.jpg", "hot_dog.jpg", "owl.jpg", "tract_elephants.jpg", "ovms_zebra.jpeg", "triton_vulture.jpeg"]
PACKAGED_PHOTOS = ["chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg"]
PACKAGED_JPEGS = ["rocket.jpg", "hubble_deep_field.jpg", "retina.jpg"]
OWN_JPEGS = ["espresso.jpg", "cat.jpg"]
# Two models of VGG16's size (553 MB) at a time: the others are loaded and unloaded on the way.
MAX_LOADED_BYTES = 1_300_000_000
IMPORT_PEAK_BYTES = 1_500_000_000
# Layers that are compared for the second and later kinds of file of the same weights.
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


@dataclass
class Run:
    """What the checks share: the binary, a scratch folder, the photos, and what was found."""

    graft: Path
    scratch: Path
    photos: list[Photo]
    jpegs: list[Photo]
    rows: list[compare.Row] = field(default_factory=list)

    def fresh_repository(self) -> Path:
        repository = self.scratch / "models"
        shutil.rmtree(repository, ignore_errors=True)
        repository.mkdir()
        return repository

    def row(self, model: str, tolerance: float = compare.TOLERANCE) -> compare.Row:
        self.rows.append(compare.Row(model, tolerance))
        return self.rows[-1]


def main() -> int:
    options = parse_arguments()
    try:
        sources, jpegs = photo_files(options.data)
    except FileNotFoundError as error:
        print(error)
        return 2
    started = time.monotonic()
    architectures = options.only or list(ARCHITECTURES)
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        scratch = Path(name)
        jpegs += made_jpegs(sources[0], scratch)
        run = Run(options.graft, scratch, [Photo(photo) for photo in sources], [Photo(photo) for photo in jpegs])
        try:
            for architecture in architectures:
                kinds = [kind for kind in KINDS if options.kind is None or kind.name in options.kind]
                check_architecture(run, ARCHITECTURES[architecture], kinds, options.seed)
            if "inception_v3" in architectures:
                check_partial(run, options.data)
        except (GraftError, OSError) as error:
            run.row("run").failures.append(f"the run ended early: {error}")
    compare.print_rows(run.rows)
    return verdict(run.rows, time.monotonic() - started)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", type=lambda value: Path(value).resolve(), required=True, help="the binary to test")
    folder = os.environ.get("GRAFT_TEST_DATA") or None
    parser.add_argument("--data", type=Path, default=folder, help="folder with photos/ and weights/ (tests/README.md)")
    parser.add_argument("--work", type=Path, default=ROOT / ".parity/work", help="where files are written for a while")
    parser.add_argument("--only", choices=list(ARCHITECTURES), action="append", help="one architecture")
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], action="append", help="one kind of file")
    parser.add_argument("--seed", type=int, default=2016, help="of the random weights")
    return parser.parse_args()


def photo_files(data: Path | None) -> tuple[list[Path], list[Path]]:
    """Photos for every kind of file, and JPEGs for every layer of one of them."""
    if data is not None:
        folder = data / "photos"
        files = [folder / name for name in PHOTOS], [folder / name for name in JPEGS]
    else:
        package = importlib.util.find_spec("skimage")
        if package is None:
            raise FileNotFoundError("scikit-image is not installed: `make parity` installs it; or name a folder with --data")
        folder = Path(package.submodule_search_locations[0]) / "data"
        own = [ROOT / "tests/fixtures" / name for name in OWN_JPEGS]
        files = [folder / name for name in PACKAGED_PHOTOS], own + [folder / name for name in PACKAGED_JPEGS]
    missing = [str(file) for file in files[0] + files[1] if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"parity needs real photos, and these are absent: {', '.join(missing)}")
    return files


def made_jpegs(photo: Path, scratch: Path) -> list[Path]:
    """The photo as the kinds of JPEG whose decoding differs."""
    image = keras.utils.load_img(photo)
    kinds = {
        "420": (image, {"subsampling": "4:2:0"}),
        "422_progressive": (image, {"subsampling": "4:2:2", "progressive": True}),
        "444_restarts": (image, {"subsampling": "4:4:4", "restart_marker_blocks": 7}),
        "rgb": (image, {"keep_rgb": True}),
        "grey": (image.convert("L"), {}),
        "cmyk": (image.convert("CMYK"), {}),
    }
    files = []
    for name, (picture, options) in kinds.items():
        files.append(scratch / f"{photo.stem}_{name}.jpg")
        picture.save(files[-1], quality=70, **options)
    return files


def check_architecture(run: Run, architecture: Architecture, kinds: list[Kind], seed: int) -> None:
    """Every kind of file of one architecture: imported one after the other, then served together."""
    print(f"{architecture.name}: Keras computes every layer of {len(run.photos)} photos", flush=True)
    model = architecture.model()
    inputs = np.concatenate([architecture.load(photo.path) for photo in run.photos])
    keras_files.randomize(model, seed, inputs)
    references = {
        True: Reference.of(architecture, model, run.photos),
        False: Reference.of(architecture, keras_files.without_top(architecture, model), run.photos),
    }
    repository = run.fresh_repository()
    imported: list[tuple[Kind, compare.Row]] = []
    for kind in kinds:
        row = run.row(f"{architecture.name}-{kind.name}")
        print(f"{row.model}: write, import", flush=True)
        if import_kind(run.graft, repository, references[kind.top], kind, row):
            imported.append((kind, row))
    if not imported:
        return
    with Server(run.graft, repository, imported[0][1].model, MAX_LOADED_BYTES) as server:
        hashes: dict[bool, str] = {}
        for kind, row in imported:
            print(f"{row.model}: compare", flush=True)
            digest = weights_sha256(repository, row.model)
            check_model(server, references[kind.top], run.photos, row, every=kind.top not in hashes)
            if digest != hashes.setdefault(kind.top, digest):
                row.failures.append(f"{row.model}: the weights' hash is not that of the kinds before it")
        with_top = next((row.model for kind, row in imported if kind.top and not row.failures), None)
        if with_top:
            check_jpegs(run, server, architecture, model, with_top)


def import_kind(graft: Path, repository: Path, reference: Reference, kind: Kind, row: compare.Row) -> bool:
    """Writes, imports and deletes one file."""
    file = repository.parent / f"{row.model}{kind.suffix}"
    kind.write(reference.model, file)
    try:
        return import_checked(graft, repository, reference.architecture, file, row)
    finally:
        file.unlink()


def import_checked(graft: Path, repository: Path, architecture: Architecture, file: Path, row: compare.Row) -> bool:
    """Imports a file under the row's name and notes what it cost."""
    try:
        cost = import_file(graft, repository, architecture.name, file, row.model)
    except GraftError as error:
        row.failures.append(f"{row.model}: {error}")
        row.note = "not imported"
        return False
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
    run: Run,
    server: Server,
    architecture: Architecture,
    model: keras.Model,
    name: str,
    last: str | None = None,
    tolerance: float = compare.JPEG_TOLERANCE,
) -> None:
    """Every layer of one model, up to the layer `last`, on JPEG bytes that graft and Keras's Pillow decode."""
    print(f"{name}: compare on {len(run.jpegs)} JPEGs", flush=True)
    row = run.row(name, tolerance)
    row.note = "JPEG"
    check_model(server, Reference.of(architecture, model, run.jpegs), run.jpegs, row, every=True, last=last)


def check_partial(run: Run, data: Path | None) -> None:
    """InceptionV3 with trained convolutions, up to `mixed10`; its classes mean nothing."""
    if data is None:
        print("skipped: trained convolutions; set GRAFT_TEST_DATA=FOLDER (tests/README.md)")
        return
    file = data / "weights" / "inception_v3_2015_partial.h5"
    architecture = ARCHITECTURES["inception_v3"]
    model = architecture.model()
    model.load_weights(file)
    repository = run.fresh_repository()
    row = run.row("inception_v3-trained-to-mixed8")
    print(f"{row.model}: import, compare", flush=True)
    if not import_checked(run.graft, repository, architecture, file, row):
        return
    with Server(run.graft, repository, row.model, MAX_LOADED_BYTES) as server:
        reference = Reference.of(architecture, model, run.photos)
        check_model(server, reference, run.photos, row, every=True, last="mixed10")
        if not row.failures:
            # Between trained and random layers a few sums nearly cancel, on BMP (2.7e-5) as on JPEG.
            check_jpegs(run, server, architecture, model, row.model, last="mixed10", tolerance=compare.TOLERANCE)


def verdict(rows: list[compare.Row], seconds: float) -> int:
    failures = [failure for row in rows for failure in row.failures]
    for failure in failures[:40]:
        print(f"FAIL {failure}")
    if len(failures) > 40:
        print(f"and {len(failures) - 40} more")
    outcome = f"{len(failures)} failures" if failures else f"every layer within {compare.TOLERANCE:.0e} of Keras, from JPEG within {compare.JPEG_TOLERANCE:.0e}"
    print(f"\nparity: {outcome} ({len(rows)} models, {seconds:.0f} s)")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
