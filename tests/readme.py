"""Runs the README as a reader would, by copy and paste, in one shell from a fresh copy of the tree: `make readme`.

    python3 tests/readme.py [--slow] [--work FOLDER] [--python PROGRAM] [README.md]

Every ```sh block runs in one bash session, in order, in the copy's root: variables, `cd` and servers stay. Every ```python
block runs as a program of its own, with what --python names (the default is this Python). The first block that fails ends
the run. A failing command fails its block, also inside a pipe, and so does a `curl` whose server answers 4xx or 5xx.

Comments before a block, which a rendered page does not show, say what is special about it; several may stand together:

    <!-- test: background until=URL -->    runs on while later blocks do; these wait until URL answers 200
    <!-- test: timeout=SECONDS -->         the block, or its wait for URL, may take that long (the default is 300)
    <!-- test: slow -->                    runs only with --slow, or where the variable CI is set
    <!-- test: skip REASON -->             never runs
    <!-- test: output ignore=KEY,KEY -->   not a command: what the block before it printed

Output is compared where it is stable. In ```json: objects have at least the expected keys, and numbers with a fraction may
differ by 0.01; the values of `timings`, of the keys that `ignore` names and of `…` may be anything, and a list that ends in
`…` may go on. Of several documents that a block prints, the last counts. Elsewhere `…` stands for any text within a line, or
alone on a line for any lines.

The copy holds the files that git knows or would add. It is kept in FOLDER (`.readme`) with what it built, for the next run.
Servers need their ports free. The last line counts blocks: N passed, N failed, N skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 300
TOLERANCE = 0.01
ANYTHING = "…"
# What a run builds and fetches in the copy, and the next run finds again.
KEPT = {"target", ".cmake", ".onnxruntime", ".starter", ".parity"}

COMMENT = re.compile(r"\s*<!--\s*test:\s*(.*?)\s*-->\s*")
FENCE = re.compile(r"(\s*)(`{3,})\s*(\w*)\s*")


class ReadmeError(Exception):
    """The README or its surroundings are not such that it can be tested."""


@dataclass
class Block:
    """A fenced block and what the comments before it say."""

    line: int
    language: str
    text: str
    words: set[str] = field(default_factory=set)
    options: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def timeout(self) -> float:
        return float(self.options.get("timeout", TIMEOUT))

    def skipped(self, slow: bool) -> str | None:
        """Why the block does not run."""
        if "skip" in self.words:
            return self.reason or "the README says so"
        return "slow: runs with --slow, and in CI" if "slow" in self.words and not slow else None


def blocks(text: str) -> list[Block]:
    """The blocks of a README that are commands, or the output of one."""
    found: list[Block] = []
    comments: list[tuple[int, str]] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if match := COMMENT.fullmatch(line):
            comments.append((number, match[1]))
        elif match := FENCE.fullmatch(line):
            indent, fence, language = match.groups()
            body = []
            for _, inside in lines:
                if inside.strip() == fence:
                    break
                body.append(inside.removeprefix(indent))
            else:
                raise ReadmeError(f"line {number}: the block has no end")
            block = Block(number, language, "\n".join(body) + "\n")
            for comment in comments:
                annotate(block, *comment)
            if language in ("sh", "python") or "output" in block.words:
                found.append(block)
            elif comments:
                raise ReadmeError(f"line {comments[0][0]}: the comment is about a block of `{language}`, which is not run")
            comments = []
        elif line.strip() and comments:
            raise ReadmeError(f"line {comments[0][0]}: no block follows the comment")
    if comments:
        raise ReadmeError(f"line {comments[0][0]}: no block follows the comment")
    return found


def annotate(block: Block, line: int, comment: str) -> None:
    word, _, rest = comment.partition(" ")
    if word == "skip":
        block.words.add(word)
        block.reason = rest.strip()
        return
    for item in comment.split():
        name, equals, value = item.partition("=")
        if equals and name in ("until", "timeout", "ignore"):
            block.options[name] = value
        elif not equals and name in ("background", "slow", "output"):
            block.words.add(name)
        else:
            raise ReadmeError(f"line {line}: `{item}` is not known")
    if "background" in block.words and "until" not in block.options:
        raise ReadmeError(f"line {line}: a block in the background needs until=URL")


def check_ports(parts: list[Block]) -> None:
    """Another server would answer in place of the README's."""
    for block in parts:
        url = urllib.parse.urlsplit(block.options.get("until", ""))
        if not url.hostname:
            continue
        port = url.port or 80
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((url.hostname, port)) == 0:
                raise ReadmeError(f"port {port} is taken: stop what listens on {url.hostname}:{port}, and run this again")


