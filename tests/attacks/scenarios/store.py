"""Disks that are full, files that change under the server, and folders that go."""

from __future__ import annotations

import json
import math
import random
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

from .. import files
from ..scenario import CLEAR, OWN, Expectation, Scenario, Stage
from ..server import MODEL, ServerError

FULL = 4096
PHOTO = files.FIXTURES / "cat.jpg"
LAYERS = ("block2a_expand_conv", "block5a_expand_conv", "top_conv")
RECIPE = {"name": "shapes", "phases": [{"trainable": "head", "epochs": 2}]}


def full_disk(stage: Stage) -> None:
    """No file may grow while a job begins; it waits, and ends well once there is room."""
    recipe = json.dumps(RECIPE | {"dataset": stage.made["dataset"]}).encode()
    soft = resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE)
    job = stage.ask("POST", "/jobs/finetune", recipe).json()["id"]
    resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (FULL, soft[1]))
    stage.wait(stage.pick(20.0, 5.0))
    stage.note(f"without room the job is {state(stage, job)}")
    resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, soft)
    end = time.monotonic() + 180
    while (told := state(stage, job)) in ("queued", "running") and time.monotonic() < end:
        time.sleep(0.5)
    stage.require(told == "succeeded", f"the job is {told} once there is room again")


def state(stage: Stage, job: str) -> str:
    """A job's state, and why it has failed if it has."""
    answer = stage.ask("GET", f"/jobs/{job}")
    if answer.status != 200:
        return f"not to be had: {answer.status}"
    told = answer.json()
    return str(told["state"]) if not told.get("error") else f"{told['state']} ({told['error']['code']})"


def with_a_dataset(stage: Stage) -> None:
    stage.made["dataset"] = stage.dataset()


def weights(stage: Stage) -> Path:
    """The file of the model that is served."""
    found = sorted(stage.server.data.rglob(f"{MODEL}/**/weights.bin"))
    if not found:
        raise ServerError("there is no weights.bin")
    return found[0]


def scores(stage: Stage) -> list[float] | str:
    """Those of a photo, or why there are none."""
    answer = stage.attempt(lambda: stage.ask("POST", "/predict?top_k=5", PHOTO.read_bytes(), "image/jpeg"))
    if answer is None or answer.status != 200:
        return "no answer" if answer is None else f"{answer.status} {answer.body[:200]!r}"
    return [one["score"] for one in answer.json()["predictions"][0]["top_k"]]


def vector(stage: Stage, layer: str) -> list[float] | None:
    """A layer's means over the picture, whose session is not built yet."""
    path = f"/features?model={MODEL}&layer={layer}&pool=avg"
    npy = {"Accept": "application/x-npy"}
    answer = stage.attempt(lambda: stage.ask("POST", path, PHOTO.read_bytes(), "image/jpeg", headers=npy))
    return floats(answer.body) if answer is not None and answer.status == 200 else None


def floats(npy: bytes) -> list[float]:
    start = 10 + struct.unpack("<H", npy[8:10])[0]
    return [value for value, in struct.iter_unpack("<f", npy[start:])]


def is_close(one: list[float], other: list[float]) -> bool:
    close = (math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in zip(one, other))
    return len(one) == len(other) and all(close)


def with_reference(stage: Stage) -> None:
    """What the layers hold while the weights are whole, by the command line."""
    for layer in LAYERS:
        file = stage.server.folder / f"{layer}.npy"
        words = [str(PHOTO), "--layer", layer, "--pool", "avg", "--output", str(file)]
        done = stage.server.run("features", *words)
        if done.returncode:
            raise ServerError(f"graft features failed: {done.stderr[-300:]}")
        stage.made[layer] = floats(file.read_bytes())


def damaged(stage: Stage, damage: Callable[[Path], None]) -> None:
    """`weights.bin` changes while it is served: answers stay, or say why not; `graft doctor` tells."""
    before = scores(stage)
    damage(weights(stage))
    for layer in LAYERS:
        told = vector(stage, layer)
        same = told is None or is_close(told, stage.made[layer])
        stage.require(same, f"{layer} has other values than before")
    stage.wait(stage.pick(8.0, 3.0))
    now = scores(stage)
    same = isinstance(now, list) and isinstance(before, list) and is_close(now, before)
    stage.note(f"scores afterwards: {'as before' if same else now}")
    stage.require(same or isinstance(now, str), f"the scores are {now}, and were {before}")
    doctor = stage.server.run("doctor")
    lines = doctor.stdout.splitlines()
    told_of = [line for line in lines if not line.startswith("ok") and "weights.bin" in line]
    stage.note(f"doctor ends with {doctor.returncode}: {' '.join(told_of)[:300]}")
    stage.require(bool(told_of), "doctor says nothing of the weights")


def flip(path: Path) -> None:
    """A thousand bytes, in place."""
    chance = random.Random(13)
    with path.open("r+b") as file:
        size = path.stat().st_size
        for _ in range(1000):
            file.seek(chance.randrange(size))
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 0xFF]))


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def folder_gone(stage: Stage) -> None:
    """The data folder is deleted: what is loaded may answer on, and no job is accepted to be lost."""
    shutil.rmtree(stage.server.data, ignore_errors=True)
    stage.wait(stage.pick(6.0, 4.0))
    archive = files.dataset()
    ready = stage.attempt(lambda: stage.ask("GET", "/readyz"))
    uploaded = stage.attempt(lambda: stage.ask("POST", "/datasets", archive, "application/x-tar"))
    whole = uploaded is not None and uploaded.status == 201
    dataset = uploaded.json()["id"] if whole else stage.made["dataset"]
    recipe = json.dumps(RECIPE | {"dataset": dataset}).encode()
    job = stage.attempt(lambda: stage.ask("POST", "/jobs/finetune", recipe))
    told = {"/readyz": ready, "POST /datasets": uploaded, "POST /jobs/finetune": job}
    stage.note(", ".join(f"{name}: {answer.status if answer else 'closed'}" for name, answer in told.items()))
    if job is not None and job.status == 202:
        stage.wait(3)
        known = state(stage, job.json()["id"])
        stage.require(not known.startswith("not"), f"a job was accepted, and is then {known}")


SCENARIOS = [
    Scenario(
        "full-disk", "no file may grow beyond 4 kB when a job begins, and later it may", full_disk,
        with_a_dataset, expect=Expectation(memory=1500, kept=800, files=16, stop=35),
    ),
    Scenario(
        "flipped-weights", "1,000 bytes of weights.bin are flipped while it is served",
        lambda stage: damaged(stage, flip), with_reference, expect=Expectation(served=0.0, kept=400),
    ),
    Scenario(
        "truncated-weights", "weights.bin is cut in half while it is served",
        lambda stage: damaged(stage, truncate), with_reference, expect=Expectation(served=0.0, kept=400),
    ),
    Scenario(
        "data-deleted", "the data folder is deleted while serving", folder_gone, with_a_dataset,
        expect=Expectation(served=0.0, ready=False, outcomes=CLEAR | OWN | {"500"}),
    ),
]
