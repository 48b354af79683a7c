"""Data sets of as many classes, and of as many entries, as may be."""

from __future__ import annotations

import random

from .. import files, wire
from ..scenario import CLEAR, Expectation, Scenario, Stage
from ..watch import usage

# How much longer an entry of many may take than one of a tenth as many, and what a disk may make of either.
GROWTH, NOISE = 3.0, 0.001
# How long the disk may take for all of them, in seconds: it writes each photo to its place, and takes it back.
PATIENCE = 1800


def archive(classes: int, photos: int) -> bytes:
    """A tar archive of pictures so small that what counts is how many they are, each unlike the others."""
    chance = random.Random(classes)
    names = (f"{number:06}/{at}.png" for number in range(classes) for at in range(photos))
    return files.tar({name: files.png([chance.randbytes(8) for _ in range(8)]) for name in names})


def upload(stage: Stage, classes: int, photos: int) -> tuple[str, float] | None:
    """The name of the data set and how long an entry took, if it was taken."""
    body = archive(classes, photos)
    before = usage(stage.server.pid).memory
    answer = stage.attempt(lambda: stage.ask("POST", "/datasets", body, "application/x-tar", timeout=PATIENCE))
    entries = classes * photos
    if answer is None:
        stage.require(False, f"an upload of {entries} entries got no answer")
        return None
    memory = usage(stage.server.pid).memory - before
    took = f"{answer.seconds:.1f} s, {answer.seconds / entries * 1e6:.0f} µs an entry, {memory:+.0f} MB"
    why = "" if answer.status == 201 else f" {answer.body[:160]!r}"
    stage.note(f"{classes} classes of {photos}, {len(body) / 1e6:.0f} MB: {answer.status} after {took}{why}")
    return (str(answer.json()["id"]), answer.seconds / entries) if answer.status == 201 else None


def timed(stage: Stage, what: str, method: str, path: str, body: bytes = b"", patience: float = 20) -> wire.Answer | None:
    answer: wire.Answer | None = stage.attempt(lambda: stage.ask(method, path, body, timeout=PATIENCE))
    if answer is None:
        stage.require(False, f"{what} got no answer")
        return None
    stage.note(f"{what}: {answer.status}, {len(answer.body)} bytes after {answer.seconds:.1f} s")
    stage.require(answer.seconds < patience, f"{what} took {answer.seconds:.0f} s")
    stage.require(len(answer.body) < 20_000_000, f"{what} has {len(answer.body)} bytes")
    return answer


def many(stage: Stage, classes: int, photos: int) -> None:
    """Uploads it, looks at it, plans a job with it, and deletes it. A tenth of it before, so that growth can be seen."""
    small = upload(stage, classes // 10, photos) if classes > 10 else upload(stage, classes, photos // 10)
    large = upload(stage, classes, photos)
    if small is None or large is None:
        stage.require(False, "an upload within the bounds was not taken")
        return
    (few, of_few), (all_of_them, of_many) = small, large
    stage.require(of_many < of_few * GROWTH + NOISE, f"an entry took {of_few:.4f} s, and of ten times as many {of_many:.4f} s")
    for name in (few, all_of_them):
        timed(stage, "its details", "GET", f"/datasets/{name}")
        timed(stage, "the list", "GET", "/datasets")
        recipe = f'{{"name": "many", "dataset": "{name}"}}'.encode()
        timed(stage, "a plan", "POST", "/jobs/finetune?dry_run=true", recipe, 60)
    for name in (few, all_of_them):
        gone = timed(stage, "its end", "DELETE", f"/datasets/{name}", patience=PATIENCE)
        stage.require(gone is None or gone.status == 204, f"a data set is not deleted: {gone and gone.status}")


def classes(stage: Stage) -> None:
    """As many classes of two photos as may be; one class more is over the bound, which is said."""
    many(stage, stage.pick(100_000, 2000), 2)
    refused = upload(stage, stage.pick(100_001, 2001), 2)
    stage.require(refused is None, "an upload of more entries than may be was taken")


def entries(stage: Stage) -> None:
    """Two classes with as many photos as fit."""
    many(stage, 2, stage.pick(99_500, 2000))


# At the priority of others: what is looked at is how plans grow, not how they give way.
SETTINGS = {"GRAFT__JOBS__NICE": "0"}
FEW = {"GRAFT__DATASETS__MAX_ENTRIES": "4000"}
SCENARIOS = [
    Scenario(
        "many-classes", "data sets of 100,000 classes with two photos each, and of more", classes, settings=SETTINGS, quick=FEW,
        expect=Expectation(memory=400, kept=250, outcomes=CLEAR, back=30),
    ),
    Scenario(
        "many-entries", "a data set of 199,000 entries", entries, settings=SETTINGS, quick=FEW,
        expect=Expectation(memory=400, kept=250, outcomes=CLEAR, back=30),
    ),
]
