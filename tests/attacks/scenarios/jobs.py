"""Jobs whose server stops, and whose clock is set."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time

from .. import files
from ..scenario import Expectation, Scenario, Stage
from ..server import Server, ServerError, SkippedError

YEAR = 365 * 86_400
# At the priority of others: what is looked at is who does a job, not how it gives way.
NO_WORKER = {"GRAFT__JOBS__WORKERS": "0", "GRAFT__JOBS__NICE": "0"}
WORKER = {"GRAFT__JOBS__WORKERS": "1"}
PHOTO = (files.FIXTURES / "cat.jpg").read_bytes()


def runs(server: Server, job: str) -> int:
    """How often a server has begun with a job."""
    return sum(job in line and "job started" in line for line in server.lines())


def stopped_owners(stage: Stage) -> None:
    """Two workers on one folder; each job's owner sleeps beyond its lease and wakes while the other one is at work."""
    with stage.server.neighbour(WORKER) as one, stage.server.neighbour(WORKER) as other:
        one.start()
        other.start()
        rounds = stage.pick(9, 2)
        inherited = sum(stopped(stage, one, other, number) for number in range(rounds))
        stage.require(inherited > rounds // 2, f"of {rounds} jobs {inherited} got a new owner")
        for worker in (one, other):
            failed = [line for line in worker.lines() if "a job failed" in line or "panicked" in line]
            stage.require(not failed, f"an attempt failed: {failed[:1]}")
    doctor = stage.server.run("doctor")
    stage.require(doctor.returncode == 0, f"doctor finds: {doctor.stdout[-300:]}")


def stopped(stage: Stage, one: Server, other: Server, number: int) -> bool:
    """One round; whether the job got a new owner."""
    job = stage.submit(stage.made["dataset"], publish="always", phases=[{"trainable": "head", "epochs": 20}])
    stage.until(lambda: runs(one, job) + runs(other, job) > 0, "a job's start")
    owner, heir = (one, other) if runs(one, job) else (other, one)
    # Somewhere between its first step and the version's files.
    stage.wait(number * 0.25)
    owner.kill(signal.SIGSTOP)
    with contextlib.suppress(ServerError):
        stage.until(lambda: runs(heir, job) > 0 or not stage.state(job).startswith("running"), "a new owner", 20)
    stage.wait(number % 3 * 0.3)
    owner.kill(signal.SIGCONT)
    told = stage.ended(job)
    inherited = runs(heir, job) > 0
    stage.note(f"stopped after {number * 0.25:.2f} s: {told}{', by a new owner' if inherited else ''}")
    stage.require(told == "succeeded", f"a job whose owner was stopped is {told}")
    whole(stage, stage.ask("GET", f"/jobs/{job}").json())
    return inherited


def whole(stage: Stage, job: dict[str, object]) -> None:
    """The version that a job made answers."""
    result = job.get("result")
    version = result.get("version") if isinstance(result, dict) else None
    path = f"/predict?model=shapes&version={version}&top_k=1"

    def answers() -> bool:
        return stage.ask("POST", path, PHOTO, "image/jpeg").status == 200

    try:
        stage.until(answers, f"an answer of version {version}", 20)
    except ServerError as error:
        stage.require(False, str(error))


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <fcntl.h>
#include <unistd.h>

/* Seconds that the time of day is set ahead: a file that whoever sets it writes. */
static long ahead(void) {
    static volatile long *seconds;
    if (!seconds) {
        const char *path = getenv("ATTACK_CLOCK");
        int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *at = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        if (at == MAP_FAILED) return 0;
        seconds = at;
    }
    return *seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *to) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (to) *to = exact.tv_sec;
    return exact.tv_sec;
}
"""


def with_a_clock(server: Server) -> None:
    """Lets the server see a time of day that the scenario sets."""
    compiler = shutil.which("cc")
    if not compiler:
        raise SkippedError("there is no C compiler, with which the clock is set for the server alone")
    source, library, clock = (server.folder / name for name in ("clock.c", "clock.so", "clock"))
    source.write_text(CLOCK)
    clock.write_bytes(bytes(8))
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"the clock cannot be compiled: {done.stderr[-200:]}")
    server.environment |= {"LD_PRELOAD": str(library), "ATTACK_CLOCK": str(clock)}


def set_clock(stage: Stage, seconds: int) -> None:
    with (stage.server.folder / "clock").open("r+b") as file:
        file.write(seconds.to_bytes(8, "little", signed=True))


def clock_set(stage: Stage) -> None:
    """The clock goes a year ahead and back during jobs, and also between a worker's death and the next worker."""
    datasets = [stage.dataset(files.dataset(2, 12, f"set{number}")) for number in range(3)]
    long = [{"trainable": "head", "epochs": stage.pick(40, 10)}]
    with stage.server.neighbour(WORKER) as worker:
        worker.start()
        first = stage.submit(datasets[0], name="first", phases=long)
        begun(stage, worker, first)
        set_clock(stage, YEAR)
        stage.wait(3)
        second = stage.submit(datasets[1], name="second", phases=long)
        created = stage.ask("GET", f"/jobs/{second}").json()["created"]
        stage.require(int(created[:4]) > time.gmtime().tm_year, f"the server sees {created}, its clock is not set")
        begun(stage, worker, second)
        set_clock(stage, -YEAR)
        stage.wait(1)
        ended(stage, "first", first)
        ended(stage, "second", second)
        set_clock(stage, YEAR)
        third = stage.submit(datasets[2], name="third", phases=long)
        begun(stage, worker, third)
        worker.kill(signal.SIGKILL)
        set_clock(stage, 0)
    with stage.server.neighbour(WORKER) as worker:
        worker.start()
        ended(stage, "third", third)
    for dataset in datasets:
        gone = stage.ask("DELETE", f"/datasets/{dataset}")
        stage.require(gone.status == 204, f"a data set is not deleted: {gone.status} {gone.body[:200]!r}")


def begun(stage: Stage, worker: Server, job: str) -> None:
    stage.until(lambda: runs(worker, job) > 0, "a job's start", 120)


def ended(stage: Stage, name: str, job: str) -> None:
    told = stage.ended(job)
    stage.note(f"the {name} job: {told}")
    stage.require(told == "succeeded", f"the {name} job is {told}")


def with_a_dataset(stage: Stage) -> None:
    stage.made["dataset"] = stage.dataset()


SCENARIOS = [
    Scenario(
        "stopped-owners", "two servers on one folder, each job's owner stopped beyond its lease and continued", stopped_owners,
        with_a_dataset, settings=NO_WORKER | {"GRAFT__JOBS__LEASE_MS": "4000"}, quick={"GRAFT__JOBS__LEASE_MS": "2000"},
        expect=Expectation(memory=600, kept=400, files=32),
    ),
    Scenario(
        "clock-set", "the clock is set a year ahead and back during jobs, and while none has an owner", clock_set,
        equip=with_a_clock, settings=NO_WORKER, expect=Expectation(memory=300),
    ),
]
