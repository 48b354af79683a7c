"""Clients that declare and do not send, send slowly, or only open connections."""

from __future__ import annotations

import resource
import time

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage

MEGABYTES_64 = 64 << 20
HEADERS = {"GRAFT__SERVER__HEADER_TIMEOUT_MS": "2000", "GRAFT__SERVER__KEEP_ALIVE_TIMEOUT_MS": "3000"}
BODIES = {"GRAFT__SERVER__BODY_IDLE_TIMEOUT_MS": "3000"}


def trickle(stage: Stage, head: bytes, pieces: int, piece: bytes, seconds: float) -> str:
    """Sends `head`, then `piece` after `piece` over `seconds`, and says what came back."""
    with stage.dial() as stream:
        stream.sendall(head)
        for _ in range(pieces):
            said = wire.heard(stream, seconds / pieces)
            if said != "nothing":
                return said
            stream.sendall(piece)
        return wire.heard(stream, 0.5)


def declared_bodies(stage: Stage) -> None:
    """Eighteen sockets, each of which declares 64 MB and sends 6 kB in 90 s."""
    head = wire.Ask("POST", "/predict", b"", "image/jpeg").wire(MEGABYTES_64)
    seconds = stage.pick(90.0, 8.0)
    stage.together(18, lambda _: trickle(stage, head, 60, b"x" * 100, seconds), seconds + 60)


def slow_uploads(stage: Stage) -> None:
    """Four uploads of 1 byte in 20 s, thrice, while an honest client uploads whole data sets."""
    head = wire.Ask("POST", "/datasets", b"", "application/x-tar").wire(10_000_000)
    seconds = stage.pick(80.0, 6.0)
    honest = files.dataset()

    def work(number: int) -> str | wire.Answer:
        if number < 4:
            return trickle(stage, head, stage.pick(4, 2), b"x", seconds)
        time.sleep(0.5 + (number - 4) * seconds / 8)
        answer = stage.honest("POST", "/datasets", honest, "application/x-tar")
        stage.require(answer.status == 201, f"an honest upload got {answer.status}: {answer.body[:200]!r}")
        return answer

    stage.together(4 + stage.pick(6, 3), work, seconds + 60)


def slow_headers(stage: Stage) -> None:
    """Headers that come byte by byte, one in a second."""
    seconds = stage.pick(45.0, 4.0)
    count = stage.pick(300, 60)
    head = b"GET / HTTP/1.1\r\nX-"
    stage.together(count, lambda _: trickle(stage, head, int(seconds), b"x", seconds), seconds + 60)


def hold(stage: Stage, count: int, seconds: float, sent: bytes = b"") -> None:
    """Opens `count` connections, sends `sent` on each, and keeps them."""
    streams = []
    for _ in range(count):
        stream = stage.attempt(lambda: stage.dial(timeout=2))
        if stream:
            streams.append(stream)
            stage.attempt(lambda: stream.sendall(sent))
    stage.wait(seconds)
    for stream in streams:
        stage.count(wire.heard(stream))
        stream.close()


def idle_connections(stage: Stage) -> None:
    """More connections than the process may open files, while a job trains."""
    job = stage.ask("POST", "/jobs/finetune", stage.made["recipe"]).json()
    hold(stage, stage.pick(600, 300), stage.pick(30.0, 5.0))
    end = time.monotonic() + 120
    while (state := stage.ask("GET", f"/jobs/{job['id']}").json())["state"] in ("queued", "running"):
        if time.monotonic() > end or not stage.server.is_alive():
            break
        time.sleep(0.5)
    stage.note(f"the job meanwhile: {state['state']}")
    stage.require(state["state"] == "succeeded", f"the job is {state['state']}: {state.get('error')}")


def with_a_recipe(stage: Stage) -> None:
    dataset = stage.dataset()
    recipe = '{"name": "meanwhile", "dataset": "%s", "phases": [{"trainable": "head", "epochs": 2}]}'
    stage.made["recipe"] = (recipe % dataset).encode()


def many_connections(stage: Stage) -> None:
    """As many idle connections as may be, and more, from one address."""
    hold(stage, stage.pick(2000, 1100), stage.pick(30.0, 3.0))


def come_and_go(stage: Stage) -> None:
    """Connections that are opened and closed, half of them with a request that nobody waits for."""
    count = stage.pick(2000, 500)

    def one(number: int) -> str:
        for at in range(count // 20):
            with stage.dial() as stream:
                if at % 2:
                    stream.sendall(wire.Ask("GET", "/models").wire())
                wire.hang_up(stream, rudely=at % 4 == 1)
        return "left"

    stage.together(20, one)


SCENARIOS = [
    Scenario(
        "declared-bodies", "18 sockets declare 64 MB each and send 6 kB in 90 s", declared_bodies,
        quick=BODIES, expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "slow-uploads", "four uploads of 1 byte in 20 s, while others upload data sets", slow_uploads,
        quick=BODIES, expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "slow-headers", "300 headers that come byte by byte", slow_headers, quick=HEADERS,
        expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "idle-256-files", "600 idle connections at a server that may open 256 files, while a job trains",
        idle_connections, with_a_recipe,
        expect=Expectation(memory=700, kept=500, files=16, stop=35, most_files=250),
        settings={"GRAFT__JOBS__NICE": "0"}, limits={resource.RLIMIT_NOFILE: 256}, quick=HEADERS,
    ),
    Scenario(
        "idle-2000", "2,000 idle connections from one address", many_connections, quick=HEADERS,
        expect=Expectation(served=0.98, memory=200),
    ),
    Scenario(
        "come-and-go", "2,000 connections that are opened and closed", come_and_go,
        expect=Expectation(memory=200),
    ),
]
