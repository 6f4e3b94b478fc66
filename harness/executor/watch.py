"""Wait for submitted jobs, report each change of their states, and count their cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.eval_state import eval_state
from harness.cells.fit_state import fit_state
from harness.executor import local, slurm
from harness.executor.ledger import DONE, ENDED, PENDING, RUNNING, Job, JobState, write_states
from harness.executor.states import current_jobs, log_text
from harness.executor.submit import Submission
from harness.running.run_request import RunSummary

POLL_SECONDS = (1.0, 15.0)
"""Shortest and longest pause between two queries; the pause grows while no state changes, to spare the cluster."""
SETTLE_SECONDS = 10.0
"""Time until the files of a finished job are visible here; slow network file systems need it."""


def watch(
    submission: Submission, cells: Cells, runs: Path, keep_going: bool, report: Callable[[str], None]
) -> RunSummary:
    """Wait until all jobs of a submission have ended.

    Args:
        submission: The jobs.
        cells: Cells of the request.
        runs: Run folder.
        keep_going: Without it, the first failed job ends the wait: jobs of this submission that have not started are
            cancelled, running jobs run on.
        report: Called with one line per change of a job's state.
    """
    summary = RunSummary(reused=submission.reused)
    left = {job.uid for job in submission.jobs}
    new = {job.uid for job in submission.new}
    shown = dict.fromkeys(new, PENDING)
    pause = POLL_SECONDS[0]
    while left:
        jobs = {job.uid: job for job in current_jobs(runs) if job.uid in left}
        # At every round: SLURM forgets a job a few minutes after its end.
        write_states(runs, {job.uid: JobState(job.state, job.reason) for job in jobs.values()})
        changed = [job for uid, job in jobs.items() if shown.get(uid) != job.state]
        for job in changed:
            shown[job.uid] = job.state
            if job.active:
                report(f"{job.state}: {job.label}: {job.title}")
                continue
            left.discard(job.uid)
            failures = _conclude(job, cells, runs, summary)
            report(f"{'failed' if failures else 'done'}: {job.label}: {job.title}")
            summary.failures += failures
        if summary.failures and not keep_going and left:
            _stop([job for uid, job in jobs.items() if uid in left & new], runs, report)
            break
        pause = POLL_SECONDS[0] if changed else min(pause * 1.3, POLL_SECONDS[1])
        if left:
            time.sleep(pause)
    summary.records = [cell.record for cell in cells.evals if cell.record.is_file()]
    return summary


def _conclude(job: Job, cells: Cells, runs: Path, summary: RunSummary) -> list[tuple[str, str]]:
    """Count the finished cells of an ended job; returns (cell name, reason) of the cells that are not finished."""
    all_cells: tuple[FitCell | EvalCell, ...] = (*cells.fits, *cells.evals)
    job_cells = [cell for cell in all_cells if cell.key in job.cells]
    # Files of a job that failed are not awaited: they may never come.
    deadline = time.monotonic() + (SETTLE_SECONDS if job.state == DONE else 0)
    while (missing := [cell for cell in job_cells if not _is_done(cell)]) and time.monotonic() < deadline:
        time.sleep(0.5)
    for cell in job_cells:
        if cell not in missing:
            summary.fits += isinstance(cell, FitCell)
            summary.evals += isinstance(cell, EvalCell)
    if not missing:
        return []
    why = job.reason if job.state != DONE else "the job succeeded, but its result is missing"
    first, *rest = [f"{'fit' if isinstance(cell, FitCell) else 'eval'} {cell.name}" for cell in missing]
    return [(first, f"{job.label} {job.state}: {why}" + log_text(job, runs)), *((n, "in the same job") for n in rest)]


def _is_done(cell: FitCell | EvalCell) -> bool:
    return (fit_state(cell) if isinstance(cell, FitCell) else eval_state(cell)).state == "done"


def _stop(jobs: list[Job], runs: Path, report: Callable[[str], None]) -> None:
    """Cancel the jobs that have not started, and report the jobs that run on."""
    waiting = [job for job in jobs if job.state not in (*ENDED, RUNNING)]
    slurm.cancel([job for job in waiting if job.executor == "slurm"])
    local.cancel([job for job in waiting if job.executor == "local"], runs)
    for job in waiting:
        report(f"cancelled, because another job failed (--keep-going continues): {job.label}: {job.title}")
    for job in jobs:
        if job not in waiting:
            report(f"runs on: {job.label}: {job.title}")


def next_steps(jobs: Iterable[Job], runs: Path, show_states: str) -> list[str]:
    """Messages for a user who stops waiting: the commands that show, cancel and resume the jobs.

    Args:
        jobs: The submitted jobs.
        runs: Run folder.
        show_states: The command that shows the states of the jobs.
    """
    left = [job for job in jobs if job.state not in ENDED]
    lines = [f"{len(left)} jobs run on; to show their states: {show_states}"]
    if ids := [job.id for job in left if job.executor == "slurm"]:
        lines.append(f"to cancel them: scancel {' '.join(ids)}")
    if any(job.executor == "local" for job in left) and (pid := local.queue_pid(runs)) is not None:
        lines.append(f"to cancel them: kill -- -{pid}")
    return [*lines, "the same command again waits for them, submits missing jobs, and renders the report"]
