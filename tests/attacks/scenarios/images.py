"""Images that cost far more than their bytes, and clients that hang up on large ones."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage


def hang_ups(stage: Stage, leave: Callable[[Stage, wire.Ask, int], str]) -> None:
    """Sixty clients at once, three times over, each of which sends a photo of 49 megapixels and leaves."""
    request = wire.Ask("POST", "/predict", files.large_photo(), "image/jpeg")
    for _ in range(stage.pick(3, 1)):
        stage.together(stage.pick(60, 12), lambda number: leave(stage, request, number))
        stage.wait(2.0)
    # What they left is decoded, or is not: others must be served meanwhile.
    stage.wait(stage.pick(15.0, 3.0))


def while_sending(stage: Stage, request: wire.Ask, number: int) -> str:
    with stage.dial() as stream:
        sent = request.wire()
        stream.sendall(sent[: len(sent) // 2])
        wire.hang_up(stream, rudely=number % 2 == 0)
    return "left"


def right_after_sending(stage: Stage, request: wire.Ask, number: int) -> str:
    with stage.dial() as stream:
        stream.sendall(request.wire())
        wire.hang_up(stream, rudely=number % 2 == 0)
    return "left"


def while_decoding(stage: Stage, request: wire.Ask, number: int) -> str:
    with stage.dial() as stream:
        stream.sendall(request.wire())
        outcome = wire.heard(stream, 0.1 + number % 10 * 0.1)
        wire.hang_up(stream, rudely=number % 2 == 0)
    return "left" if outcome == "nothing" else outcome


def bombs(size: int) -> dict[str, bytes]:
    """PNGs of 32 × 32 pixels that hold, beside them, what inflates to `size` bytes."""
    zeros = files.inflating(size)
    parts = {
        "iCCP": b"x\0\0" + zeros,
        "zTXt": b"x\0\0" + zeros,
        "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0" + zeros,
    }
    rows = [bytes(range(32))] * 32
    chunks = {kind: files.chunk(kind.encode(), data) for kind, data in parts.items()}
    made = {f"{kind} before": files.png(rows, before=data) for kind, data in chunks.items()}
    for kind in ("zTXt", "iTXt"):
        made[f"{kind} behind"] = files.png(rows, behind=chunks[kind])
    return made


def inflating_pngs(stage: Stage) -> None:
    """Each kind twice at once, then all kinds in one request."""
    pictures = bombs(stage.pick(3 << 30, 512 << 20))
    for name, picture in pictures.items():
        started = time.monotonic()
        stage.together(2, lambda _: stage.ask("POST", "/predict", picture, "image/png"))
        stage.note(f"{name}: {len(picture)} bytes, {time.monotonic() - started:.1f} s")
    body, kind = files.form(list(pictures.values()), "image/png")
    stage.attempt(lambda: stage.ask("POST", "/predict", body, kind))


def one_of_scans(stage: Stage) -> None:
    picture = files.empty_scans(98)
    answer = stage.attempt(lambda: stage.ask("POST", "/predict", picture, "image/jpeg"))
    if answer:
        stage.note(f"{len(picture)} bytes: {answer.status} after {answer.seconds:.1f} s")


def eight_of_scans(stage: Stage) -> None:
    send_form(stage, [files.empty_scans(98)] * 8, 1)


def scans_within(stage: Stage) -> None:
    """As many scans as are allowed, from four clients: what is decoded must not be in the way of others."""
    send_form(stage, [files.empty_scans(27)] * stage.pick(2, 1), stage.pick(16, 2))


def leave_much_behind(stage: Stage) -> None:
    """Clients that send such requests and hang up: nothing of that may keep the server from ending."""
    body, kind = files.form([files.empty_scans(27)] * 2)
    for _ in range(4):
        with stage.dial() as stream:
            stream.sendall(wire.Ask("POST", "/predict", body, kind).wire())
            stage.wait(0.2)


def send_form(stage: Stage, pictures: list[bytes], clients: int) -> None:
    body, kind = files.form(pictures)
    started = time.monotonic()
    stage.together(clients, lambda _: stage.ask("POST", "/predict", body, kind), patience=150)
    stage.note(f"{len(body)} bytes each: {time.monotonic() - started:.1f} s")


def scans_in_a_dataset(stage: Stage) -> None:
    """A data set of nothing else is checked, while an honest client uploads small ones."""
    count = stage.pick(24, 4)
    costly = files.tar({f"{at % 2}/{at}.jpg": files.empty_scans(98) + bytes(at) for at in range(count)})
    honest = files.dataset()

    def upload() -> wire.Answer:
        time.sleep(0.3)
        answer = stage.honest("POST", "/datasets", honest, "application/x-tar")
        stage.require(answer.status == 201, f"an honest upload got {answer.status}: {answer.body[:200]!r}")
        stage.require(answer.seconds < 10, f"an honest upload took {answer.seconds:.1f} s")
        return answer

    def work(number: int) -> wire.Answer | None:
        if number < 2:
            return stage.ask("POST", "/datasets", costly, "application/x-tar")
        # One after another: a client that has one of the places which two others leave.
        uploads = [stage.attempt(upload) for _ in range(stage.pick(7, 2))]
        stage.note(f"honest uploads took {max(answer.seconds for answer in uploads if answer):.2f} s at most")
        return upload()

    stage.together(3, work)


def gifs_of_clear_codes(stage: Stage) -> None:
    """Again and again, gzipped: a few hundred kilobytes for what holds a thread for minutes."""
    body = gzip.compress(files.clear_codes(stage.pick(30_000_000, 4_000_000)), 6)
    gzipped = {"Content-Encoding": "gzip"}
    stage.loops(4, stage.pick(20.0, 3.0), lambda _: stage.ask("POST", "/predict", body, "image/gif", headers=gzipped))
    stage.note(f"{len(body)} bytes each")


def with_heavy_dataset(stage: Stage) -> None:
    count = stage.pick(8, 4)
    heavy = files.tar({f"{at % 2}/{at}.jpg": files.empty_scans(20) + bytes(at) for at in range(count)})
    stage.made["heavy"], stage.made["light"] = stage.dataset(heavy), stage.dataset(files.dataset(2, 4))


def heavy_plans(stage: Stage) -> None:
    """Four clients plan with it, in a loop, while an honest client plans with a small one."""
    recipe = json.dumps({"name": "planned", "dataset": stage.made["heavy"]}).encode()
    path = "/jobs/finetune?dry_run=true"
    stage.plans_beside(lambda: stage.ask("POST", path, recipe), stage.made["light"], stage.pick(30.0, 6.0), 10)


SCENARIOS = [
    Scenario(
        "hangup-sending", "sixty clients send half of a photo of 49 megapixels and hang up",
        lambda stage: hang_ups(stage, while_sending), expect=Expectation(memory=500),
    ),
    Scenario(
        "hangup-sent", "sixty clients send a photo of 49 megapixels and hang up at once",
        lambda stage: hang_ups(stage, right_after_sending),
    ),
    Scenario(
        "hangup-decoding", "sixty clients send a photo of 49 megapixels and hang up while it is decoded",
        lambda stage: hang_ups(stage, while_decoding),
    ),
    Scenario(
        "png-inflating", "PNGs whose profile or texts, before or behind the pixels, inflate to 3 GB",
        inflating_pngs, expect=Expectation(memory=200, outcomes=frozenset({"200", "422"})),
    ),
    Scenario(
        "jpeg-scans", "a progressive JPEG of 49 megapixels with 98 empty scans", one_of_scans,
        expect=Expectation(memory=600, outcomes=frozenset({"200", "422"})),
    ),
    Scenario(
        "jpeg-scans-eight", "eight of these JPEGs in one request", eight_of_scans,
        expect=Expectation(outcomes=frozenset({"200", "422"})),
    ),
    Scenario(
        "jpeg-scans-within", "sixteen requests of two JPEGs with as many scans as are allowed", scans_within,
        parting=leave_much_behind, expect=Expectation(outcomes=frozenset({"200", "422", "503", "504"})),
    ),
    Scenario(
        "jpeg-scans-dataset", "two data sets of such JPEGs, while others upload honest ones",
        scans_in_a_dataset, expect=Expectation(slowest=10, outcomes=frozenset({"201", "422", "503"})),
    ),
    Scenario(
        "gif-clears", "GIFs of one pixel and 30 MB of codes that begin anew", gifs_of_clear_codes,
        expect=Expectation(memory=500, outcomes=frozenset({"422", "503"})),
    ),
    Scenario(
        "heavy-plans", "dry runs with a data set of images of 49 megapixels and 20 scans, beside honest ones", heavy_plans,
        with_heavy_dataset, expect=Expectation(memory=400, outcomes=frozenset({"200", "503"})),
    ),
]
