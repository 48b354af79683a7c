"""Requests over loopback, and what comes back: whole ones, and sockets on which one misbehaves.

Attackers come from one address and honest clients from another, so that shares per client can be seen.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from typing import Any

SERVER = "127.0.0.1"
ATTACKER = "127.0.0.1"
HONEST = "127.0.0.2"

# Of <linux/in.h>: the port of a connection is chosen when it is opened, so that those which linger are used up per server and not for
# all of them.
IP_BIND_ADDRESS_NO_PORT = 24


@dataclass(frozen=True)
class Target:
    """A server as its clients see it."""

    port: int
    # The API key that requests carry unless they name another, and the certificate of one that speaks HTTPS.
    key: str = ""
    certificate: str = ""


@dataclass
class Answer:
    """What the server said, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    def outcome(self) -> str:
        return str(self.status)

    def is_clear(self) -> bool:
        """Whether it is a success, or an error that says what to do about it."""
        if self.status in (429, 503) and "retry-after" not in self.headers:
            return False
        return self.status < 400 or b'"code"' in self.body


@dataclass
class Ask:
    """A request to be sent."""

    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        return ({"Content-Type": self.kind} if self.body else {}) | self.headers

    def wire(self, length: int | None = None) -> bytes:
        """Its bytes; with `length` the declared one, and no body."""
        declared = len(self.body) if length is None else length
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {SERVER}"]
        if length is not None or self.body:
            lines += [f"Content-Length: {declared}", f"Content-Type: {self.kind}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (self.body if length is None else b"")


def connect(target: Target, source: str, timeout: float) -> http.client.HTTPConnection:
    where: Any = {"host": SERVER, "port": target.port, "timeout": timeout, "source_address": (source, 0)}
    if target.certificate:
        context = ssl.create_default_context(cafile=target.certificate)
        connection = http.client.HTTPSConnection(**where, context=context)
    else:
        connection = http.client.HTTPConnection(**where)
    # The only way to say how its socket is made.
    connection._create_connection = lambda address, timeout, source: dial(address[1], source[0], timeout)  # type: ignore[attr-defined]
    return connection


def exchange(connection: http.client.HTTPConnection, ask: Ask, key: str = "") -> Answer:
    started = time.monotonic()
    headers = ({"X-API-Key": key} if key else {}) | ask.all_headers()
    connection.request(ask.method, ask.path, ask.body or None, headers)
    answer = connection.getresponse()
    body = answer.read()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, headers, body, time.monotonic() - started)


def ask(target: Target, request: Ask, source: str = ATTACKER, timeout: float = 120.0) -> Answer:
    """One request on a connection of its own."""
    with contextlib.closing(connect(target, source, timeout)) as connection:
        return exchange(connection, request, target.key)


def dial(
    port: int, source: str = ATTACKER, timeout: float = 30.0, buffer: int | None = None
) -> socket.socket:
    """An open connection; `buffer` bounds what the kernel keeps for a client that does not read."""
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    stream.settimeout(timeout)
    stream.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if buffer is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    try:
        stream.bind((source, 0))
        stream.connect((SERVER, port))
    except OSError:
        stream.close()
        raise
    return stream


def hang_up(stream: socket.socket, rudely: bool = False) -> None:
    """Closes a connection; rudely, with a reset."""
    if rudely:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def heard(stream: socket.socket, wait: float = 0.0) -> str:
    """What a connection has got so far: the status of its answer, `nothing`, or that it was `closed`."""
    stream.settimeout(max(wait, 0.001))
    try:
        first = stream.recv(4096)
    except TimeoutError:
        return "nothing"
    except OSError:
        return "closed"
    words = first.split(maxsplit=2)
    return words[1].decode() if len(words) > 1 and first.startswith(b"HTTP/") else "closed"
