"""Jobs as processes of this machine: a queue that outlives the command which filled it, and their states.

`python -m harness.executor.local RUNS` is the queue: it starts the waiting jobs of a run folder through submitit, so
many at a time, each after those it depends on, and ends when nothing is left. One queue a run folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    ending,
    open_ledger,
    read_ledger,
    read_status,
    write_states,
)

QUEUE_LOCK = "local_queue.lock"
PID_FILE = "local_queue.json"
QUEUE_LOG = "local_queue.log"
QUEUE_START_SECONDS = 60.0
QUEUE_WAIT_SECONDS = 3.0
"""Longer than a look at the lock holds it, shorter than anybody waits."""
POLL_SECONDS = 0.5
GPUS_SEEN = "CUDA_VISIBLE_DEVICES"
NOTICE_SECONDS = 30


def start_queue(runs: Path) -> None:
    """Start the queue of a run folder in the background, in a session of its own, so that Ctrl-C does not reach it.

    One that finds another queue at work ends. Called with the ledger open, so that no queue ends meanwhile.

    Raises:
        UserError: It does not start.
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
        if time.monotonic() > deadline or queue.poll() not in (None, 0):
            raise UserError("The queue of this machine did not start.", f"See {folder / QUEUE_LOG}.", EXIT_FAILED)
        time.sleep(0.05)


def serve(runs: Path) -> None:
    """Start waiting jobs and wait for them until none is left; at once if another queue is at work."""
    lock = FileLock(runs / ".locks" / QUEUE_LOCK, timeout=QUEUE_WAIT_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        return
    write_json(runs / LOGS / PID_FILE, {"schema": 1, "pid": os.getpid()})
    running: dict[str, tuple[Any, int]] = {}
    while True:
        _collect(runs, running)
        with open_ledger(runs) as jobs:
            _cancel_orphans(jobs)
            waiting = [job for job in jobs.values() if job.executor == "local" and job.active and not job.id]
            for job in waiting:
                if len(running) < job.resources["parallel"] and _ready(job, jobs):
                    slot = min(set(range(len(running) + 1)) - {slot for _, slot in running.values()})
                    handle = _start(job, runs, slot)
                    running[job.uid] = (handle, slot)
                    jobs[job.uid] = replace(job, id=handle.job_id, state=RUNNING)
            if not running and not any(_ready(job, jobs) for job in waiting):
                lock.release()  # while the ledger is closed to others: whoever adds to it next starts another queue
                return
        time.sleep(POLL_SECONDS)


def _ready(job: Job, jobs: dict[str, Job]) -> bool:
    return all(jobs[uid].state == DONE for uid in job.after if uid in jobs)


def _cancel_orphans(jobs: dict[str, Job]) -> None:
    """Cancel what waits for a job that did not succeed, as a cluster does."""
    for job in list(jobs.values()):
        if job.executor == "local" and job.active and not job.id:
            lost = [uid for uid in job.after if uid in jobs and jobs[uid].state in ENDED and jobs[uid].state != DONE]
            if lost:
                jobs[job.uid] = replace(job, state=CANCELLED, reason="a job it depends on failed")


def _start(job: Job, runs: Path, slot: int) -> Any:
    """Start a job through submitit; returns its handle."""
    import submitit

    wanted = job.resources
    gpus = wanted["gpus"] or 0
    # submitit hides every GPU from a job that asks for none; such a job sees what a run in one process would see.
    environment = {} if gpus else {GPUS_SEEN: os.environ.get(GPUS_SEEN)}
    executor = submitit.LocalExecutor(runs / job.folder, max_num_timeout=wanted["turns"])
    executor.update_parameters(
        timeout_min=wanted["time"], gpus_per_node=gpus, visible_gpus=list(range(slot * gpus, (slot + 1) * gpus)),
        signal_delay_s=NOTICE_SECONDS, stderr_to_stdout=True,
    )  # fmt: skip
    status, lock = (str(path(runs).absolute()) for path in (job.status_file, job.lock_file))
    return executor.submit(JobCommand(list(job.command), job.cwd, status, lock, environment, job.result_folders(runs)))


def _collect(runs: Path, running: dict[str, tuple[Any, int]]) -> None:
    """Write down the jobs that are over and give their places free."""
    jobs = {job.uid: job for job in read_ledger(runs)}
    found = {}
    for uid, (handle, _) in list(running.items()):
        if handle.get_info()["jobState"] == "RUNNING":
            continue
        del running[uid]
        found[uid] = _ended(jobs[uid], runs)
    write_states(runs, found)


def _ended(job: Job, runs: Path) -> tuple[str, str]:
    status = read_status(job.status_file(runs))
    if status.get("state") != "ended":
        return FAILED, "killed, or stopped more often than it may be"
    code = status.get("returncode")
    return (DONE, "") if code == 0 else (FAILED, ending(code))


def states(jobs: list[Job], runs: Path) -> dict[str, tuple[str, str]]:
    """(state, reason) of jobs by ledger name."""
    found: dict[str, tuple[str, str]] = {}
    for job in jobs:
        alive = _is_locked(job.lock_file(runs))
        if alive:
            found[job.uid] = (RUNNING, "")
        elif _is_locked(runs / ".locks" / QUEUE_LOCK):
            found[job.uid] = (job.state, job.reason)  # the queue will write down what becomes of it
        elif not job.id:
            found[job.uid] = (LOST, "the queue of this machine ended before its turn")
        else:
            found[job.uid] = _ended(job, runs)
    return found


def _is_locked(path: Path) -> bool:
    """Whether a living process holds a lock file."""
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def cancel(jobs: list[Job], runs: Path) -> None:
    """Cancel jobs that wait for their turn; one that has started goes on."""
    uids = {job.uid for job in jobs}
    with open_ledger(runs) as ledger:
        for uid in uids & set(ledger):
            if ledger[uid].active and not ledger[uid].id:
                ledger[uid] = replace(ledger[uid], state=CANCELLED, reason="cancelled")


def queue_pid(runs: Path) -> int | None:
    """The process id of the queue at work, which is also its process group; None if there is none."""
    try:
        pid = int(json.loads((runs / LOGS / PID_FILE).read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError):
        return None
    return pid if _is_locked(runs / ".locks" / QUEUE_LOCK) else None


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its jobs go on
    serve(Path(sys.argv[1]))