def copy_tree(root: Path, copy: Path) -> None:
    """A fresh copy of the working tree, without what git ignores."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, check=True, capture_output=True
    )
    copy.mkdir(parents=True, exist_ok=True)
    for entry in copy.iterdir():
        if entry.name in KEPT:
            continue
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)


class Session:
    """One bash that is fed block after block, and everything that it starts."""

    def __init__(self, copy: Path, scratch: Path, python: str):
        self.scratch, self.python = scratch, python
        shutil.rmtree(scratch, ignore_errors=True)
        (scratch / "bin").mkdir(parents=True)
        curl = shutil.which("curl")
        if curl is None:
            raise ReadmeError("curl is needed")
        wrapper = scratch / "bin" / "curl"
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(curl)} --fail-with-body --silent --show-error "$@"\n')
        wrapper.chmod(0o755)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("GRAFT_", "MAKE", "MFLAGS"))}
        clean["PATH"] = f"{scratch / 'bin'}:{clean['PATH']}"
        # A session of its own, so that all of it can be ended.
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=copy, env=clean, stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        self.count = 0
        self._write("set -o pipefail")

    def run(self, block: Block) -> tuple[bool, str]:
        """Whether the block succeeded, and what it printed."""
        self.count += 1
        stem = self.scratch / f"{self.count}"
        code, output, status = (stem.with_suffix(suffix) for suffix in (".code", ".output", ".status"))
        code.write_text(block.text)
        command = "." if block.language == "sh" else shlex.quote(self.python)
        # `set -e` ends the shell: its trap then says so.
        trap = f"trap 'echo $? >{shlex.quote(str(status))}' EXIT"
        body = f"set -e; {command} {shlex.quote(str(code))}"
        files = f"</dev/null >{shlex.quote(str(output))} 2>&1"
        if "background" in block.words:
            self._write(f"( {trap}; {body} ) {files} &")
        else:
            self._write(f"{trap}; {{ {body}; }} {files}; set +e; trap - EXIT; echo 0 >{shlex.quote(str(status))}")
        wrong = self._wait(block, status)
        printed = output.read_text(errors="replace") if output.exists() else ""
        return wrong is None, printed if wrong is None else f"{printed}{wrong}\n"

    def close(self) -> None:
        """Ends the shell, and the servers that the README leaves running."""
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.bash.pid, number)
            except ProcessLookupError:
                break
            end = time.monotonic() + patience
            while time.monotonic() < end and self._alive():
                time.sleep(0.1)
        self.bash.wait()
        with contextlib.suppress(BrokenPipeError):
            self.bash.stdin.close()

    def _alive(self) -> bool:
        self.bash.poll()
        try:
            os.killpg(self.bash.pid, 0)
            return True
        except ProcessLookupError:
            return False

    def _write(self, line: str) -> None:
        assert self.bash.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.bash.stdin.write(f"{line}\n")
            self.bash.stdin.flush()

    def _wait(self, block: Block, status: Path) -> str | None:
        """What went wrong, once the block has ended or its server answers."""
        url = block.options.get("until")
        end = time.monotonic() + block.timeout
        while time.monotonic() < end:
            gone = self.bash.poll() is not None
            if status.exists() and (code := status.read_text().strip()):
                early = f" before {url} answered" if url else ""
                return None if code == "0" and not early else f"it ended{early}, with status {code}"
            if gone:
                return "it ended the shell"
            if url and answers(url):
                return None
            time.sleep(0.3 if url else 0.05)
        return f"timeout: it took more than {block.timeout:.0f} s"


def answers(url: str) -> bool:
    try:
        # Without the proxies of the environment: the server is on this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as response:
            return response.status == 200
    except (OSError, http.client.HTTPException):
        return False


def difference(expected: str, printed: str, block: Block) -> str | None:
    """Where the output is not what the README shows."""
    if block.language != "json":
        return None if as_pattern(expected).fullmatch(printed.strip()) else f"expected\n{expected}printed\n{printed}"
    ignored = {"timings", *filter(None, block.options.get("ignore", "").split(","))}
    documents = json_documents(printed)
    if not documents:
        return f"no JSON was printed:\n{printed}"
    return json_difference(json.loads(expected), documents[-1], ignored, "")


def as_pattern(expected: str) -> re.Pattern[str]:
    lines = []
    for line in expected.strip().splitlines():
        if line.strip() == ANYTHING:
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append("[^\n]*".join(map(re.escape, line.rstrip().split(ANYTHING))) + r"[ \t]*\n")
    return re.compile("".join(lines).removesuffix(r"\n") + r"\n?")


def json_documents(text: str) -> list:
    """The JSON objects and lists in what a block printed."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while match := re.compile(r"[{\[]").search(text, at):
        try:
            document, at = decoder.raw_decode(text, match.start())
            found.append(document)
        except ValueError:
            at = match.end()
    return found


def json_difference(expected, found, ignored: set[str], place: str) -> str | None:
    """The first place where `found` is not as expected."""
    if expected == ANYTHING:
        return None
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            inner = f"{place}.{key}"
            if key not in found:
                return f"{inner} is missing"
            if key not in ignored and (problem := json_difference(value, found[key], ignored, inner)):
                return problem
        return None
    if isinstance(expected, list) and isinstance(found, list):
        goes_on = bool(expected) and expected[-1] == ANYTHING
        wanted = expected[:-1] if goes_on else expected
        if len(found) < len(wanted) or (len(found) > len(wanted) and not goes_on):
            return f"{place or '.'} has {len(found)} items, expected {len(wanted)}{' or more' if goes_on else ''}"
        pairs = enumerate(zip(wanted, found))
        return next(filter(None, (json_difference(a, b, ignored, f"{place}[{at}]") for at, (a, b) in pairs)), None)
    if isinstance(expected, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        return None if abs(expected - found) <= TOLERANCE else f"{place} is {found}, expected {expected}"
    same = type(expected) is type(found) and expected == found
    return None if same else f"{place or '.'} is {json.dumps(found)}, expected {json.dumps(expected)}"


def run_all(readme: Path, parts: list[Block], session: Session, slow: bool) -> dict[str, int]:
    """Runs block after block up to the first that fails."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    before: str | None = None
    for block in parts:
        name = f"{readme.name}:{block.line}"
        started = time.monotonic()
        reason = block.skipped(slow)
        is_output = "output" in block.words
        if is_output and before is None:
            reason = reason or "its command was skipped"
        if reason:
            counts["skipped"] += 1
            before = before if is_output else None
            print(f"{name} skipped: {reason}", flush=True)
            continue
        if is_output:
            problem = difference(block.text, before or "", block)
            passed, printed = problem is None, f"{problem}\n"
        else:
            print(f"{name} …", flush=True)
            passed, printed = session.run(block)
            before = printed
        counts["passed" if passed else "failed"] += 1
        print(f"{name} {'ok' if passed else 'FAILED'} ({time.monotonic() - started:.1f} s)", flush=True)
        if not passed:
            print(f"{block.text}---\n{printed[-4000:]}", flush=True)
            break
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readme", nargs="?", type=Path, default=ROOT / "README.md")
    parser.add_argument("--slow", action="store_true", default=bool(os.environ.get("CI")), help="run slow blocks too")
    parser.add_argument("--work", type=Path, default=ROOT / ".readme", help="where the copy is made")
    parser.add_argument("--python", default=sys.executable, help="what runs the blocks of Python")
    options = parser.parse_args()
    readme, work = options.readme.resolve(), options.work.resolve()
    try:
        parts = blocks(readme.read_text())
        if not any("output" not in block.words for block in parts):
            raise ReadmeError("there is no block to run")
        check_ports([block for block in parts if block.skipped(options.slow) is None])
        copy_tree(readme.parent, work / "copy")
        python = shutil.which(options.python)
        if python is None:
            raise ReadmeError(f"{options.python} is not a program")
        # The blocks run elsewhere. Not resolved: a virtual environment's Python is a link.
        session = Session(work / "copy", work / "run", os.path.abspath(python))
    except (ReadmeError, OSError, subprocess.CalledProcessError) as error:
        print(f"{readme.name}: {error}")
        return 2
    try:
        counts = run_all(readme, parts, session, options.slow)
    finally:
        session.close()
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
