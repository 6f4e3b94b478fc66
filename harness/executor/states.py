"""Present states of the jobs of a run folder, and the ends of their logs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from harness.executor import local, slurm
from harness.executor.ledger import FAILED, LOST, Job, JobState, read_ledger, tail


def current_jobs(runs: Path) -> list[Job]:
    """The jobs of a run folder with their present states; writes nothing."""
    jobs = read_ledger(runs)
    # Ended jobs are not queried: a cluster forgets them.
    states = {job.uid: JobState(job.state, job.reason) for job in jobs if not job.active}
    if on_slurm := [job for job in jobs if job.active and job.executor == "slurm"]:
        states |= slurm.states(on_slurm, runs)
    if on_this_machine := [job for job in jobs if job.active and job.executor == "local"]:
        states |= local.states(on_this_machine, runs)
    return [replace(job, state=states[job.uid].state, reason=states[job.uid].reason) for job in jobs]


def log_text(job: Job, runs: Path) -> str:
    """Path and last lines of a job's log, to append to a message; empty if there is no log."""
    lines = tail(job.log(runs))
    return "".join(f"\n    {line}" for line in [f"{job.log(runs)} ends:", *(f"| {line}" for line in lines)] if lines)


def failures(jobs: Iterable[Job], runs: Path) -> list[str]:
    """One message per failed or lost job: the job, the reason, and the last lines of its log."""
    return [
        f"{job.state}: {job.label}: {job.title}: {job.reason}{log_text(job, runs)}"
        for job in {job.uid: job for job in jobs}.values()
        if job.state in (FAILED, LOST)
    ]
