"""A graft of one's own: started on a folder of its own, looked at from outside, and stopped."""

from __future__ import annotations

import contextlib
import os
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


class Server:
    """`graft serve` with the starter's weights, the default configuration, and what a scenario sets."""

    def __init__(self, graft: Path, settings: dict[str, str], limits: dict[int, int], port: int = 0):
        self.graft, self.limits = graft, limits
        self.folder = Path(tempfile.mkdtemp(prefix="graft-attacks-"))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = port or free_port()
        self.environment = environment(self.data, self.port) | settings
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.graft, "serve"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
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

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of graft on the same folder."""
        command = [self.graft, *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        try:
            return wire.ask(self.port, wire.Ask("GET", "/readyz"), timeout=5).status == 200
        except OSError:
            return False

    def last_lines(self, count: int = 5) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def ended(self) -> str:
        """How it ended by itself."""
        code = self.process.poll() if self.process else None
        return signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"

    def panics(self) -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if "panicked" in line]

    def stop(self, patience: float = 60.0) -> float:
        """Asks it to end; how many seconds that took."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
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
    with socket.socket() as probe:
        probe.bind((wire.SERVER, 0))
        return int(probe.getsockname()[1])
