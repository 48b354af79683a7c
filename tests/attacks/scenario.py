"""A scenario: an attack, what it is prepared with, and what is expected meanwhile and afterwards, as data."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import files, wire
from .server import Server, ServerError

T = TypeVar("T")
JSON = "application/json"
RECIPE = {"name": "shapes", "phases": [{"trainable": "head", "epochs": 2}]}
# What clients may be told or meet; all else is a breach wherever it is not expected.
CLEAR = frozenset({"200", "201", "202", "204", "400", "404", "408", "409", "413", "422", "429", "503", "507"})
OWN = frozenset({"left", "nothing", "closed", "refused"})


@dataclass(frozen=True)
class Expectation:
    """What must hold. Memory in megabytes, time in seconds; the bounds are for two busy processors."""

    # Honest predictions answered with 200, of all; the others must be clear refusals.
    served: float = 0.95
    # The slowest honest prediction, the slowest answer of /healthz, and its 99th percentile.
    slowest: float = 5.0
    slowest_health: float = 2.0
    late_health: float = 1.0
    # Growth at the peak: what two images of 49 megapixels take while they are decoded, and some more.
    memory: float = 1000.0
    kernel: float = 512.0
    # Connections (1,024) and what else is open; threads, those that wait for disks included.
    most_files: int = 1200
    most_threads: int = 160
    # What attackers may get.
    outcomes: frozenset[str] = CLEAR | OWN
    # Afterwards, and how soon: the runtime keeps idle threads for ten seconds, and some while it serves.
    kept: float = 200.0
    files: int = 8
    threads: int = 40
    back: float = 15.0
    # Whether /readyz is 200 in the end, and how long the end takes after SIGTERM.
    ready: bool = True
    stop: float = 10.0


@dataclass(frozen=True)
class Scenario:
    """One kind of attack against a fresh server."""

    name: str
    what: str
    attack: Callable[[Stage], None]
    prepare: Callable[[Stage], None] | None = None
    # What the server needs before it starts; may say that this machine cannot do it.
    equip: Callable[[Server], None] | None = None
    # What attackers do right before SIGTERM.
    parting: Callable[[Stage], None] | None = None
    expect: Expectation = Expectation()
    settings: dict[str, str] = field(default_factory=dict)
    # Settings that make waiting short, for --quick.
    quick: dict[str, str] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)


class Stage:
    """What an attack works with, and where it says what it met."""

    def __init__(self, server: Server, quick: bool):
        self.server, self.quick = server, quick
        self.outcomes: Counter[str] = Counter()
        self.notes: list[str] = []
        self.problems: list[str] = []
        # What preparation made, such as the names of data sets.
        self.made: dict[str, Any] = {}
        self._lock = threading.Lock()

    def pick(self, full: T, quick: T) -> T:
        return quick if self.quick else full

    def count(self, outcome: str, many: int = 1) -> None:
        with self._lock:
            self.outcomes[outcome] += many

    def note(self, text: str) -> None:
        self.notes.append(text)

    def require(self, holds: bool, problem: str) -> None:
        if not holds:
            self.problems.append(problem)

    def dial(self, buffer: int | None = None, timeout: float = 30.0, source: str = wire.ATTACKER) -> Any:
        return wire.dial(self.server.port, source, timeout, buffer)

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = JSON, **more: Any) -> wire.Answer:
        """One attacker's request; `source`, `timeout` and `headers` as `wire` has them."""
        request = wire.Ask(method, path, body, kind, more.pop("headers", {}))
        return wire.ask(self.server.target, request, **more)

    def honest(self, method: str, path: str, body: bytes = b"", kind: str = JSON, **more: Any) -> wire.Answer:
        return self.ask(method, path, body, kind, source=wire.HONEST, **more)

    def attempt(self, work: Callable[[], Any]) -> Any:
        """Counts what one attacker got: an answer's status, or what `work` calls it."""
        try:
            result = work()
            outcome = result.outcome() if isinstance(result, wire.Answer) else result
        except ConnectionRefusedError:
            result, outcome = None, "refused"
        except TimeoutError:
            result, outcome = None, "no answer"
        except (OSError, http.client.HTTPException):
            result, outcome = None, "closed"
        if isinstance(outcome, str):
            self.count(outcome)
        return result

    def together(self, count: int, work: Callable[[int], Any], patience: float = 300.0) -> None:
        """`count` attackers at once, each of them doing `work` once."""
        crowd = [
            threading.Thread(target=self.attempt, args=((lambda number=number: work(number)),), daemon=True)
            for number in range(count)
        ]
        end = time.monotonic() + patience
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(max(end - time.monotonic(), 0))
        late = sum(one.is_alive() for one in crowd)
        self.require(late == 0, f"{late} attackers wait still after {patience:.0f} s")

    def loops(self, count: int, seconds: float, work: Callable[[int], Any]) -> None:
        """`count` attackers, each of them doing `work` over and over until the time is up."""
        end = time.monotonic() + seconds

        def loop(number: int) -> None:
            step = 0
            while time.monotonic() < end and self.server.is_alive():
                self.attempt(lambda: work(number + step * count))
                step += 1

        self.together(count, loop, seconds + 120)

    def plans_beside(self, attack: Callable[[], Any], dataset: str, seconds: float, most: float) -> None:
        """Four attackers over and over, beside an honest client that plans with `dataset`; no plan may take `most` seconds."""
        recipe = json.dumps({"name": "planned", "dataset": dataset}).encode()
        plans: list[float] = []

        def work(number: int) -> wire.Answer:
            if number % 5 < 4:
                return attack()
            answer = self.honest("POST", "/jobs/finetune?dry_run=true", recipe)
            plans.append(answer.seconds)
            self.require(answer.status == 200, f"a plan got {answer.status}: {answer.body[:200]!r}")
            return answer

        self.loops(5, seconds, work)
        slowest = max(plans, default=most)
        self.note(f"{len(plans)} plans, the slowest after {slowest:.1f} s")
        self.require(slowest < most, f"a plan took {slowest:.0f} s")

    def dataset(self, contents: bytes | None = None) -> str:
        """Uploads a data set; its name."""
        answer = self.ask("POST", "/datasets", contents or files.dataset(), "application/x-tar")
        if answer.status != 201:
            raise ServerError(f"a data set was not taken: {answer.status} {answer.body[:300]!r}")
        return str(answer.json()["id"])

    def submit(self, dataset: str, **recipe: Any) -> str:
        """Has a model called `shapes` trained on a data set, unless told otherwise; the job."""
        answer = self.ask("POST", "/jobs/finetune", json.dumps(RECIPE | {"dataset": dataset} | recipe).encode())
        if answer.status != 202:
            raise ServerError(f"a job was not taken: {answer.status} {answer.body[:300]!r}")
        return str(answer.json()["id"])

    def state(self, job: str) -> str:
        """A job's state, and why it has failed or waits if it does."""
        answer = self.ask("GET", f"/jobs/{job}")
        if answer.status != 200:
            return f"not to be had: {answer.status}"
        told = answer.json()
        why = told.get("error") or told.get("waiting")
        return f"{told['state']} ({why['code']})" if why else str(told["state"])

    def ended(self, job: str, seconds: float = 180) -> str:
        """The state of a job that has ended, or in which it is after so long."""
        end = time.monotonic() + seconds
        while (told := self.state(job)).startswith(("queued", "running")):
            if time.monotonic() > end or not self.server.is_alive():
                break
            time.sleep(0.2)
        return told

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Waits for something without which the scenario cannot go on."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end or not self.server.is_alive():
                raise ServerError(f"{what} did not happen within {seconds:.0f} s")
            time.sleep(0.02)

    def wait(self, seconds: float) -> None:
        """Lets it be for a while, unless the server has died."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.server.is_alive():
            time.sleep(0.05)
