"""Checks `openapi.yaml` as tools read it: `make client`.

The document is validated, a client is generated from it with openapi-python-client, and that client makes one call of
each kind against `graft serve` with a model of four classes (`calls.py`). Needs Python 3.11 or later; everything else
comes into `.client`, and what is generated goes to a temporary folder.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REQUIREMENTS = HERE / "requirements.txt"
INSTALLED = ROOT / ".client"
# Media types of which the generator has no notion; beside each stands one that it sends, `application/octet-stream`.
UNKNOWN_TYPES = {"image/*": 6, "application/gzip": 1, "application/x-tar": 1, "application/zip": 1}
STARTUP_SECONDS = 60


def environment() -> pathlib.Path:
    """The folder of the programs that `requirements.txt` names, made when it is missing or they have changed."""
    stamp = INSTALLED / "requirements.txt"
    programs = INSTALLED / "venv" / "bin"
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
        venv.create(INSTALLED / "venv", clear=True, with_pip=True)
        pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", REQUIREMENTS], check=True)
        stamp.write_text(REQUIREMENTS.read_text())
    return programs


def generate(programs: pathlib.Path, document: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the package `graft_client` into `folder`; fails when the generator leaves out more than it always does."""
    command = [programs / "openapi-python-client", "generate", "--path", document, "--meta", "none"]
    command += ["--config", HERE / "generator.yaml"]
    # The generator calls its formatter by name.
    variables = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        [*command, "--output-path", folder / "graft_client"], env=variables, capture_output=True, text=True
    )
    told = ran.stdout + ran.stderr
    unknown = collections.Counter(re.findall(r"^Unsupported content type (\S+)$", told, re.MULTILINE))
    warnings = len(re.findall(r"^(?:WARNING|ERROR) ", told, re.MULTILINE))
    if ran.returncode != 0 or unknown != UNKNOWN_TYPES or warnings != unknown.total() or "Unable to" in told:
        sys.exit(f"{told}\nopenapi-python-client leaves something out (exit code {ran.returncode}, see above)")


@contextlib.contextmanager
def serving(graft: pathlib.Path, folder: pathlib.Path) -> Iterator[str]:
    """The address of a server with two versions of the model `colours`, below `folder`."""
    labels = folder / "labels.txt"
    labels.write_text("red\ngreen\nblue\nlime\n")
    repository = ["--models-dir", folder / "models"]
    model = [ROOT / "tests/fixtures/models/colours.onnx", "--name", "colours", "--labels", labels]
    for _ in range(2):
        subprocess.run([graft, "import", *model, *repository], check=True, stdout=subprocess.DEVNULL)
    settings = ["--set", "telemetry.log_format=json", "--set", f"data.dir={folder / 'data'}"]
    settings += ["--set", "models.max_import_bytes=1000000"]
    log = folder / "log"
    with log.open("w") as writer:
        command = [graft, "serve", "--port", "0", "--default-model", "colours", *settings, *repository]
        process = subprocess.Popen(command, stderr=writer, cwd=folder)
        try:
            yield f"http://{address(process, log)}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def address(process: subprocess.Popen, log: pathlib.Path) -> str:
    """Where the server listens, as its log says."""
    end = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                record = json.loads(line)
                if record.get("message") == "serving":
                    return record["address"]
        time.sleep(0.05)
    sys.exit(f"{log.read_text()}\ngraft does not serve")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graft", type=pathlib.Path, default=ROOT / "target/release/graft", help="the binary")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "openapi.yaml", help="the document")
    arguments = parser.parse_args()
    programs = environment()
    subprocess.run([programs / "openapi-spec-validator", arguments.document], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        generate(programs, arguments.document, folder)
        with serving(arguments.graft.resolve(), folder) as server:
            variables = os.environ | {"PYTHONPATH": str(folder), "NO_PROXY": "127.0.0.1"}
            calls = subprocess.run([programs / "python", HERE / "calls.py", server], env=variables)
    sys.exit(calls.returncode)


if __name__ == "__main__":
    main()
