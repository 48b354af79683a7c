"""Attacks a started server at full size, and looks at who is still served and what it holds: `make attacks`.

    python3 -m tests.attacks [--graft PROGRAM] [--only NAME ...] [--quick] [--port PORT] [--list]

Each scenario starts `graft serve` on a loopback port, with a fresh folder, the starter's weights and the
default configuration. Beside the attackers (127.0.0.1) an honest client (127.0.0.2) sends a photo ten times a
second, and asks for the health on a new connection each time. A few lines tell of every scenario as it ends,
and a table of all of them at the end. The exit status is 1 where one did not go as expected: the server died,
honest clients were not served, or memory, threads or files did not come back. A scenario is skipped where the
machine lacks what it needs (a C compiler, openssl, mounts of one's own). Only loopback addresses are sent
anything. --quick scales all of it down. TMPDIR says where the folders are.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from pathlib import Path

from . import judge, report
from .scenario import Scenario
from .scenarios import ALL
from .server import ROOT, STARTER


def main() -> int:
    options = arguments()
    chosen = [one for one in ALL if not options.only or one.name in options.only]
    if options.list:
        print("\n".join(f"{one.name:24} {one.what}" for one in chosen))
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # So that whatever was started ends, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = []
    try:
        for one in chosen:
            results.append(attacked(one, options))
    except KeyboardInterrupt:
        print("interrupted; the server has been stopped", file=sys.stderr)
        return 130
    finally:
        if results:
            print(f"\n{report.table(results)}", flush=True)
    broken = sum(bool(result.problems) for result in results)
    skipped = sum(bool(result.skipped) for result in results)
    print(f"\n{len(results) - broken - skipped} scenarios as expected, {broken} not, {skipped} skipped")
    return 1 if broken else 0


def attacked(scenario: Scenario, options: argparse.Namespace) -> judge.Result:
    print(f"{scenario.name}: {scenario.what} …", flush=True)
    result = judge.run(scenario, options.graft.resolve(), options.port, options.quick)
    print(report.lines(result), flush=True)
    return result


def arguments() -> argparse.Namespace:
    as_it_is = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="tests.attacks", description=__doc__, formatter_class=as_it_is)
    parser.add_argument("--graft", type=Path, default=ROOT / "target/release/graft", help="the binary")
    names = [one.name for one in ALL]
    only = parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=[])
    only.help = "these scenarios alone"
    parser.add_argument("--quick", action="store_true", help="a few seconds for each, with fewer attackers")
    parser.add_argument("--port", type=int, default=0, help="where to listen; any free port unless told")
    parser.add_argument("--list", action="store_true", help="name the scenarios and do nothing")
    options = parser.parse_args()
    for needed in (options.graft, STARTER):
        if not options.list and not needed.exists():
            parser.error(f"{needed} is missing: `make build starter` brings it")
    return options


if __name__ == "__main__":
    sys.exit(main())
