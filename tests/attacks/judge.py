"""Runs one scenario and says whether it went as expected."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .honest import HEALTH, PREDICT, Figures, Honest
from .scenario import Expectation, Scenario, Stage
from .server import Server, ServerError, SkippedError
from .watch import Usage, Watch, usage

# How long the honest client is looked at, at least, in seconds.
SHORTEST = 3.0


@dataclass
class Result:
    """What was seen."""

    name: str
    problems: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    before: Usage = field(default_factory=Usage)
    peak: Usage = field(default_factory=Usage)
    after: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    # Until it was as before, if it ever was.
    back: float | None = None
    stop: float = 0.0
    figures: dict[str, Figures] = field(default_factory=dict)
    # What this machine lacks, if the scenario could not be run.
    skipped: str = ""


def run(scenario: Scenario, graft: Path, port: int, quick: bool) -> Result:
    """The scenario against a server of its own; everything that it starts has ended afterwards."""
    result = Result(scenario.name)
    settings = scenario.settings | (scenario.quick if quick else {})
    with Server(graft, settings, scenario.limits, port) as server:
        try:
            if scenario.equip:
                scenario.equip(server)
            server.start()
            stage = Stage(server, quick)
            result.outcomes, result.notes, result.problems = stage.outcomes, stage.notes, stage.problems
            _attack(scenario, stage, result)
            if scenario.parting and server.is_alive():
                scenario.parting(stage)
        except SkippedError as error:
            result.skipped = str(error)
        except (ServerError, OSError, ValueError, KeyError, http.client.HTTPException) as error:
            result.problems.append(f"the scenario itself failed: {error!r}")
        _end(scenario.expect, server, result)
    return result


def _attack(scenario: Scenario, stage: Stage, result: Result) -> None:
    server = stage.server
    if scenario.prepare:
        scenario.prepare(stage)
    honest, watch = Honest(server.target), Watch(server.pid)
    try:
        calm = _calm(honest, stage)
        result.before = watch.begin()
        start = time.monotonic()
        scenario.attack(stage)
        # Whatever is over at once must leave others alone, too.
        stage.wait(start + SHORTEST - time.monotonic())
        over = time.monotonic()
        result.seconds = over - start
        result.back = _settle(scenario.expect, stage, result)
        # What attackers left behind counts, too.
        result.peak, result.after = watch.end(), usage(server.pid)
        result.peak.processor -= result.before.processor
    finally:
        watch.close()
        honest.close()
    for kind in (PREDICT, HEALTH):
        result.figures[f"{kind} calm"] = honest.within(kind, calm, start)
        result.figures[f"{kind} attacked"] = honest.within(kind, start, over)
        result.figures[f"{kind} after"] = honest.within(kind, over, float("inf"))
    _judge(scenario.expect, server, result)


def _calm(honest: Honest, stage: Stage) -> float:
    """Waits until the honest client has been served for a while; since when that counts."""
    end = time.monotonic() + 30
    while not honest.within(PREDICT, 0, end).outcomes["200"]:
        if time.monotonic() > end:
            raise ServerError(f"the honest client is not served: {honest.samples[-3:]}")
        time.sleep(0.05)
    begin = time.monotonic()
    stage.wait(stage.pick(3.0, 1.5))
    return begin


def _settle(expect: Expectation, stage: Stage, result: Result) -> float | None:
    """How long it takes until memory, files and threads are as before; `None` if over a minute."""
    start = time.monotonic()
    calm = 0
    while time.monotonic() - start < stage.pick(60.0, expect.back + 3) and stage.server.is_alive():
        now = usage(stage.server.pid)
        calm = calm + 1 if _is_back(expect, result.before, now) else 0
        # Twice, and the honest client has been there meanwhile.
        if calm >= 8:
            return time.monotonic() - start
        time.sleep(0.25)
    return None


def _is_back(expect: Expectation, before: Usage, now: Usage) -> bool:
    return (
        now.memory <= before.memory + expect.kept
        and now.files <= before.files + expect.files
        and now.threads <= before.threads + expect.threads
    )


def _difference(result: Result) -> str:
    """What there is more of than before."""
    before, after = result.before, result.after
    memory, threads = after.memory - before.memory, after.threads - before.threads
    return f"{memory:+.0f} MB, {threads:+} threads, {after.files - before.files:+} files"


def _judge(expect: Expectation, server: Server, result: Result) -> None:
    """Adds what was not as expected."""
    if not server.is_alive():
        result.problems.append(f"the server died ({server.ended()})")
        return
    served = result.figures[f"{PREDICT} attacked"]
    health = result.figures[f"{HEALTH} attacked"]
    breaches = {
        f"{served.share('200'):.0%} of honest predictions were served": served.share("200") < expect.served,
        f"an honest prediction took {served.slowest:.1f} s": served.slowest > expect.slowest,
        f"/healthz took {health.slowest:.1f} s": health.slowest > expect.slowest_health,
        f"the 99th percentile of /healthz is {health.late:.1f} s": health.late > expect.late_health,
        f"/healthz answered {dict(health.outcomes)}": health.share("200") < 1,
        f"memory grew by {result.peak.memory - result.before.memory:.0f} MB":
            result.peak.memory - result.before.memory > expect.memory,
        f"the kernel held {result.peak.kernel - result.before.kernel:.0f} MB":
            result.peak.kernel - result.before.kernel > expect.kernel,
        f"{result.peak.files} files were open": result.peak.files > expect.most_files,
        f"{result.peak.threads} threads ran": result.peak.threads > expect.most_threads,
        f"it was not as before after {expect.back:.0f} s ({_difference(result)})":
            result.back is None or result.back > expect.back,
        f"/readyz was {'an error' if expect.ready else '200'} in the end": server.is_ready() != expect.ready,
    }
    result.problems += [text for text, broken in breaches.items() if broken]
    result.problems += _unclear(served, {"200", "503"}, "honest predictions")
    result.problems += _unclear(result.figures[f"{PREDICT} after"], {"200"}, "honest predictions afterwards")
    strange = {key: many for key, many in result.outcomes.items() if key not in expect.outcomes}
    if strange:
        result.problems.append(f"attackers got {strange}")


def _unclear(figures: Figures, clear: set[str], whose: str) -> list[str]:
    wrong = {key: many for key, many in figures.outcomes.items() if key not in clear}
    return [f"{whose} got {wrong}"] if wrong else []


def _end(expect: Expectation, server: Server, result: Result) -> None:
    alive = server.is_alive()
    result.stop = server.stop()
    if alive and result.stop > expect.stop:
        result.problems.append(f"it took {result.stop:.0f} s to end after SIGTERM")
    result.problems = list(dict.fromkeys(result.problems))
    result.problems += [f"it panicked: {line[:200]}" for line in server.panics()[:3]]
