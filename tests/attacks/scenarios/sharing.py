"""Clients that do nothing forbidden, and much of it: what all share must stay shared."""

from __future__ import annotations

import json
import time

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage
from ..server import MODEL, ServerError

SMALL = files.FIXTURES / "models" / "colours.onnx"


def batches(stage: Stage, clients: int) -> None:
    """Requests of 64 photos in a loop."""
    body, kind = files.form([(files.FIXTURES / "cat.jpg").read_bytes()] * 64)
    path = f"/predict?model={MODEL}&top_k=1"
    stage.loops(clients, stage.pick(30.0, 5.0), lambda _: stage.ask("POST", path, body, kind))


def flood(stage: Stage, clients: int) -> None:
    """Clients, each with an address of its own, that send 128 single photos at a time."""
    photo = (files.FIXTURES / "cat.jpg").read_bytes()
    photos = stage.pick(128, 32)

    def work(number: int) -> wire.Answer:
        source = f"127.0.0.{10 + number % clients}"
        return stage.ask("POST", f"/predict?model={MODEL}&top_k=1", photo, "image/jpeg", source=source)

    stage.loops(clients * photos, stage.pick(30.0, 5.0), work)


def rare_layers(stage: Stage) -> None:
    """Another layer in each request, by four clients."""
    listed = stage.ask("GET", f"/models/{MODEL}/layers").json()["layers"]
    names = [layer["name"] for layer in listed]
    photo = (files.FIXTURES / "cat.jpg").read_bytes()

    def work(step: int) -> wire.Answer:
        path = f"/features?model={MODEL}&layer={names[step * 7 % len(names)]}&encoding_format=base64"
        return stage.ask("POST", path, photo, "image/jpeg")

    stage.loops(4, stage.pick(30.0, 5.0), work)


def large_json(stage: Stage) -> None:
    """Large answers in JSON, compressed, by four clients."""
    photo = (files.FIXTURES / "cat.jpg").read_bytes()
    path = f"/features?model={MODEL}&layer=block2a_expand_conv"
    gzip = {"Accept-Encoding": "gzip"}
    seconds = stage.pick(30.0, 5.0)
    stage.loops(4, seconds, lambda _: stage.ask("POST", path, photo, "image/jpeg", headers=gzip))


def loads(stage: Stage) -> None:
    """Requests for models that are not loaded, most of whose clients leave; then each of them must answer."""
    names = stage.made["models"]
    photo = (files.FIXTURES / "cat.jpg").read_bytes()

    def leave(number: int) -> str:
        request = wire.Ask("POST", f"/predict?model={names[number % len(names)]}", photo, "image/jpeg")
        with stage.dial() as stream:
            stream.sendall(request.wire())
            said = wire.heard(stream, 0.05 * (number % 3))
        return "left" if said == "nothing" else said

    for _ in range(stage.pick(5, 1)):
        stage.together(stage.pick(100, 40), leave)
        unknown = "/predict?model=none"
        stage.together(20, lambda number: stage.ask("POST", f"{unknown}{number}", photo, "image/jpeg"))
    for name in names:
        answer = stage.honest("POST", f"/predict?model={name}", photo, "image/jpeg")
        stage.require(answer.status == 200, f"{name} answered {answer.status} afterwards")


def with_small_models(stage: Stage) -> None:
    stage.made["models"] = names = [f"small{number}" for number in range(stage.pick(12, 4))]
    for name in names:
        done = stage.server.run("import", str(SMALL), "--name", name)
        if done.returncode:
            raise ServerError(f"graft import failed: {done.stderr[-300:]}")
    end = time.monotonic() + 30
    while stage.ask("GET", f"/models/{names[-1]}").status != 200 and time.monotonic() < end:
        time.sleep(0.2)


def phases(stage: Stage) -> None:
    """1 MB of JSON with 340,001 phases, twenty at once: as jobs, and as dry runs."""
    recipe = {"name": "phases", "dataset": stage.made["dataset"]}
    body = (json.dumps(recipe)[:-1] + ', "phases": [' + "{}," * 340_000 + "{}]}").encode()
    for path in ("/jobs/finetune", "/jobs/finetune?dry_run=true"):
        answers: list[wire.Answer] = []

        def send(_: int) -> wire.Answer:
            answers.append(stage.ask("POST", path, body))
            return answers[-1]

        stage.together(stage.pick(20, 8), send)
        largest = max((len(answer.body) for answer in answers), default=0)
        stage.require(largest < 100_000, f"an answer of {path} has {largest} bytes")


