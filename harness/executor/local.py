"""Jobs as processes of this machine: a queue that outlives the command that filled it, and their states.

`python -m harness.executor.local RUNS` is the queue. It starts the waiting jobs of a run folder through submitit, as
many at the same time as `parallel` allows, each after the jobs it depends on, and ends when no job is left. There is
one queue per run folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from harness.base.atomic import write_json
from harness.base.errors import EXIT_FAILED, UserError
from harness.executor.job import JobCommand
from harness.executor.ledger import (
    CANCELLED,
    DONE,
    ENDED,
    FAILED,
    LOGS,
    LOST,
    RUNNING,
    Job,
    JobState,
    exit_text,
    open_ledger,
    read_ledger,
    read_status,
    write_states,
)

if TYPE_CHECKING:
    import submitit

QUEUE_LOCK = "local_queue.lock"
PID_FILE = "local_queue.json"
QUEUE_LOG = "local_queue.log"
QUEUE_START_SECONDS = 60.0
QUEUE_WAIT_SECONDS = 3.0
"""Time to wait for the queue's lock: longer than `_is_locked` holds it, and short for a user who waits."""
POLL_SECONDS = 0.5
GPUS_SEEN = "CUDA_VISIBLE_DEVICES"
NOTICE_SECONDS = 30
"""Time between submitit's signal and the end of a job's time."""


@dataclass(frozen=True)
class _Started:
    """A running job of the queue.

    Args:
        handle: submitit's handle of the process.
        slot: Number of the job among the running jobs; it chooses the job's GPUs.
    """

    handle: submitit.Job[None]
    slot: int


