"""`scripts/requirements.sh` with programs missing, too old, or broken."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/requirements.sh"


class Requirements(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.bin = pathlib.Path(scratch.name)
        for tool in ("sh", "sed", "head", "dirname", "cat"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def program(self, name, text):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def all_there(self):
        self.program("cargo", "echo 'cargo 1.95.0 (f2d3ce0bd 2026-03-21)'")
        for name in ("make", "cc", "python3"):
            self.program(name, "exit 0")

    def check(self, status, *expected, **variables):
        """Each of `expected` is on a line of its own that begins with a dash; nothing else is."""
        environment = {"PATH": str(self.bin), **variables}
        ran = subprocess.run(["/bin/sh", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=60)
        missing = [line for line in ran.stderr.splitlines() if line.startswith("  - ")]
        self.assertEqual((ran.returncode, len(missing)), (status, len(expected)), ran.stderr)
        for line, part in zip(missing, expected):
            self.assertIn(part, line)
        return ran.stderr

    def test_says_nothing_when_all_is_there(self):
        self.all_there()
        self.assertEqual(self.check(0), "")

    def test_notes_what_makes_jpeg_slow(self):
        self.all_there()
        self.program("uname", "echo x86_64")
        self.assertIn("apt-get install nasm", self.check(0))
        self.program("nasm", "exit 0")
        self.assertEqual(self.check(0), "")
        (self.bin / "nasm").unlink()
        self.program("uname", "echo aarch64")
        self.assertEqual(self.check(0), "")

    def test_lists_all_that_is_missing_at_once(self):
        printed = self.check(1, "Rust, version 1.92", "make", "a C compiler", "Python 3 with pip")
        for hint in ("rustup.rs", "apt-get install build-essential", "dnf install gcc", "apt-get install python3-pip"):
            self.assertIn(hint, printed)

    def test_sees_what_is_too_old_or_does_not_start(self):
        self.all_there()
        self.program("cargo", "echo 'cargo 1.85.1'")
        self.check(1, "this is 1.85")
        self.program("cargo", "echo 'cargo 2.0.0'")
        self.check(0)
        self.program("cargo", "echo \"error: toolchain '1.95.0' is not installed\" >&2; exit 1")
        self.assertIn("rustup toolchain install", self.check(1, "is not installed"))
        self.all_there()
        self.program("python3", "exit 4")
        self.check(1, "pip of python3")
        self.program("python3", "exit 3")
        self.check(1, "python3 is older")

    def test_uses_the_programs_that_variables_name(self):
        self.all_there()
        self.check(1, "clang was not found", CC="clang")
        self.check(1, "python9 was not found", PYTHON="python9")
        self.check(0, CARGO="cargo +stable")

    def test_finds_pip_with_the_real_python(self):
        self.all_there()
        self.program("python3", f'exec {os.path.realpath(shutil.which("python3"))} "$@"')
        self.check(0)


if __name__ == "__main__":
    unittest.main()
