"""Graphs that want more time or memory than anyone has, imported by the command line and by a job."""

from __future__ import annotations

import time

from .. import onnx, wire
from ..scenario import Expectation, Scenario, Stage
from ..watch import ChildWatch, children

TIMEOUT = "GRAFT__MODELS__IMPORT_TIMEOUT_MS"
# Seconds beyond the bound that a process has until it is gone, on busy processors.
GRACE = 15
# Megabytes that an examination may take: its address space is bounded at 4 GiB, what a small graph needs of it is not much.
EXAMINATION = 1000


def judge(stage: Stage, name: str, seconds: float, memory: float, said: str) -> None:
    stage.note(f"{name}: {seconds:.1f} s, {memory:.0f} MB, {said[:160]}")
    bound = int(stage.server.environment[TIMEOUT]) / 1000
    stage.require(seconds < bound + GRACE, f"{name} took {seconds:.0f} s, and {bound:.0f} s are the most")
    stage.require(memory < EXAMINATION, f"{name} took {memory:.0f} MB")
    clear = len(said) < 1000 and "panicked" not in said and "signal" not in said
    stage.require(clear, f"{name} is refused unclearly, with {len(said)} letters: {said[:200]}")


def by_command(stage: Stage) -> None:
    file = stage.server.folder / "hostile.onnx"
    for name, content in onnx.hostile().items():
        file.write_bytes(content)
        command = stage.server.begin("import", str(file), "--name", "hostile")
        started = time.monotonic()
        with ChildWatch(command.pid) as watch:
            said = command.communicate(timeout=150)[1].strip()
        judge(stage, name, time.monotonic() - started, watch.memory, said)
        stage.require(command.returncode == 1, f"{name} ended with status {command.returncode}")


def by_job(stage: Stage) -> None:
    for name, content in onnx.hostile().items():
        started = time.monotonic()
        with ChildWatch(stage.server.pid) as watch:
            answer = stage.attempt(lambda: send(stage, content))
            if answer is None or answer.status != 202:
                judge(stage, name, time.monotonic() - started, watch.memory, answer.body.decode() if answer else "closed")
                continue
            job = answer.json()["id"]
            told = stage.ended(job)
        error = stage.ask("GET", f"/jobs/{job}").json().get("error") or {}
        judge(stage, name, time.monotonic() - started, watch.memory, f"{error.get('code')}: {error.get('detail')}")
        stage.require(told == "failed (import)", f"the import of {name} is {told}")
    cancelled(stage)


def cancelled(stage: Stage) -> None:
    """Whoever cancels does not wait for the bound, and the examination ends."""
    answer = send(stage, onnx.hostile()["a loop without end"])
    job = answer.json()["id"]
    stage.until(lambda: bool(children(stage.server.pid)), "the examination of an import")
    stage.ask("POST", f"/jobs/{job}/cancel")
    started = time.monotonic()
    told = stage.ended(job)
    seconds = time.monotonic() - started
    stage.note(f"cancelled: {told} after {seconds:.1f} s")
    stage.require(told == "cancelled" and seconds < 5, f"a job that was cancelled is {told} after {seconds:.0f} s")
    stage.until(lambda: not children(stage.server.pid), "the end of an examination", 10)


def send(stage: Stage, content: bytes) -> wire.Answer:
    return stage.ask("POST", "/jobs/import?name=hostile", content, "application/octet-stream")


BOUND = {TIMEOUT: "60000", "GRAFT__MODELS__MAX_IMPORT_BYTES": "100000000"}
QUICK = {TIMEOUT: "6000"}
SCENARIOS = [
    Scenario(
        "import-command", "graft import of graphs that loop, grow or call without end", by_command, settings=BOUND, quick=QUICK,
        expect=Expectation(served=0.99, memory=200),
    ),
    Scenario(
        "import-job", "the same graphs by POST /jobs/import", by_job, settings=BOUND, quick=QUICK,
        expect=Expectation(served=0.99, memory=300),
    ),
]
