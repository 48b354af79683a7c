"""API keys that are guessed, keys that ask for more than they may, and handshakes that never end."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import time

from .. import files, wire
from ..scenario import Expectation, Scenario, Stage
from ..server import Server, ServerError, SkippedError

PHOTO = (files.FIXTURES / "cat.jpg").read_bytes()


def made(stage: Stage, name: str, *limits: str) -> str:
    """A new key."""
    done = stage.server.run("keys", "create", name, *limits)
    if done.returncode:
        raise ServerError(f"graft keys failed: {done.stderr[-300:]}")
    return done.stdout.strip()


def with_keys(stage: Stage) -> None:
    """One for the honest client, and one that may do little."""
    honest = made(stage, "honest", "--scope", "predict")
    limits = ("--images-per-second", "5", "--burst", "8", "--in-flight", "2")
    stage.made["limited"] = made(stage, "limited", "--scope", "predict", *limits)
    stage.server.target = dataclasses.replace(stage.server.target, key=honest)
    # Both count within a second.
    mine = {"X-API-Key": stage.made["limited"]}
    stage.until(lambda: stage.ask("GET", "/models", headers=mine).status == 200, "a key's coming")
    stage.until(lambda: stage.honest("GET", "/models").status == 200, "a key's coming")


def wrong_keys(stage: Stage) -> None:
    """Sixteen clients try keys: nonsense, long ones, others' ids, in either header; the right one in both lets in."""
    identity = stage.server.target.key.rpartition("_")[0]
    tries: list[dict[str, str]] = [
        {"X-API-Key": "nonsense"},
        {"X-API-Key": "graft_" + "x" * 4000},
        {"X-API-Key": f"{identity}_{'A' * 32}"},
        {"Authorization": f"Bearer {identity}_{'A' * 32}", "X-API-Key": ""},
        {"Authorization": "Basic YTpi", "X-API-Key": ""},
        {"Authorization": f"Bearer {stage.server.target.key}"},
    ]

    def work(number: int) -> wire.Answer:
        path = ("/predict", "/models", "/jobs", "/metrics")[number % 4]
        method, body = ("POST", PHOTO) if path == "/predict" else ("GET", b"")
        mine = tries[number % len(tries)]
        answer = stage.ask(method, path, body, "image/jpeg", headers=mine)
        is_right = mine is tries[-1]
        stage.require(is_right or answer.status != 200, f"a wrong key was let in to {path}: {sorted(mine)}")
        # However many wrong ones come from the same address.
        stage.require(not is_right or answer.status == 200, f"the right key in both headers got {answer.status} for {path}")
        return answer

    stage.loops(16, stage.pick(30.0, 4.0), work)
    stage.note(f"{stage.outcomes['401'] / stage.pick(30.0, 4.0):.0f} wrong keys a second")


def limited_key(stage: Stage) -> None:
    """Twelve clients with one key: single photos, and eight at a time, beyond what it may."""
    mine = {"X-API-Key": stage.made["limited"]}
    many, kind = files.form([PHOTO] * 8)
    served: list[int] = []
    seconds = stage.pick(30.0, 6.0)

    def work(number: int) -> wire.Answer:
        body, content, images = (many, kind, 8) if number % 3 == 0 else (PHOTO, "image/jpeg", 1)
        answer = stage.ask("POST", "/predict?top_k=1", body, content, headers=mine)
        if answer.status == 200:
            served.append(images)
        clear = answer.status == 200 or (answer.status == 429 and "retry-after" in answer.headers)
        stage.require(clear, f"a key beyond its limits got {answer.status} and {sorted(answer.headers)}")
        return answer

    stage.loops(12, seconds, work)
    stage.note(f"{sum(served) / seconds:.1f} images a second were let in, of 5")
    stage.require(sum(served) <= 8 + 5 * (seconds + 2), f"{sum(served)} images were let in within {seconds:.0f} s")
    # What it may is there again.
    stage.wait(3)
    too_many, kind = files.form([PHOTO] * 9)
    answer = stage.ask("POST", "/predict", too_many, kind, headers=mine)
    stage.require(answer.status == 413, f"more images than the key ever may got {answer.status}")
    document = json.dumps({"name": "x"}).encode()
    refused = stage.ask("POST", "/jobs/finetune", document, headers=mine).status
    stage.require(refused == 403, f"a job with a key for predictions got {refused}")


def with_certificate(server: Server) -> None:
    """A certificate of one's own, for the loopback."""
    if not shutil.which("openssl"):
        raise SkippedError("there is no openssl, which makes a certificate")
    certificate, key = server.folder / "tls.crt", server.folder / "tls.key"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{wire.SERVER}",
        "-keyout", str(key), "-out", str(certificate),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"openssl makes no certificate: {done.stderr[-200:]}")
    server.environment |= {"GRAFT__SERVER__TLS_CERTIFICATE": str(certificate), "GRAFT__SERVER__TLS_KEY": str(key)}
    server.target = dataclasses.replace(server.target, certificate=str(certificate))


def handshakes(stage: Stage) -> None:
    """Connections that say nothing, say half a greeting, say it byte by byte, or never answer the server's."""
    # A record's header that declares a greeting of 500 bytes, and its first bytes.
    greeting = b"\x16\x03\x01\x01\xf4\x01\x00\x01\xf0\x03\x03" + bytes(32)
    seconds = stage.pick(45.0, 6.0)

    def one(number: int) -> str:
        with stage.dial() as stream:
            end = time.monotonic() + seconds
            sent = 0
            while time.monotonic() < end:
                piece = (b"", greeting if not sent else b"", greeting[sent:sent + 1], b"x" * 400)[number % 4]
                if piece:
                    stream.sendall(piece)
                sent += 1
                if wire.heard(stream, 1) == "closed":
                    return "closed"
        return "left"

    stage.together(stage.pick(400, 100), one, seconds + 60)


SCENARIOS = [
    Scenario(
        "wrong-keys", "sixteen clients try API keys, beside an honest one", wrong_keys, with_keys,
        expect=Expectation(served=0.99, memory=200, outcomes=frozenset({"200", "401", "429"})),
    ),
    Scenario(
        "limited-key", "twelve clients ask for more than their key may, beside an honest one", limited_key, with_keys,
        expect=Expectation(served=0.99, memory=300, outcomes=frozenset({"200", "429"})),
    ),
    Scenario(
        "handshakes", "400 TLS handshakes that never end", handshakes, equip=with_certificate,
        quick={"GRAFT__SERVER__HEADER_TIMEOUT_MS": "2000"}, expect=Expectation(served=0.98, memory=200),
    ),
]