def start_queue(runs: Path) -> None:
    """Start the queue of a run folder in the background, in its own session so that Ctrl-C does not reach it.

    A second queue ends by itself. Call it with the ledger open, so that a running queue cannot end meanwhile.

    Raises:
        UserError: The queue does not start.
    """
    folder = runs / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / QUEUE_LOG).open("ab") as log:
        queue = subprocess.Popen(
            [sys.executable, "-m", "harness.executor.local", str(runs.absolute())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + QUEUE_START_SECONDS
    while not _is_locked(runs / ".locks" / QUEUE_LOCK):
        # Exit code 0 before the lock is seen: another queue holds it, or all jobs were done at once.
        if time.monotonic() > deadline or queue.poll() not in (None, 0):
            raise UserError("The queue of this machine did not start.", f"See {folder / QUEUE_LOG}.", EXIT_FAILED)
        time.sleep(0.05)


def serve(runs: Path) -> None:
    """Start waiting jobs until none is left; returns at once if another queue of the run folder is running."""
    lock = FileLock(runs / ".locks" / QUEUE_LOCK, timeout=QUEUE_WAIT_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        return
    write_json(runs / LOGS / PID_FILE, {"schema": 1, "pid": os.getpid()})
    running: dict[str, _Started] = {}
    while True:
        _collect(runs, running)  # before the ledger is opened, since it opens the ledger itself
        with open_ledger(runs) as jobs:
            _cancel_orphans(jobs)
            waiting = [job for job in jobs.values() if job.executor == "local" and job.active and not job.id]
            for job in waiting:
                if len(running) < job.resources["parallel"] and _ready(job, jobs):
                    # The lowest free slot, because its number chooses the GPUs and must not be used twice.
                    slot = min(set(range(len(running) + 1)) - {started.slot for started in running.values()})
                    running[job.uid] = started = _start(job, runs, slot)
                    jobs[job.uid] = replace(job, id=started.handle.job_id, state=RUNNING)
            if not running and not any(_ready(job, jobs) for job in waiting):
                # Released while the ledger is locked: a process that adds jobs afterwards starts another queue.
                lock.release()
                return
        time.sleep(POLL_SECONDS)


def _ready(job: Job, jobs: dict[str, Job]) -> bool:
    return all(jobs[uid].state == DONE for uid in job.after if uid in jobs)


def _cancel_orphans(jobs: dict[str, Job]) -> None:
    """Cancel jobs that wait for a job that did not succeed, as SLURM does."""
    for job in list(jobs.values()):
        if job.executor == "local" and job.active and not job.id:
            lost = [uid for uid in job.after if uid in jobs and jobs[uid].state in ENDED and jobs[uid].state != DONE]
            if lost:
                jobs[job.uid] = replace(job, state=CANCELLED, reason="a job it depends on failed")


def _start(job: Job, runs: Path, slot: int) -> _Started:
    """Start a job through submitit."""
    import submitit

    gpus = job.resources["gpus"] or 0
    # submitit hides all GPUs from a job without GPUs; the job must see the same GPUs as a run in one process.
    environment = {} if gpus else {GPUS_SEEN: os.environ.get(GPUS_SEEN)}
    executor = submitit.LocalExecutor(runs / job.folder, max_num_timeout=job.resources["turns"])
    executor.update_parameters(
        timeout_min=job.resources["time"], gpus_per_node=gpus,
        visible_gpus=list(range(slot * gpus, (slot + 1) * gpus)),
        signal_delay_s=NOTICE_SECONDS, stderr_to_stdout=True,
    )  # fmt: skip
    status, lock = (str(path(runs).absolute()) for path in (job.status_file, job.lock_file))
    command = JobCommand(list(job.command), job.cwd, status, lock, environment, job.result_folders(runs))
    return _Started(executor.submit(command), slot)


def _collect(runs: Path, running: dict[str, _Started]) -> None:
    """Write the states of ended jobs into the ledger and remove these jobs from the running ones."""
    jobs = {job.uid: job for job in read_ledger(runs)}
    ended = {}
    for uid, started in list(running.items()):
        if started.handle.get_info()["jobState"] != "RUNNING":
            del running[uid]
            ended[uid] = _ended(jobs[uid], runs)
    write_states(runs, ended)


def _ended(job: Job, runs: Path) -> JobState:
    """The state of a job whose process has ended."""
    status = read_status(job.status_file(runs))
    if status.state != "ended":  # the process had no time to write its exit code
        return JobState(FAILED, "killed, or stopped more often than allowed")
    return JobState(DONE) if status.returncode == 0 else JobState(FAILED, exit_text(status.returncode))


def states(jobs: Iterable[Job], runs: Path) -> dict[str, JobState]:
    """The states of jobs by ledger identifier."""
    job_states: dict[str, JobState] = {}
    for job in jobs:
        if _is_locked(job.lock_file(runs)):
            job_states[job.uid] = JobState(RUNNING)
        elif _is_locked(runs / ".locks" / QUEUE_LOCK):
            job_states[job.uid] = JobState(job.state, job.reason)  # the queue writes the new state into the ledger
        elif not job.id:
            job_states[job.uid] = JobState(LOST, "the queue of this machine ended before it started the job")
        else:
            job_states[job.uid] = _ended(job, runs)
    return job_states


def _is_locked(path: Path) -> bool:
    """Whether a running process holds a lock file."""
    if not path.is_file():
        return False
    try:
        # The operating system releases the lock of a process that was killed; a pid could belong to another process.
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def cancel(jobs: list[Job], runs: Path) -> None:
    """Cancel jobs that wait in the queue; a started job runs on."""
    uids = {job.uid for job in jobs}
    with open_ledger(runs) as ledger:
        for uid in uids & set(ledger):
            if ledger[uid].active and not ledger[uid].id:
                ledger[uid] = replace(ledger[uid], state=CANCELLED, reason="cancelled")


def queue_pid(runs: Path) -> int | None:
    """The process id of the running queue, which is also its process group; None without a running queue."""
    try:
        pid = int(json.loads((runs / LOGS / PID_FILE).read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if _is_locked(runs / ".locks" / QUEUE_LOCK) else None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the started jobs run on
    serve(Path(sys.argv[1]))
