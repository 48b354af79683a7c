"""A graft of one's own: started on a folder of its own, looked at from outside, and stopped."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import wire

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / ".starter" / "efficientnet_lite0.safetensors"
MODEL = "efficientnet_lite0"


class ServerError(Exception):
    """graft could not be started, or did not do what a scenario prepares with it."""


class SkippedError(Exception):
    """This machine lacks what a scenario needs; the message says what."""


class Server:
    """`graft serve` with the starter's weights, the default configuration, and what a scenario sets."""

    def __init__(self, graft: Path, settings: dict[str, str], limits: dict[int, int], port: int = 0):
        self.graft, self.limits, self.settings = graft, limits, settings
        self.folder = Path(tempfile.mkdtemp(prefix="graft-attacks-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = port or free_port()
        self.target = wire.Target(self.port)
        self.environment = environment(self.data, self.port) | settings
        # A program that starts graft, with its arguments.
        self.launcher: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def neighbour(self, settings: dict[str, str]) -> Server:
        """Another server on the same data folder, with other settings; to be started."""
        other = Server(self.graft, self.settings | settings, {})
        # Only where it listens and what was set differs.
        own = {"GRAFT__SERVER__PORT": str(other.port)}
        other.data, other.environment = self.data, self.environment | settings | own
        return other

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.launcher, self.graft, "serve"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=self._limit,
            )
        end = time.monotonic() + 60
        while not self.is_ready():
            if not self.is_alive() or time.monotonic() > end:
                raise ServerError(f"graft does not get ready: {self.last_lines()}")
            time.sleep(0.1)

    def _limit(self) -> None:
        # A file that grows beyond its bound is then an error, and no signal.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for which, most in self.limits.items():
            resource.setrlimit(which, (most, most))

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Another command of graft on the same folder, which the caller waits for."""
        return subprocess.Popen(
            [self.graft, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def run(self, *words: str, patience: float = 120) -> subprocess.CompletedProcess[str]:
        """The same, once it has ended."""
        with self.begin(*words) as command:
            try:
                output, errors = command.communicate(timeout=patience)
            except subprocess.TimeoutExpired as error:
                command.kill()
                raise ServerError(f"graft {words[0]} takes more than {patience:.0f} s") from error
        return subprocess.CompletedProcess(words, command.returncode, output, errors)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        try:
            return wire.ask(self.target, wire.Ask("GET", "/readyz"), timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def lines(self) -> list[str]:
        """What it has logged."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def last_lines(self, count: int = 5) -> str:
        return "\n".join(self.lines()[-count:])

    def ended(self) -> str:
        """How it ended by itself."""
        code = self.process.poll() if self.process else None
        return signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"

    def panics(self) -> list[str]:
        return [line for line in self.lines() if "panicked" in line]

    def stop(self, patience: float = 60.0) -> float:
        """Asks it to end; how many seconds that took."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            if self.process.poll() is None:
                self.process.kill()
        return time.monotonic() - started


def environment(data: Path, port: int) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GRAFT_")}
    clean |= {"GRAFT__DATA__DIR": str(data), "GRAFT__MODELS__STARTER": str(STARTER)}
    clean["GRAFT__SERVER__PORT"] = str(port)
    library = sorted((ROOT / ".onnxruntime").glob("libonnxruntime.so.*"))
    return clean | ({"GRAFT__RUNTIME__LIBRARY": str(library[0])} if library else {})


def free_port() -> int:
    """A port outside the range that the system gives clients, one of which could have it before the server listens."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((wire.SERVER, port))
            return port
    raise ServerError("there is no free port")
