"""The honest client: a photo ten times a second on its own connection, and the health on a new one each time.

It runs in a process of its own, so that attackers do not slow it down on our side.
"""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import multiprocessing.connection
import signal
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass

from . import files, wire

PERIOD = 0.1
TIMEOUT = 90.0
PREDICT, HEALTH = "predict", "health"


@dataclass
class Sample:
    """One request of the honest client."""

    kind: str
    started: float
    seconds: float
    outcome: str


@dataclass
class Figures:
    """What it got within some time."""

    outcomes: Counter[str]
    latencies: list[float]

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def share(self, outcome: str) -> float:
        return self.outcomes[outcome] / self.count if self.count else 0.0

    @property
    def slowest(self) -> float:
        return max(self.latencies, default=0.0)

    @property
    def late(self) -> float:
        """The 99th percentile."""
        if len(self.latencies) < 2:
            return self.slowest
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[98]

    def milliseconds(self) -> str:
        """Median, 99th percentile and maximum."""
        if len(self.latencies) < 2:
            return "–"
        values = (statistics.median(self.latencies), self.late, self.slowest)
        return " / ".join(f"{value * 1e3:.0f}" for value in values)


class Honest:
    """The client's process, as the one that started it sees it."""

    def __init__(self, target: wire.Target):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(target, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.samples: list[Sample] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.samples.append(self._pipe.recv())

    def close(self) -> None:
        """Ends it; what it still waits for counts, as it is by now."""
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._reader.join(5)

    def within(self, kind: str, start: float, end: float) -> Figures:
        """Of requests that began in that time."""
        chosen = [one for one in list(self.samples) if one.kind == kind and start <= one.started < end]
        return Figures(Counter(one.outcome for one in chosen), [one.seconds for one in chosen])


def serve(target: wire.Target, pipe: multiprocessing.connection.Connection) -> None:
    """The process: it asks until it is told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    client = Client(target, pipe)
    for work in (client.predict, client.health):
        threading.Thread(target=work, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    client.leave()


class Client:
    """Two loops, and what each of them waits for."""

    def __init__(self, target: wire.Target, pipe: multiprocessing.connection.Connection):
        self.target, self.pipe = target, pipe
        self.lock = threading.Lock()
        self.waiting: dict[str, float] = {}

    def predict(self) -> None:
        request = wire.Ask("POST", "/predict?top_k=1", files.photo(), "image/jpeg")
        connection = wire.connect(self.target, wire.HONEST, TIMEOUT)
        while True:
            self.once(PREDICT, connection, request)

    def health(self) -> None:
        request = wire.Ask("GET", "/healthz")
        while True:
            with contextlib.closing(wire.connect(self.target, wire.HONEST, TIMEOUT)) as connection:
                self.once(HEALTH, connection, request)

    def once(self, kind: str, connection: http.client.HTTPConnection, request: wire.Ask) -> None:
        started = self.waiting[kind] = time.monotonic()
        try:
            answer = wire.exchange(connection, request, self.target.key)
            outcome = answer.outcome() if answer.is_clear() else f"{answer.status} unclear"
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            outcome = "no answer" if isinstance(error, TimeoutError) else "closed"
        del self.waiting[kind]
        self.tell(Sample(kind, started, time.monotonic() - started, outcome))
        time.sleep(max(started + PERIOD - time.monotonic(), 0))

    def tell(self, sample: Sample) -> None:
        with self.lock, contextlib.suppress(OSError):
            self.pipe.send(sample)

    def leave(self) -> None:
        for kind, started in list(self.waiting.items()):
            waited = time.monotonic() - started
            # What was just asked says nothing.
            if waited > 1:
                self.tell(Sample(kind, started, waited, "no answer"))
