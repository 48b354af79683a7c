"""Runs docs/from-keras.md: the notes' lines in Keras, graft's beside them, and compares what comes out.

Keras's published weights are not needed: `weights='imagenet'` gets random ones here, and `graft pull` imports the file in the
published layout that Keras wrote of them. Exits with 1 when a block fails or a number is further off than the tolerance.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

os.environ["MPLBACKEND"] = "Agg"
# Proxies of the environment are none of the loopback interface's business.
os.environ["no_proxy"] = "127.0.0.1"

import numpy as np
from PIL import Image

import keras_files
from client import Server
from compare import TOLERANCE, relative_l2
from keras_files import ARCHITECTURES, keras

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/from-keras.md"
ADDRESS = "http://127.0.0.1:8080"
FIRST = "graft pull vgg16\n"
MAX_LOADED_BYTES = 2_000_000_000
# What a block is, by the words behind its fence.
KINDS = {"python keras": "keras", "python": "python", "sh graft": "graft", "sh curl": "curl", "sh recipe": "recipe"}


@dataclass
class Section:
    """A heading and its blocks: (kind, text)."""

    title: str
    blocks: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Found:
    """What the blocks of a section left behind."""

    scratch: Path
    server: Server
    keras: dict[str, Any]
    python: dict[str, Any]
    printed: dict[str, str] = field(default_factory=dict)

    def json(self, kind: str) -> Any:
        return json.loads(self.printed[kind].splitlines()[-1])

    def fetch(self, path: str) -> Any:
        return json.loads(self.server._call("GET", path))


def sections(page: str) -> list[Section]:
    found = [Section("")]
    for heading, fence, block in re.findall(r"^#+ (.+)$|^```(.+)\n((?s:.*?))^```$", page, flags=re.M):
        if heading:
            found.append(Section(heading))
        else:
            found[-1].blocks.append((KINDS[fence], block))
    return [section for section in found if section.blocks]


def close(what: str, got: Any, expected: Any) -> None:
    error = relative_l2(np.asarray(got, dtype=np.float32), np.asarray(expected, dtype=np.float32))
    print(f"    {what}: off by {error:.1e}")
    if not error <= TOLERANCE:
        raise AssertionError(f"{what}: relative L2 {error:.2e} > {TOLERANCE:.0e}")


def same(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")
    print(f"    {what}: {str(got)[:70]}")


def classes(what: str, entries: list[dict], probabilities: np.ndarray) -> None:
    """The best classes and their scores against all probabilities."""
    order = np.argsort(-probabilities.ravel(), kind="stable")[: len(entries)]
    same(f"{what}, classes", [entry["index"] for entry in entries], order.tolist())
    close(f"{what}, scores", [entry["score"] for entry in entries], probabilities.ravel()[order])


def helper(found: Found) -> None:
    assert callable(found.python["ask"])


def a_model(found: Found) -> None:
    version = found.json("curl")["versions"][0]
    same("layers", version["layers"], len(found.keras["model"].layers))
    same("pretrained", version["pretrained"], True)
    same("Python's", found.python["detail"]["versions"][0]["classes"], 1000)


def no_weights(found: Found) -> None:
    probabilities = found.keras["mine"].predict(ARCHITECTURES["vgg16"].load(photo(found.scratch)), verbose=0)
    classes("curl's", found.json("curl")["predictions"][0]["top_k"], probabilities)
    classes("Python's", [found.python["best"]], probabilities)
    same("random is trained", found.fetch("/models/random")["pretrained"], False)


def layers(found: Found) -> None:
    same("Python's lines are Keras's", found.printed["python"] == found.printed["keras"], True)
    listed = found.json("curl")["layers"]
    expected = [layer.name for layer in found.keras["model"].layers]
    same("curl's", [layer["name"] for layer in listed], expected)
    words = [line.split() for line in found.printed["graft"].splitlines()]
    same("graft layers", [line[1] for line in words if line and line[0].isdigit()], expected)


def prediction(found: Found) -> None:
    for what, entries in [
        ("curl's", found.json("curl")["predictions"][0]["top_k"]),
        ("graft predict's", found.json("graft")["top_k"]),
        ("Python's", found.python["classes"]),
    ]:
        classes(what, entries, found.keras["preds"])


def opencv(found: Found) -> None:
    answer = found.json("curl")
    classes("curl's", answer["predictions"][0]["top_k"], found.keras["out"])
    classes("graft predict's", found.json("graft")["top_k"], found.keras["out"])
    same("argmax", found.printed["python"], found.printed["keras"].splitlines()[-1] + "\n")
    same("input", (answer["input"]["resize"], answer["input"]["channel_order"]), ("opencv_bilinear", "bgr"))


def plot(found: Found) -> None:
    close("the vector", found.python["vector"], found.keras["out"])
    svg = (found.scratch / "out.svg").read_text()
    same("SVG's title", ">vgg16@1, predictions (1000)</text>" in svg, True)
    with Image.open(found.scratch / "out.png") as png:
        same("PNG", (png.format, png.size), ("PNG", (1600, 800)))


def any_layer(found: Found) -> None:
    expected = found.keras["block4_pool_features"]
    same("shape", found.python["features"].shape, (1, 14, 14, 512))
    close("Python's", found.python["features"], expected)
    close("curl's", np.load(found.scratch / "features.npy"), expected)
    close("graft features'", np.load(found.scratch / "block4_pool.npy"), expected)


def without_top(found: Found) -> None:
    x = ARCHITECTURES["inception_v3"].load(photo(found.scratch))
    base, pooled = found.keras["base_model"], found.keras["pooled_output"]
    same("shapes", found.printed["keras"], "(None, 8, 8, 2048) (None, 2048)\n")
    same("Python's", found.printed["python"], "(1, 8, 8, 2048) (1, 2048)\n")
    close("mixed10", found.python["whole"], base.predict(x, verbose=0))
    expected = keras.Model(base.input, pooled).predict(x, verbose=0)
    close("pooled", found.python["pooled"], expected)
    close("graft features'", np.load(found.scratch / "pooled.npy"), expected)
    close("curl's", found.json("curl")["features"][0]["layers"]["mixed10"]["data"], expected[0])


def recipe(found: Found) -> None:
    names = [layer.name for layer in found.keras["base_model"].layers]
    same("172, 248, 249", [names[index] for index in (172, 248, 249)], ["conv2d_56", "mixed8", "conv2d_80"])
    assert json.loads((found.scratch / "recipe.json").read_text())["phases"][1]["trainable_from"] == 249


def nesterov(found: Found) -> None:
    rate = found.keras["InverseTimeDecay"](0.1, 1, 1e-6)
    close("the rate after a million steps", float(rate(1_000_000)), 0.1 / (1 + 1e-6 * 1_000_000))
    assert json.loads((found.scratch / "nesterov.json").read_text())["phases"][0]["optimizer"]["nesterov"] is True


def fit(found: Found) -> None:
    phases = run_recipe(found, "shapes_by_job")["phases"]
    # The notes have 200 classes, the drawings three.
    fewer = (1024 + 1) * (200 - 3)
    same("parameters of the head", phases[0]["trainable_params"] + fewer, found.keras["head_parameters"])
    same("parameters of head and blocks", phases[1]["trainable_params"] + fewer, found.keras["all_parameters"])
    same("from the command line", run_recipe(found, "shapes")["phases"], phases)
    rule = run_recipe(found, "shapes_nesterov")["phases"][0]
    same("nesterov", rule["optimizer"], {"type": "sgd", "momentum": 0.9, "nesterov": True})
    same("its rate", (rule["learning_rate"]["initial"], rule["learning_rate"]["decay"]), (0.1, 1e-6))
    same("classes", sorted(entry["label"] for entry in found.python["shapes"]), ["circle", "square", "triangle"])
    same("curl's", found.json("curl")["model"]["name"], "shapes_by_job")


def run_recipe(found: Found, model: str) -> dict:
    """The recipe that a model was made by, with every default."""
    return found.fetch(f"/models/{model}")["versions"][-1]["lineage"]["recipe"]


CHECKS: dict[str, Callable[[Found], None]] = {
    "Looking at photos": helper,
    "A model and its weights": a_model,
    "No weights, or those of a file": no_weights,
    "The list of layers": layers,
    "A prediction": prediction,
    "OpenCV's pixels, straight into the model": opencv,
    "The plot of the output": plot,
    "Features of any layer": any_layer,
    "Without the top": without_top,
    "The recipe": recipe,
    "Nesterov and decay": nesterov,
    "Fit": fit,
}


def photo(scratch: Path) -> Path:
    return scratch / "tests/fixtures/espresso.jpg"


def prepare(scratch: Path, graft: Path, image: Path) -> None:
    """What the page takes for granted: the photo, the script, `mine.weights.h5`, and `graft pull` without a network."""
    photo(scratch).parent.mkdir(parents=True)
    shutil.copy(image, photo(scratch))
    (scratch / "scripts").symlink_to(ROOT / "scripts")
    published = {}
    for seed, name in enumerate(("vgg16", "inception_v3")):
        architecture = ARCHITECTURES[name]
        model = architecture.model()
        keras_files.randomize(model, seed, architecture.load(photo(scratch)))
        published[name] = [layer.get_weights() for layer in model.layers]
        keras_files.write_published(model, scratch / f"{name}.h5")
        if name == "inception_v3":
            keras_files.write_published(keras_files.without_top(architecture, model), scratch / "inception_v3_notop.h5")
    mine = ARCHITECTURES["vgg16"].model()
    keras_files.randomize(mine, 5, ARCHITECTURES["vgg16"].load(photo(scratch)))
    mine.save_weights(scratch / "mine.weights.h5")
    keras.utils.clear_session()
    for attribute, name in (("VGG16", "vgg16"), ("InceptionV3", "inception_v3")):
        setattr(keras.applications, attribute, stand_in(getattr(keras.applications, attribute), published[name]))
    command = scratch / "bin/graft"
    command.parent.mkdir()
    command.write_text(
        f"""#!/bin/sh
