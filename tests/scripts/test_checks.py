"""`scripts/audit.sh`, `tests/run.sh` and `scripts/fetch-onnxruntime.sh` fail when they should; versions agree."""

import os
import pathlib
import platform
import re
import subprocess
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Scripts(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def run_script(self, script, cargo="exit 0", **variables):
        """The exit status and the lines printed, with a cargo that is the shell script `cargo`."""
        stand_in = self.folder / "cargo"
        stand_in.write_text(f"#!/bin/sh\n{cargo}\n")
        stand_in.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "GRAFT_TEST_DATA")}
        environment = {**kept, "CARGO": str(stand_in), **variables}
        ran = subprocess.run(["sh", *script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        return ran.returncode, (ran.stdout + ran.stderr).splitlines()

    def test_the_audit_fails_on_what_it_finds_and_in_ci_on_what_it_lacks(self):
        def check(cargo, status, expected, **variables):
            found, lines = self.run_script(["scripts/audit.sh"], cargo, **variables)
            self.assertEqual((found, [line for line in lines if expected in line] != []), (status, True), lines)

        absent = "exit 101"
        check(absent, 0, "NOT CHECKED: cargo-deny is not installed")
        check(absent, 1, "NOT CHECKED: cargo-machete is not installed", CI="true")
        no_database = 'case "$*" in *fetch*db*) echo unreachable; exit 1 ;; *"check advisories"*) exit 9 ;; esac'
        check(no_database, 0, "NOT CHECKED: known vulnerabilities", CI="true")
        check('case "$*" in *advisories) echo found; exit 1 ;; esac', 1, "found")
        check('case "$*" in *licenses*) echo wrong; exit 4 ;; esac', 4, "wrong")
        check('case "$*" in machete) echo unused; exit 1 ;; esac', 1, "unused")
        check("echo checked", 0, "checked", CI="true")

    def test_the_last_line_counts_skipped_tests(self):
        skipping = '[ "$2" = --version ] || for test in b a b; do echo "$test needs photos" >>"$GRAFT_TEST_SKIPS"; done'
        status, lines = self.run_script(["tests/run.sh"], skipping)
        self.assertEqual((status, lines[:2]), (0, ["a needs photos", "b needs photos"]))
        self.assertIn("skipped: 2 tests need real photos", lines[-1])
        status, lines = self.run_script(["tests/run.sh"], '[ "$2" = --version ] || { echo "1 failed"; exit 100; }')
        self.assertEqual((status, lines), (100, ["1 failed"]))

    def test_a_wheel_with_another_hash_is_refused(self):
        if platform.machine() not in ("x86_64", "aarch64"):
            self.skipTest("there is no wheel for this machine")
        listing = (ROOT / "scripts/onnxruntime.txt").read_text()
        version = listing.split("\nonnxruntime==")[1].split()[0]
        name = f"onnxruntime-{version}-cp312-cp312-manylinux_2_28_{platform.machine()}.whl"
        with zipfile.ZipFile(self.folder / name, "w") as wheel:
            wheel.writestr("onnxruntime/capi/libonnxruntime.so.1", "not ONNX Runtime")
        out = self.folder / "out"
        status, lines = self.run_script(
            ["scripts/fetch-onnxruntime.sh", "onnxruntime", str(out)], PIP_ARGS=f"--no-index --find-links {self.folder}"
        )
        self.assertNotEqual(status, 0)
        self.assertTrue(any("DO NOT MATCH THE HASHES" in line for line in lines), lines)
        self.assertEqual(list(out.iterdir()), [])

    def test_the_image_is_built_with_the_pinned_compiler(self):
        pinned = re.search(r'^channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE)[1]
        self.assertIn(f"${{RUST_IMAGE:-rust:{pinned}-slim-", (ROOT / "Dockerfile").read_text())


if __name__ == "__main__":
    unittest.main()
