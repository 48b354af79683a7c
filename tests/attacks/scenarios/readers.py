"""Clients that ask for much and read nothing."""

from __future__ import annotations

import json
import time

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage
from ..server import MODEL

WRITES = {"GRAFT__SERVER__WRITE_TIMEOUT_MS": "2000"}
# What the kernel keeps for a client that does not read; small, so that what is seen is the server's part.
BUFFER = 4096
MAPS = "block2a_expand_conv"


def unread(stage: Stage, request: wire.Ask, count: int, seconds: float, times: int = 1) -> None:
    """`count` connections that each ask `times` and read nothing; what they got by the end counts."""
    streams = []

    def ask() -> None:
        stream = stage.dial(buffer=BUFFER, timeout=10)
        streams.append(stream)
        stream.sendall(request.wire() * times)

    for _ in range(count):
        stage.attempt(ask)
    stage.wait(seconds)
    for stream in streams:
        stage.count(wire.heard(stream))
        stream.close()


def features(stage: Stage) -> None:
    """Ten readers of 58 MB of maps each."""
    photos = [(files.FIXTURES / "cat.jpg").read_bytes()] * stage.pick(12, 4)
    body, kind = files.form(photos)
    path = f"/features?model={MODEL}&layer={MAPS}"
    request = wire.Ask("POST", path, body, kind, {"Accept": "application/x-npy"})
    unread(stage, request, 10, stage.pick(45.0, 6.0))


def scripts(stage: Stage) -> None:
    request = wire.Ask("GET", "/docs/swagger-ui-bundle.js")
    unread(stage, request, stage.pick(3000, 600), stage.pick(45.0, 4.0), times=2)


def models(stage: Stage) -> None:
    request = wire.Ask("GET", f"/models/{MODEL}/versions/1/onnx")
    unread(stage, request, stage.pick(500, 100), stage.pick(45.0, 4.0))


def lists(stage: Stage) -> None:
    """Sixty connections that ask for the list eight times each."""
    request = wire.Ask("GET", "/datasets")
    unread(stage, request, 60, stage.pick(45.0, 4.0), times=8)


def with_large_lists(stage: Stage) -> None:
    """Data sets of many classes with long names."""
    for number in range(stage.pick(20, 2)):
        stage.dataset(files.dataset(stage.pick(1000, 200), 2, f"{number:02}" + "x" * 120))
    listed = stage.ask("GET", "/datasets")
    stage.note(f"the list of data sets has {len(listed.body) / 1e6:.1f} MB")


def streams(stage: Stage) -> None:
    """One client takes event streams until it gets no more, and more; another one still gets one."""
    job = stage.made["job"]
    taken = []
    for _ in range(stage.pick(200, 80)):
        stream = stage.attempt(lambda: stage.dial(timeout=2))
        if stream:
            stream.sendall(wire.Ask("GET", f"/jobs/{job}/events").wire())
            taken.append(stream)
    stage.wait(stage.pick(10.0, 2.0))
    with wire.dial(stage.server.port, wire.HONEST) as honest:
        honest.sendall(wire.Ask("GET", f"/jobs/{job}/events").wire())
        said = wire.heard(honest, 5)
        stage.require(said == "200", f"another client's event stream got {said}")
    for stream in taken:
        stage.count(wire.heard(stream))
        stream.close()


def with_a_waiting_job(stage: Stage) -> None:
    recipe = {"name": "waits", "dataset": stage.dataset()}
    answer = stage.ask("POST", "/jobs/finetune", json.dumps(recipe).encode())
    stage.made["job"] = answer.json()["id"]


def slow_readers(stage: Stage) -> None:
    """Readers that take ten bytes a second of what they asked for."""
    path = f"/features?model={MODEL}&layer={MAPS}"
    photo = (files.FIXTURES / "cat.jpg").read_bytes()
    sent = wire.Ask("POST", path, photo, "image/jpeg", {"Accept": "application/x-npy"}).wire()
    end = time.monotonic() + stage.pick(75.0, 6.0)

    def one(_: int) -> str:
        with stage.dial(buffer=BUFFER) as stream:
            stream.sendall(sent)
            stream.settimeout(60)
            while time.monotonic() < end:
                if not stream.recv(10):
                    return "closed"
                time.sleep(1)
        return "left"

    stage.together(60, one)


SCENARIOS = [
    Scenario(
        "unread-features", "ten readers of 58 MB of feature maps that read nothing", features, quick=WRITES,
        expect=Expectation(memory=700),
    ),
    Scenario(
        "slow-features", "sixty readers of 5 MB of feature maps that read ten bytes a second", slow_readers,
        quick=WRITES, expect=Expectation(memory=700),
    ),
    Scenario(
        "unread-scripts", "3,000 unread downloads of the documentation's script", scripts, quick=WRITES | {
            "GRAFT__SERVER__KEEP_ALIVE_TIMEOUT_MS": "3000"
        }, expect=Expectation(served=0.98, memory=150),
    ),
    Scenario(
        "unread-models", "500 unread downloads of a model", models, quick=WRITES,
        expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "unread-lists", "60 unread lists of data sets", lists, with_large_lists, quick=WRITES,
        expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "event-streams", "one client takes all event streams", streams, with_a_waiting_job,
        expect=Expectation(served=0.98, memory=150), settings={"GRAFT__JOBS__WORKERS": "0"},
    ),
]
