"""Clients that hang up while their work is at a stage behind decoding: sessions, uploads, answers, downloads."""

from __future__ import annotations

from collections.abc import Callable

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage
from ..server import MODEL

PHOTO = (files.FIXTURES / "cat.jpg").read_bytes()
# Of 5 MB, which is 40 MB as JSON.
MAPS = "block2a_expand_conv"


def leaving(stage: Stage, asked: Callable[[int], wire.Ask], expected: int) -> None:
    """Sixty clients at once, five times over, that leave at any time within a second; afterwards one of them stays."""

    def leave(number: int) -> str:
        with stage.dial() as stream:
            stream.sendall(asked(number).wire())
            said = wire.heard(stream, 0.05 + number % 20 * 0.05)
            wire.hang_up(stream, rudely=number % 2 == 0)
        return "left" if said == "nothing" else said

    for _ in range(stage.pick(5, 1)):
        stage.together(stage.pick(60, 20), leave)
    stayed = asked(0)

    def is_answered() -> bool:
        answer = wire.ask(stage.server.target, stayed)
        stage.require(answer.status in (expected, 503), f"one that stays got {answer.status}: {answer.body[:200]!r}")
        return answer.status == expected

    # What others left is over soon, and with it what bounds it.
    stage.until(is_answered, "the answer of one that stays", 30)


def sessions(stage: Stage) -> None:
    names = [layer["name"] for layer in stage.ask("GET", f"/models/{MODEL}/layers").json()["layers"]]

    def asked(number: int) -> wire.Ask:
        path = f"/features?model={MODEL}&layer={names[number * 7 % len(names)]}&encoding_format=base64"
        return wire.Ask("POST", path, PHOTO, "image/jpeg")

    leaving(stage, asked, 200)


def uploads(stage: Stage) -> None:
    """Data sets that take seconds to unpack; nothing of them is left."""
    body = files.dataset(20, stage.pick(200, 40))
    leaving(stage, lambda _: wire.Ask("POST", "/datasets", body, "application/x-tar"), 201)
    folder = stage.server.data / "datasets"
    stage.until(lambda: not any(folder.glob(".*")), "the end of what was left", 60)
    for one in stage.ask("GET", "/datasets?limit=100").json()["datasets"]:
        stage.ask("DELETE", f"/datasets/{one['id']}")


def unpacking(stage: Stage) -> None:
    """Each hangs up as its archive begins to be unpacked; an honest client uploads data sets meanwhile."""
    body = files.headers(stage.pick(20_000_000, 2_000_000))
    honest = files.dataset()

    def leave(_: int) -> str:
        with stage.dial() as stream:
            stream.sendall(wire.Ask("POST", "/datasets", body, "application/gzip").wire())
            said = wire.heard(stream, 0.3)
        return "left" if said == "nothing" else said

    def upload() -> wire.Answer:
        answer = stage.honest("POST", "/datasets", honest, "application/x-tar")
        stage.require(answer.status == 201, f"an honest upload got {answer.status}: {answer.body[:200]!r}")
        return answer

    for _ in range(stage.pick(5, 2)):
        stage.together(2, leave)
        stage.attempt(upload)
        stage.wait(1.0)


def answers(stage: Stage) -> None:
    """Large answers in JSON that are written and compressed."""
    gzip = {"Accept-Encoding": "gzip"}
    path = f"/features?model={MODEL}&layer={MAPS}"
    leaving(stage, lambda _: wire.Ask("POST", path, PHOTO, "image/jpeg", gzip), 200)


def downloads(stage: Stage) -> None:
    leaving(stage, lambda _: wire.Ask("GET", f"/models/{MODEL}/versions/1/onnx"), 200)


SCENARIOS = [
    Scenario(
        "hangup-sessions", "sixty clients ask for rare layers and hang up while sessions are built", sessions,
        expect=Expectation(memory=900, kept=400),
    ),
    Scenario(
        "hangup-uploads", "sixty clients send a data set and hang up while it is received or unpacked", uploads,
        expect=Expectation(memory=600, kept=250, back=30),
    ),
    Scenario(
        "hangup-headers", "five clients send tar archives of 20,000,000 headers, gzipped, and hang up", unpacking,
        expect=Expectation(memory=300, back=15),
    ),
    Scenario(
        "hangup-answers", "sixty clients hang up while large JSON is written and compressed", answers,
        expect=Expectation(slowest_health=1, late_health=0.3, stop=35),
    ),
    Scenario(
        "hangup-downloads", "sixty clients hang up while a model is opened or sent", downloads,
        expect=Expectation(served=0.98, memory=200),
    ),
]
