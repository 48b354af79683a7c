"""`scripts/cmake.sh`: which CMake a plain `cargo build` gets."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/cmake.sh"


class Cmake(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.script = self.root / "scripts/cmake.sh"
        self.script.parent.mkdir()
        shutil.copy(SCRIPT, self.script)
        self.path = self.root / "path"
        self.path.mkdir()
        for tool in ("sh", "dirname"):
            (self.path / tool).symlink_to(shutil.which(tool))

    def program(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {path.parent.parent.name} "$@"\n')
        path.chmod(0o755)

    def run_script(self):
        return subprocess.run([self.script, "--build", "a b"], env={"PATH": str(self.path)}, capture_output=True, text=True, timeout=60)

    def test_takes_the_one_that_is_installed_then_its_own_and_else_says_what_to_do(self):
        ran = self.run_script()
        self.assertEqual((ran.returncode, ran.stdout), (127, ""))
        self.assertIn("`make cmake`", ran.stderr)
        self.program(self.root / ".cmake/bin/cmake")
        self.assertEqual(self.run_script().stdout, ".cmake --build a b\n")
        self.program(self.path / "cmake")
        self.assertEqual(self.run_script().stdout, f"{self.root.name} --build a b\n")


if __name__ == "__main__":
    unittest.main()
