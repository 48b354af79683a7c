"""What a process takes, seen from outside, twenty times a second.

Memory, threads, files, processor, and what the kernel keeps for sockets.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.05
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
MEGABYTE = 1e6


@dataclass
class Usage:
    """At one time, or the most within some; memory in megabytes."""

    memory: float = 0.0
    threads: int = 0
    files: int = 0
    kernel: float = 0.0
    processor: float = 0.0

    def most(self, other: Usage) -> Usage:
        pairs = zip(vars(self).values(), vars(other).values())
        return Usage(*(max(a, b) for a, b in pairs))


def usage(pid: int) -> Usage:
    """Of a process that runs; zeros of one that has ended."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        folder = Path(f"/proc/{pid}")
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        processor = (int(stat[11]) + int(stat[12])) / TICKS
        files = len(os.listdir(folder / "fd"))
        return Usage(int(stat[21]) * PAGE / MEGABYTE, int(stat[17]), files, kernel_memory(), processor)
    return Usage()


def kernel_memory() -> float:
    """What the kernel keeps for all TCP sockets of this machine."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * PAGE / MEGABYTE
    return 0.0


class Watch:
    """Samples a process on a thread of its own."""

    def __init__(self, pid: int):
        self.pid = pid
        self.peak = Usage()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._over.wait(INTERVAL):
            now = usage(self.pid)
            with self._lock:
                self.peak = self.peak.most(now)

    def begin(self) -> Usage:
        """How it is now; peaks count from here on."""
        now = usage(self.pid)
        # The kernel's own peak, which misses nothing between two samples.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        with self._lock:
            self.peak = now
        return now

    def end(self) -> Usage:
        """The most since it began."""
        with self._lock:
            peak = self.peak.most(usage(self.pid))
        peak.memory = max(peak.memory, self._high_water())
        return peak

    def _high_water(self) -> float:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) * 1024 / MEGABYTE
        return 0.0

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that run, and theirs."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found + [one for child in found for one in children(child)]


class ChildWatch:
    """Samples the processes that a process starts, on a thread of its own: the most memory that they had together."""

    def __init__(self, pid: int):
        self.pid, self.memory = pid, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(INTERVAL):
            self.memory = max(self.memory, sum(usage(child).memory for child in children(self.pid)))

    def __enter__(self) -> ChildWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