def with_a_dataset(stage: Stage) -> None:
    stage.made["dataset"] = stage.dataset()


def dry_runs(stage: Stage) -> None:
    """Eight clients plan in a loop, while an honest one has data sets deleted."""
    recipe = json.dumps({"name": "planned", "dataset": stage.made["dataset"]}).encode()
    doomed = stage.made["doomed"]
    seconds = stage.pick(30.0, 5.0)
    slowest: list[float] = []

    def delete(number: int) -> wire.Answer | str:
        time.sleep(seconds / len(doomed) * (number - 8))
        answer = stage.honest("DELETE", f"/datasets/{doomed[number - 8]}")
        slowest.append(answer.seconds)
        stage.require(answer.status == 204, f"a delete got {answer.status}: {answer.body[:200]!r}")
        stage.require(answer.seconds < 5, f"a delete took {answer.seconds:.1f} s")
        return answer

    def plan(_: int) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stage.attempt(lambda: stage.ask("POST", "/jobs/finetune?dry_run=true", recipe))

    stage.together(8 + len(doomed), lambda number: plan(number) if number < 8 else delete(number))
    stage.note(f"the slowest delete took {max(slowest, default=0) * 1e3:.0f} ms")


def plan_beside(stage: Stage) -> None:
    """An honest client plans, again and again, while four others keep the processors busy with 64 photos at a time."""
    body, kind = files.form([(files.FIXTURES / "cat.jpg").read_bytes()] * 64)
    path = f"/predict?model={MODEL}&top_k=1"
    stage.plans_beside(lambda: stage.ask("POST", path, body, kind), stage.made["dataset"], stage.pick(40.0, 8.0), 15)


def with_datasets(stage: Stage) -> None:
    stage.made["dataset"] = stage.dataset(files.dataset(20, 20))
    stage.made["doomed"] = [stage.dataset() for _ in range(stage.pick(10, 4))]


CHEAP = frozenset({"400", "422", "413", "503"})
SCENARIOS = [
    Scenario(
        "batches-one", "requests of 64 photos in a loop by one client", lambda stage: batches(stage, 1),
        expect=Expectation(memory=500),
    ),
    Scenario(
        "batches-four", "requests of 64 photos in a loop by four clients", lambda stage: batches(stage, 4),
        expect=Expectation(memory=500),
    ),
    Scenario(
        "flood-two", "two clients of 128 single photos each", lambda stage: flood(stage, 2),
        expect=Expectation(memory=600),
    ),
    Scenario(
        "flood-eight", "eight clients of 128 single photos each", lambda stage: flood(stage, 8),
        # What it freed is given back to the system every thirty seconds.
        expect=Expectation(memory=900, back=40),
    ),
    Scenario(
        "rare-layers", "another layer in each request, by four clients", rare_layers,
        expect=Expectation(kept=400),
    ),
    Scenario(
        "large-json", "large answers in JSON, compressed, by four clients", large_json,
        expect=Expectation(slowest_health=1, late_health=0.3, stop=35),
    ),
    Scenario(
        "loads", "requests for models that are not loaded, and clients that leave", loads, with_small_models,
        expect=Expectation(kept=400, files=64),
    ),
    Scenario(
        "phases", "1 MB of JSON with 340,001 phases, twenty at once, as jobs and as dry runs", phases,
        with_a_dataset, expect=Expectation(memory=250, outcomes=CHEAP),
    ),
    Scenario(
        "plan-beside", "an honest client plans while four others keep the processors busy", plan_beside, with_a_dataset,
        expect=Expectation(memory=900, kept=400),
    ),
    Scenario(
        "dry-runs", "dry runs in a loop, while data sets are deleted", dry_runs, with_datasets,
        expect=Expectation(memory=900),
    ),
]
