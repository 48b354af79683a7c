"""graft as a user meets it: the command for imports, and the server over HTTP."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np

# Stays well under the server's default bound on answers (64 MiB).
GROUP_BYTES = 32 << 20
MEDIA_TYPES = {".png": "image/png", ".bmp": "image/bmp", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


class GraftError(RuntimeError):
    """graft refused or failed; the message is what it said."""


@dataclass(frozen=True)
class Import:
    """What an import cost."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Photo:
    """An encoded image and the file it lies in."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.path.suffix.lower()]

    def bytes(self) -> bytes:
        return self.path.read_bytes()


def import_file(graft: Path, repository: Path, architecture: str, file: Path, name: str) -> Import:
    """`graft import ARCHITECTURE FILE --name NAME`, and its peak memory."""
    started = time.monotonic()
    command = [str(graft), "import", architecture, str(file), "--name", name]
    environment = os.environ | {"GRAFT__MODELS__DIR": str(repository)}
    with open(repository.parent / "import.log", "w+") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident_peak(process.pid))
            time.sleep(0.01)
        log.seek(0)
        output = log.read()
    if process.returncode != 0:
        raise GraftError(f"{' '.join(command)} exited with {process.returncode}:\n{output}")
    return Import(time.monotonic() - started, peak)


def _resident_peak(pid: int) -> int:
    """The peak since the process began its program; `ru_maxrss` would count the memory of whoever started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def weights_sha256(repository: Path, name: str) -> str:
    """The hash of a model's weights, from the metadata of its newest version."""
    versions = sorted((repository / name).glob("[0-9]*/metadata.json"), key=lambda path: int(path.parent.name))
    return json.loads(versions[-1].read_text())["weights"]["sha256"]


class Server:
    """`graft serve` on a free port of the loopback interface, for the length of a `with` block."""

    def __init__(self, graft: Path, repository: Path, default: str, max_loaded_bytes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.log = repository.parent / "serve.log"
        self._command = [str(graft), "serve"]
        self._environment = os.environ | {
            "GRAFT__SERVER__HOST": "127.0.0.1",
            "GRAFT__SERVER__PORT": str(port),
            "GRAFT__MODELS__DIR": str(repository),
            "GRAFT__MODELS__DEFAULT": default,
            "GRAFT__MODELS__MAX_LOADED_BYTES": str(max_loaded_bytes),
            "GRAFT__DATA__DIR": str(repository.parent / "data"),
        }

    def __enter__(self) -> Server:
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready(seconds=120)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_ready(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise GraftError(f"graft serve exited with {self._process.returncode}:\n{self.log_tail()}")
            try:
                self._call("GET", "/readyz")
                return
            except (GraftError, OSError):
                time.sleep(0.1)
        raise GraftError(f"graft serve was not ready after {seconds:.0f} s:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def _call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.base + path, data=body, method=method, headers=named)
        try:
            # Proxies of the environment are none of the loopback interface's business.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=300) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            detail = error.read(2000).decode(errors="replace")
            raise GraftError(f"{method} {path[:300]}: {error.code} {detail}") from error

    def layers(self, model: str) -> list[dict[str, Any]]:
        """The model's layers: index, name, type, shape, bytes."""
        return json.loads(self._call("GET", f"/models/{model}/layers"))["layers"]

    def predict(self, model: str, photo: Photo, top_k: int = 5) -> list[tuple[int, float]]:
        """The best classes: (index, score)."""
        query = urllib.parse.urlencode({"model": model, "top_k": top_k})
        answer = self._call("POST", f"/predict?{query}", photo.bytes(), Content_Type=photo.media_type)
        return [(entry["index"], entry["score"]) for entry in json.loads(answer)["predictions"][0]["top_k"]]

    def features(self, model: str, photo: Photo, layers: list[str]) -> dict[str, np.ndarray]:
        """Outputs of layers for one photo, without the batch dimension."""
        query = urllib.parse.urlencode({"model": model, "layer": ",".join(layers)})
        answer = self._call(
            "POST",
            f"/features?{query}",
            photo.bytes(),
            Content_Type=photo.media_type,
            Accept="application/x-npz",
        )
        with np.load(io.BytesIO(answer), allow_pickle=False) as arrays:
            return {layer: arrays[layer][0] for layer in layers}


def groups(layers: list[dict[str, Any]]) -> Iterator[list[str]]:
    """Names of layers, in runs whose outputs fit one answer."""
    names: list[str] = []
    total = 0
    for layer in layers:
        size = 4 * int(np.prod(layer["shape"]))
        if names and total + size > GROUP_BYTES:
            yield names
            names, total = [], 0
        names.append(layer["name"])
        total += size
    if names:
        yield names
