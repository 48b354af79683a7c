"""Models that do not all fit, models that fit never, and versions that go while they are asked."""

from __future__ import annotations

import time

from .. import files, onnx, wire
from ..scenario import CLEAR, Expectation, Scenario, Stage
from ..server import MODEL, STARTER, ServerError

PHOTO = (files.FIXTURES / "cat.jpg").read_bytes()
# Room for the default model, which stays, and for one of two others (19 MB each).
ROOM = {"GRAFT__MODELS__MAX_LOADED_BYTES": "50000000"}
# How long the answer of a model that has to be loaded may take, on busy processors, in seconds.
PATIENCE = 20


def imported(stage: Stage, *words: str) -> None:
    done = stage.server.run("import", *words)
    if done.returncode:
        raise ServerError(f"graft import failed: {done.stderr[-300:]}")


def ask(stage: Stage, model: str, **more: str) -> wire.Answer:
    return stage.ask("POST", f"/predict?model={model}&top_k=1", PHOTO, "image/jpeg", **more)


def with_two_others(stage: Stage) -> None:
    """Copies of the default model, and a larger one than may ever be loaded."""
    for name in ("one", "other"):
        imported(stage, MODEL, str(STARTER), "--name", name)
    file = stage.server.folder / "heavy.onnx"
    file.write_bytes(onnx.heavy(60))
    imported(stage, str(file), "--name", "heavy")
    stage.until(lambda: stage.ask("GET", "/models/heavy").status == 200, "a model's appearance")
    stage.require(ask(stage, "one").status == 200, "a model does not load while there is room for it")


def busy_one(stage: Stage) -> None:
    """Two clients keep a model busy with 64 photos at a time; a third asks for one that needs its place."""
    body, kind = files.form([PHOTO] * 64)
    seconds = stage.pick(40.0, 8.0)
    waited: list[float] = []

    def work(number: int) -> wire.Answer:
        if number % 3 < 2:
            source = f"127.0.0.{10 + number % 3}"
            return stage.ask("POST", "/predict?model=one&top_k=1", body, kind, source=source)
        answer = ask(stage, "other", source="127.0.0.12")
        if answer.status == 200:
            waited.append(answer.seconds)
        stage.require(answer.seconds < PATIENCE, f"a model behind a busy one took {answer.seconds:.0f} s: {answer.status}")
        return answer

    stage.loops(3, seconds, work)
    stage.note(f"the other model answered {len(waited)} times, the slowest after {max(waited, default=0):.1f} s")
    stage.require(bool(waited), "the model that needed a busy one's place never answered")


def turns(stage: Stage) -> None:
    """Two clients, each of which asks for the model that is not loaded, as soon as it is answered."""
    answered = {"one": 0, "other": 0}

    def work(number: int) -> wire.Answer:
        name = ("one", "other")[number % 2]
        answer = ask(stage, name, source=f"127.0.0.{10 + number % 2}")
        answered[name] += answer.status == 200
        stage.require(answer.seconds < PATIENCE, f"one of two models in turns took {answer.seconds:.0f} s: {answer.status}")
        return answer

    stage.loops(2, stage.pick(30.0, 6.0), work)
    stage.note(f"answers: {answered}")
    stage.require(min(answered.values()) > 0, f"one of two models never had its turn: {answered}")


def too_large(stage: Stage) -> None:
    """Everyone asks for a model that never fits: that is said at once, and the others stay loaded."""
    loaded = shown(stage)

    def work(_: int) -> wire.Answer:
        answer = ask(stage, "heavy")
        # There is nothing to be retried, so that it need not say when.
        stage.require(answer.status == 503, f"a model that never fits answered {answer.status}")
        stage.require(b"max_loaded_bytes" in answer.body, f"the refusal names no setting: {answer.body[:200]!r}")
        stage.require(answer.seconds < 3, f"that a model never fits was said after {answer.seconds:.0f} s")
        return answer

    stage.loops(8, stage.pick(15.0, 3.0), work)
    stage.note(f"loaded before: {loaded}, after: {shown(stage)}")
    stage.require(shown(stage) == loaded, f"{loaded} were loaded, and then {shown(stage)}")


def shown(stage: Stage) -> list[str]:
    """The models that are loaded."""
    models = stage.ask("GET", "/models").json()["models"]
    return sorted(one["name"] for one in models if any(version["loaded"] for version in one["versions"]))


def with_versions(stage: Stage) -> None:
    """Versions of one model, all of which but the first may go."""
    count = stage.made["versions"] = stage.pick(8, 3)
    for _ in range(count):
        imported(stage, MODEL, str(STARTER), "--name", "doomed")

    def has_all() -> bool:
        return len(stage.ask("GET", "/models/doomed").json().get("versions", [])) == count

    stage.until(has_all, "the versions' appearance")
    told = stage.ask("PUT", "/models/doomed/stable", b'{"version": 1}')
    if told.status != 200:
        raise ServerError(f"a version cannot be chosen: {told.body[:200]!r}")
    stage.made["layers"] = [layer["name"] for layer in stage.ask("GET", "/models/doomed/layers").json()["layers"]]


def deleted(stage: Stage) -> None:
    """Clients ask for rare layers of a version, each of which wants a session, while it is deleted."""
    layers = stage.made["layers"]
    for version in range(2, stage.made["versions"] + 1):
        gone = time.monotonic() + 1.0 + version % 4 * 0.4

        def work(number: int, version: int = version, gone: float = gone) -> wire.Answer:
            if number % 5 == 4:
                time.sleep(max(gone - time.monotonic(), 0.2))
                return stage.ask("DELETE", f"/models/doomed/versions/{version}")
            layer = layers[number * 7 % len(layers)]
            path = f"/features?model=doomed&version={version}&layer={layer}&encoding_format=base64"
            return stage.ask("POST", path, PHOTO, "image/jpeg")

        stage.loops(5, gone - time.monotonic() + 2, work)
        left = ask(stage, "doomed", source=wire.HONEST).status
        stage.require(left == 200, f"the version that stays answered {left}")
        last = stage.ask("DELETE", f"/models/doomed/versions/{version}").status
        stage.require(last == 404, f"version {version} is deleted, and yet it got {last}")


SCENARIOS = [
    Scenario(
        "busy-model", "a model has to go, while two clients keep it busy, for one that is not loaded", busy_one, with_two_others,
        settings=ROOM, expect=Expectation(memory=900, kept=400, files=32),
    ),
    Scenario(
        "model-turns", "two models that do not fit together are asked for in turns", turns, with_two_others, settings=ROOM,
        expect=Expectation(memory=400, kept=300, files=32),
    ),
    Scenario(
        "model-too-large", "a model that can never be loaded is asked for by eight clients", too_large, with_two_others,
        settings=ROOM, expect=Expectation(memory=200, outcomes=CLEAR),
    ),
    Scenario(
        "deleted-versions", "versions are deleted while clients ask for rare layers of them", deleted, with_versions,
        expect=Expectation(memory=900, kept=500, files=64, outcomes=CLEAR),
    ),
]