case "$*" in
"pull vgg16") exec {graft} import vgg16 {scratch}/vgg16.h5 ;;
"pull inception_v3 --no-top") exec {graft} import inception_v3 {scratch}/inception_v3_notop.h5 --name inception_v3_notop ;;
esac
exec {graft} "$@"
"""
    )
    command.chmod(0o755)


def stand_in(build: Callable[..., keras.Model], published: list[list[np.ndarray]]) -> Callable[..., keras.Model]:
    """Keras's function, with these weights for ImageNet's."""

    def model(weights: str | None = "imagenet", **options: Any) -> keras.Model:
        made = build(weights=None, **options)
        for layer, values in zip(made.layers, published if weights == "imagenet" else []):
            layer.set_weights(values)
        return made

    return model


def shell(block: str, scratch: Path, environment: dict[str, str]) -> str:
    """What the lines print; the first that fails ends them."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=scratch, env=environment, capture_output=True, text=True, timeout=3000
    )
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}\n{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def python(block: str, names: dict[str, Any]) -> str:
    """What the lines print; they share `names`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block, "from-keras.md", "exec"), names)  # noqa: S102 - running the page is the purpose
    return "".join(line + "\n" for line in printed.getvalue().splitlines() if "━" not in line)


def environment(server: Server, scratch: Path) -> dict[str, str]:
    """The server's, so that `graft` works on its models, with the command on the path."""
    return server._environment | {"PATH": f"{scratch / 'bin'}:{os.environ['PATH']}"}


def wait_for(server: Server, scratch: Path) -> None:
    """Until the server has seen every model of the repository."""
    stored = {folder.parent.parent.name for folder in (scratch / "models").glob("*/*/metadata.json")}
    end = time.monotonic() + 60
    while not stored <= {model["name"] for model in json.loads(server._call("GET", "/models"))["models"]}:
        if time.monotonic() > end:
            raise AssertionError(f"the server does not find {stored}")
        time.sleep(0.1)


def run(page: list[Section], scratch: Path, server: Server) -> int:
    keras_names: dict[str, Any] = {
        "train_images": np.zeros((2, 299, 299, 3), np.float32),
        "train_labels": np.eye(200, dtype=np.float32)[:2],
    }
    python_names: dict[str, Any] = {}
    failures = 0
    for section in page:
        print(f"{section.title}", flush=True)
        found = Found(scratch, server, keras_names, python_names)
        try:
            for kind, text in section.blocks:
                text = text.replace(ADDRESS, server.base)
                if kind in ("keras", "python"):
                    found.printed[kind] = python(text, keras_names if kind == "keras" else python_names)
                elif text != FIRST:
                    found.printed[kind] = shell(text, scratch, environment(server, scratch))
                    wait_for(server, scratch)
            CHECKS[section.title](found)
        except Exception as error:  # noqa: BLE001 - the other sections are still of interest
            failures += 1
            print(f"  FAIL {section.title}: {type(error).__name__}: {error}\n{server.log_tail()[-3000:]}")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", type=lambda value: Path(value).resolve(), required=True, help="the binary to test")
    parser.add_argument("--photo", type=Path, default=ROOT / "tests/fixtures/espresso.jpg", help="the page's photo")
    parser.add_argument("--work", type=Path, default=ROOT / ".parity/work", help="where files are written for a while")
    options = parser.parse_args()
    page = sections(PAGE.read_text())
    if [section.title for section in page] != list(CHECKS):
        print(f"the page has {[section.title for section in page]}, checked are {list(CHECKS)}")
        return 1
    options.work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        scratch = Path(name).resolve()
        prepare(scratch, options.graft, options.photo)
        os.chdir(scratch)
        server = Server(options.graft, scratch / "models", "vgg16", MAX_LOADED_BYTES)
        # Without it there would be nothing to serve.
        shell(FIRST, scratch, environment(server, scratch))
        with server:
            failures = run(page, scratch, server)
        os.chdir(ROOT)
    blocks = sum(len(section.blocks) for section in page)
    print(f"\nfrom-keras: {blocks} blocks in {len(page)} sections, {failures} failures ({time.monotonic() - started:.0f} s)")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
