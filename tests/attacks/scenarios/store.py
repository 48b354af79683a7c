"""Disks that are full, files that change under the server, and folders that go."""

from __future__ import annotations

import json
import math
import random
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from .. import files, wire
from ..scenario import JSON, RECIPE, Expectation, Scenario, Stage
from ..server import MODEL, ServerError

FULL = 4096
# Jobs and plans at the priority of others: what is looked at is what they do, not how they give way.
PROMPT = {"GRAFT__JOBS__NICE": "0"}
PHOTO = files.FIXTURES / "cat.jpg"
LAYERS = ("block2a_expand_conv", "block5a_expand_conv", "top_conv")


def full_disk(stage: Stage) -> None:
    """No file may grow while a job begins; it waits, and ends well once there is room."""
    soft = resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE)
    job = stage.submit(stage.made["dataset"])
    resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (FULL, soft[1]))
    stage.wait(stage.pick(20.0, 5.0))
    stage.note(f"without room the job is {stage.state(job)}")
    resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, soft)
    told = stage.ended(job)
    stage.require(told == "succeeded", f"the job is {told} once there is room again")


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
    """The data folder is deleted: what is loaded answers on, and no job is accepted to be lost."""
    shutil.rmtree(stage.server.data, ignore_errors=True)
    # There is no base any more: what is planned first says so.
    out_of_order(stage, {503, 422})


def store_gone(stage: Stage) -> None:
    """The jobs' database is deleted, and nothing else."""
    for file in stage.server.data.glob("jobs.db*"):
        file.unlink()
    out_of_order(stage, {503})


def store_corrupt(stage: Stage) -> None:
    """Bytes of the jobs' database are overwritten, first in the middle and then from the start, while it is used."""
    job = stage.submit(stage.made["dataset"], phases=[{"trainable": "head", "epochs": 50}])
    stage.wait(1)
    stage.note(f"before, the job is {stage.state(job)}")
    # What the write-ahead log holds would be read instead.
    for file in sorted(stage.server.data.glob("jobs.db*")):
        if not file.name.endswith("-shm"):
            overwrite(file)
    out_of_order(stage, {503})


def overwrite(path: Path) -> None:
    chance = random.Random(7)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(chance.randbytes(size))


def out_of_order(stage: Stage, refusals: set[int]) -> None:
    """Jobs cannot be kept: whoever needs that is told so, health tells it, and photos are classified."""
    stage.wait(stage.pick(6.0, 4.0))
    told: dict[str, list[wire.Answer | None]] = {}

    def ask(method: str, path: str, body: bytes = b"", kind: str = JSON) -> wire.Answer | None:
        answer: wire.Answer | None = stage.attempt(lambda: stage.ask(method, path, body, kind))
        told.setdefault(f"{method} {path[:20]}", []).append(answer)
        return answer

    ask("GET", "/readyz")
    # What is in memory, or open, may be listed still.
    listed = ask("GET", "/jobs")
    ask("GET", "/metrics")
    uploaded = ask("POST", "/datasets", files.dataset(), "application/x-tar")
    dataset = uploaded.json()["id"] if uploaded and uploaded.status == 201 else stage.made["dataset"]
    job = ask("POST", "/jobs/finetune", json.dumps(RECIPE | {"dataset": dataset}).encode())
    ask("DELETE", f"/datasets/{stage.made['dataset']}")
    ready = ask("GET", "/readyz")
    stage.note(", ".join(f"{name}: {statuses(answers)}" for name, answers in told.items()))
    for name, answer, expected in (("/readyz", ready, {503}), ("GET /jobs", listed, {200, 503}), ("a job", job, refusals)):
        clear = answer is not None and answer.status in expected and answer.is_clear()
        stage.require(clear, f"{name} got {answer and answer.status}: {answer and answer.body[:200]!r}")
    if job is not None and job.status == 202:
        stage.wait(3)
        stage.note(f"the job that was accepted is then {stage.state(job.json()['id'])}")
    photo = stage.attempt(lambda: stage.honest("POST", "/predict?top_k=1", PHOTO.read_bytes(), "image/jpeg"))
    stage.require(photo is not None and photo.status == 200, f"a photo got {photo and photo.status}")


def statuses(answers: list[wire.Answer | None]) -> str:
    return " then ".join(str(answer.status) if answer else "closed" for answer in answers)


SCENARIOS = [
    Scenario(
        "full-disk", "no file may grow beyond 4 kB when a job begins, and later it may", full_disk,
        with_a_dataset, settings=PROMPT, expect=Expectation(memory=600, kept=400, files=16, stop=35),
    ),
    Scenario(
        "flipped-weights", "1,000 bytes of weights.bin are flipped while it is served",
        lambda stage: damaged(stage, flip), with_reference, expect=Expectation(served=0.99, kept=400),
    ),
    Scenario(
        "truncated-weights", "weights.bin is cut in half while it is served",
        lambda stage: damaged(stage, truncate), with_reference, expect=Expectation(served=0.99, kept=400),
    ),
    Scenario(
        "data-deleted", "the data folder is deleted while serving", folder_gone, with_a_dataset,
        settings=PROMPT, expect=Expectation(served=0.99, memory=300, ready=False),
    ),
    Scenario(
        "jobs-deleted", "the jobs' database is deleted while serving", store_gone, with_a_dataset,
        settings=PROMPT, expect=Expectation(served=0.99, memory=300, ready=False),
    ),
    Scenario(
        "jobs-corrupt", "the jobs' database is overwritten while a job runs", store_corrupt, with_a_dataset,
        settings=PROMPT, expect=Expectation(served=0.99, memory=600, kept=400, files=16, ready=False, stop=35),
    ),
]
