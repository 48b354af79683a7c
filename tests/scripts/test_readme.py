"""`tests/readme.py` on small READMEs of its own: what it runs, compares, refuses, and leaves behind."""

import importlib.util
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "readme.py"
specification = importlib.util.spec_from_file_location("readme", SCRIPT)
readme = importlib.util.module_from_spec(specification)
sys.modules["readme"] = readme
specification.loader.exec_module(readme)

WHOLE = """# A project

```sh
WORD=$(cat words.txt)   # one session: the variable stays
mkdir sub && cd sub
```

Text between.

<!-- test: background until=http://127.0.0.1:PORT/ -->
```sh
exec python3 -m http.server --bind 127.0.0.1 PORT
```

```sh
echo '{"progress": 1}'
echo "{\\"word\\": \\"$WORD\\", \\"score\\": 0.954, \\"timings\\": {\\"ms\\": 3}, \\"list\\": [1, 2, 3], \\"id\\": \\"x7\\"}"
```

<!-- test: output ignore=id -->
```json
{"word": "hello", "score": 0.95, "timings": {"ms": 9}, "list": [1, "…"], "id": "any"}
```

<!-- test: skip needs another machine -->
```sh
false
```

<!-- test: slow -->
```sh
echo slow
```

<!-- test: output -->
```text
slow
```

```python
import os
print("from", os.getcwd().rsplit("/", 1)[1], "in 3.2 s")
```

<!-- test: output -->
```text
from sub in … s
```

```toml
not = "run"
```
"""


class Readmes(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name) / "project"
        self.root.mkdir()
        subprocess.run(["git", "init", "--quiet", str(self.root)], check=True)
        (self.root / "words.txt").write_text("hello\n")
        (self.root / ".gitignore").write_text("/built\n")
        (self.root / "built").write_text("ignored")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def run_readme(self, text, *arguments):
        """The exit status and what was printed."""
        (self.root / "README.md").write_text(text.replace("PORT", str(self.port)))
        command = [sys.executable, str(SCRIPT), "--work", str(self.root.parent / "work"), *arguments, str(self.root / "README.md")]
        clean = {name: value for name, value in os.environ.items() if name != "CI"}
        ran = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120)
        return ran.returncode, ran.stdout + ran.stderr

    def check(self, text, status, *expected):
        found, printed = self.run_readme(text)
        self.assertEqual(found, status, printed)
        for part in expected:
            self.assertIn(part, printed)

    def test_runs_everything_in_order(self):
        status, printed = self.run_readme(WHOLE)
        self.assertEqual((status, printed.splitlines()[-1]), (0, "6 passed, 0 failed, 3 skipped"), printed)
        self.assertIn("needs another machine", printed)
        self.assertFalse((self.root.parent / "work/copy/built").exists())
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0, "the server is left running")
        status, printed = self.run_readme(WHOLE, "--slow")
        self.assertEqual((status, printed.splitlines()[-1]), (0, "8 passed, 0 failed, 1 skipped"), printed)

    def test_failures_are_found(self):
        self.check("```sh\nfalse | cat\n```\n```sh\necho never\n```\n", 1, "README.md:1 FAILED", "0 passed, 1 failed, 0 skipped")
        self.check("```sh\nfalse\ntrue\n```\n", 1, "0 passed, 1 failed")
        self.check("```python\nraise SystemExit(3)\n```\n", 1, "with status 3")
        self.check("```sh\nexit 0\n```\n```sh\ntrue\n```\n", 1, "it ended the shell", "1 passed, 1 failed")
        self.check("<!-- test: timeout=1 -->\n```sh\nsleep 60\n```\n", 1, "more than 1 s")
        self.check("<!-- test: background until=http://127.0.0.1:PORT/ -->\n```sh\nfalse\n```\n", 1, "it ended before")
        server = "<!-- test: background until=http://127.0.0.1:PORT/ -->\n```sh\nexec python3 -m http.server PORT\n```\n"
        self.check(server + "```sh\ncurl http://127.0.0.1:PORT/absent\n```\n", 1, "404", "1 passed, 1 failed")
        shown = "```sh\necho '{\"a\": 1}'\n```\n<!-- test: output -->\n```json\n{\"a\": 2}\n```\n"
        self.check(shown, 1, ".a is 1, expected 2")

    def test_mistakes_are_named(self):
        self.check("<!-- test: quick -->\n```sh\ntrue\n```\n", 2, "`quick` is not known")
        self.check("<!-- test: slow -->\nText.\n", 2, "no block follows")
        self.check("<!-- test: slow -->\n```toml\n```\n", 2, "which is not run")
        self.check("<!-- test: background -->\n```sh\ntrue\n```\n", 2, "needs until=URL")
        self.check("```sh\ntrue\n", 2, "has no end")
        self.check("# Nothing\n", 2, "no block to run")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.port))
            taken.listen()
            self.check(WHOLE, 2, f"port {self.port} is taken")

    def test_compares_what_is_stable(self):
        def check(expected, found, problem):
            self.assertEqual(readme.json_difference(expected, found, {"timings"}, ""), problem)

        check({"a": 1.0}, {"a": 1.009, "b": 2}, None)
        check({"a": 1.0}, {"a": 1.02}, ".a is 1.02, expected 1.0")
        check({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, '.a[0].b is "y", expected "x"')
        check({"a": 1}, {}, ".a is missing")
        check({"timings": 1}, {"timings": {}}, None)
        check([1], [1, 2], ". has 2 items, expected 1")
        check([1, 2, "…"], [1], ". has 1 items, expected 2 or more")
        check({"a": "…"}, {"a": [1]}, None)
        check(True, 1, ". is 1, expected true")
        pattern = readme.as_pattern("first …\n…\nlast")
        self.assertTrue(pattern.fullmatch("first a.c\none\ntwo\nlast"))
        self.assertTrue(pattern.fullmatch("first b\nlast"))
        self.assertFalse(pattern.fullmatch("first b\nlast\nmore"))
        self.assertEqual(readme.json_documents('[x] {"a": 1}\ntext {"b": [2]}'), [{"a": 1}, {"b": [2]}])


if __name__ == "__main__":
    unittest.main()
