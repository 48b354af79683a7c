"""Disks that are full or read-only while a job runs, and later are not, in mounts that the server alone sees."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable

from .. import files
from ..scenario import JSON, Expectation, Scenario, Stage
from ..server import MODEL, Server, ServerError, SkippedError

# At the priority of others: what is looked at is what a job does, not how it gives way.
SETTINGS = {"GRAFT__JOBS__NICE": "0"}
OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]
SIZE = "400m"


def with_own_mounts(server: Server) -> None:
    tools = ("unshare", "nsenter", "mount", "umount")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing or subprocess.run([*OWN_MOUNTS, "true"], capture_output=True).returncode:
        raise SkippedError(f"mounts of the server's own need {', '.join(missing) or 'more rights'}")
    server.launcher = OWN_MOUNTS


def with_a_small_disk(server: Server) -> None:
    """The data folder is a file system of its own, in memory."""
    with_own_mounts(server)
    server.data.mkdir()
    mounted = 'mount -t tmpfs -o "size=$1" attack "$2" && shift 2 && exec "$@"'
    server.launcher = [*OWN_MOUNTS, "sh", "-c", mounted, "sh", SIZE, str(server.data)]


def entered(server: Server, *words: str) -> list[str]:
    """A command that sees the server's mounts."""
    return ["nsenter", f"--mount=/proc/{server.pid}/ns/mnt", *words]


def within(server: Server, *words: str) -> None:
    done = subprocess.run(entered(server, *words), capture_output=True, text=True)
    if done.returncode:
        raise ServerError(f"{' '.join(words)} failed: {done.stderr[-200:]}")


def read_only(stage: Stage) -> None:
    """The data folder becomes read-only, for all that is opened from then on; and comes back."""
    server = stage.server
    data, copy = str(server.data), str(server.folder / "copy")
    server.folder.joinpath("copy").mkdir()

    def lock() -> None:
        # Nothing writes below the copy of the mount, which could not be made read-only then.
        within(server, "mount", "--bind", data, copy)
        within(server, "mount", "-o", "remount,bind,ro", copy)
        within(server, "mount", "--move", copy, data)

    for pause in (0.0, 1.5):
        outage(stage, pause, lock, lambda: within(server, "umount", "--lazy", data))


def full(stage: Stage) -> None:
    """The data folder's disk has no block left; and has some again."""
    server = stage.server
    filler = str(server.data / "filler")
    # What others give back is taken, too.
    endless = 'while sleep 0.05; do cat /dev/zero >> "$0"; done'
    running: list[subprocess.Popen[bytes]] = []

    def fill() -> None:
        command = entered(server, "sh", "-c", endless, filler)
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True))

    def free() -> None:
        process = running.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        within(server, "rm", "--force", filler)

    for pause in (0.0, 1.5):
        outage(stage, pause, fill, free)


def outage(stage: Stage, pause: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """A job waits while nothing can be written, and ends well; meanwhile others are told what is wrong."""
    spare = stage.dataset(files.dataset(2, 12, "spare"))
    job = stage.submit(stage.made["dataset"], phases=[{"trainable": "head", "epochs": stage.pick(20, 6)}])
    stage.wait(pause)
    begin()
    try:
        stage.wait(stage.pick(20.0, 5.0))
        waits = stage.state(job)
        refused = {
            "POST /datasets": stage.attempt(
                lambda: stage.ask("POST", "/datasets", files.dataset(), "application/x-tar")
            ),
            "DELETE /datasets": stage.attempt(lambda: stage.ask("DELETE", f"/datasets/{spare}")),
            "PUT /stable": stage.attempt(lambda: stage.ask("PUT", f"/models/{MODEL}/stable", b'{"version": 1}', JSON)),
        }
    finally:
        end()
    told = ", ".join(f"{name}: {answer.status if answer else 'closed'}" for name, answer in refused.items())
    state = stage.ended(job)
    stage.note(f"from {pause} s on: the job is {waits}; {told}; afterwards the job is {state}")
    stage.require(waits.startswith(("queued", "running", "succeeded")), f"the job is {waits} while nothing can be written")
    stage.require(state == "succeeded", f"the job is {state} once the disk can be written again")


def with_a_dataset(stage: Stage) -> None:
    stage.made["dataset"] = stage.dataset()


WITHOUT_ROOM = Expectation(memory=600, kept=400, files=24, stop=35)
SCENARIOS = [
    Scenario(
        "read-only-disk", "the data folder is read-only while a job runs, and later it is not", read_only, with_a_dataset,
        equip=with_own_mounts, settings=SETTINGS, expect=WITHOUT_ROOM,
    ),
    Scenario(
        "no-block-left", "the disk of the data folder is full while a job runs, and later it is not", full, with_a_dataset,
        equip=with_a_small_disk, settings=SETTINGS, expect=WITHOUT_ROOM,
    ),
]
