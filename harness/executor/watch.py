"""Submitting the open cells of a request as jobs, watching them, and saying what became of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.cells.plan import Plan, eval_state, fit_state, make_plan
from harness.executor import local, slurm
from harness.executor.grouping import Work, group, waves
from harness.executor.ledger import (
    DONE,
    ENDED,
    FAILED,
    LOGS,
    PENDING,
    Job,
    latest_by_cell,
    open_ledger,
    read_ledger,
    tail,
    write_states,
)
from harness.executor.options import ExecutorOptions
from harness.running.summary import Outcome

POLL_SECONDS = (1.0, 15.0)
SETTLE_SECONDS = 10.0
"""How long the files of a finished job may take to be seen here, on a slow network file system."""


@dataclass(frozen=True)
class Submission:
    """The jobs that compute a request.

    Args:
        new: Submitted now.
        earlier: Under way already, with cells of this request.
        reused: Cells that were done.
    """

    new: tuple[Job, ...]
    earlier: tuple[Job, ...]
    reused: int

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All of them."""
        return (*self.earlier, *self.new)


def observe(jobs: Iterable[Job], runs: Path) -> dict[str, tuple[str, str]]:
    """(state, reason) of jobs now, by ledger name; those that are over are not asked about again."""
    jobs = list(jobs)
    found = {job.uid: (job.state, job.reason) for job in jobs if not job.active}
    of_slurm = [job for job in jobs if job.active and job.executor == "slurm"]
    of_here = [job for job in jobs if job.active and job.executor == "local"]
    return {
        **found,
        **(slurm.states(of_slurm, runs) if of_slurm else {}),
        **(local.states(of_here, runs) if of_here else {}),
    }


def current_jobs(runs: Path) -> list[Job]:
    """The jobs of a run folder with their present states; writes nothing."""
    jobs = read_ledger(runs)
    found = observe(jobs, runs)
    return [replace(job, state=found[job.uid][0], reason=found[job.uid][1]) for job in jobs]


def submit(
    cells: Cells,
    runs: Path,
    options: ExecutorOptions,
    command: Callable[[Iterable[str]], list[str]],
    force: Callable[[Plan], Plan] | None = None,
) -> Submission:
    """Submit the open cells of a request that are in no job under way.

    Args:
        cells: Of the request.
        runs: Run folder.
        options: Executor and what jobs ask for.
        command: The command line that computes cells with given keys.
        force: Removes what is to be computed anew and gives the plan after that; None to keep what is done.

    Raises:
        UserError: The executor refuses, or `force` meets cells of jobs under way.
    """
    with open_ledger(runs) as ledger:
        for job in current_jobs(runs):
            ledger[job.uid] = job
        active = latest_by_cell(job for job in ledger.values() if job.active)
        wanted = {cell.key for cell in (*cells.fits, *cells.evals)}
        if force and (busy := {job.label for key, job in active.items() if key in wanted}):
            raise UserError(f"--force, but jobs are under way: {', '.join(sorted(busy))}.", "Cancel them first.")
        plan = force(make_plan(cells)) if force else make_plan(cells)
        states = (*plan.fits, *plan.evals)
        new: list[Job] = []
        for wave in waves(group(plan, active), active):
            before = {key: job for job in ledger.values() if job.active for key in job.cells}
            after = tuple(dict.fromkeys(before[key].uid for key in wave[0].after))
            for job in _submit_wave(wave, after, ledger, runs, options, command):
                ledger[job.uid] = job
                new.append(job)
        open_keys = {state.cell.key for state in states if state.state != "done"}
        earlier = {job.uid: job for key, job in active.items() if key in open_keys}
        if any(job.executor == "local" for job in new):
            local.start_queue(runs)
    return Submission(tuple(new), tuple(earlier.values()), len(states) - len(open_keys))


def _submit_wave(
    works: list[Work],
    after: tuple[str, ...],
    ledger: dict[str, Job],
    runs: Path,
    options: ExecutorOptions,
    command: Callable[[Iterable[str]], list[str]],
) -> list[Job]:
    """Jobs that wait for the same others; they share a folder of logs."""
    now = datetime.now(UTC)
    folder = f"{LOGS}/{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    asked = {"time": options.time, "turns": options.turns, "gpus": options.gpus, "parallel": options.parallel or 1}
    jobs = [
        Job(
            uid=secrets.token_hex(6), title=work.title, executor=options.kind, cells=work.keys,
            command=tuple(command(work.keys)), cwd=str(Path.cwd()), folder=folder, after=after,
            beside=tuple(os.path.relpath(path, runs) for path in work.folders),
            resources=asked if options.kind == "local" else {}, submitted=now.isoformat(timespec="seconds"),
        )
        for work in works
    ]  # fmt: skip
    if options.kind == "slurm":
        ids = slurm.submit(jobs, runs, options, [ledger[uid].id for uid in after])
        jobs = [replace(job, id=i) for job, i in zip(jobs, ids, strict=True)]
    return jobs


def watch(submission: Submission, cells: Cells, runs: Path, keep_going: bool, say: Callable[[str], None]) -> Outcome:
    """Wait for jobs and say what becomes of each.

    Without `keep_going` the first job that fails ends the wait: jobs of this submission that have not started are
    cancelled, those that run go on.
    """
    outcome = Outcome(reused=submission.reused)
    left = {job.uid for job in submission.jobs}
    own = {job.uid for job in submission.new}
    pause, least = POLL_SECONDS[0], POLL_SECONDS[0]
    shown = dict.fromkeys(own, PENDING)
    while left:
        jobs = {job.uid: job for job in current_jobs(runs) if job.uid in left}
        write_states(runs, {job.uid: (job.state, job.reason) for job in jobs.values()})
        changed = [uid for uid, job in jobs.items() if shown.get(uid) != job.state]
        for uid in changed:
            job = jobs[uid]
            shown[uid] = job.state
            if job.active:
                say(f"{job.state}: {job.label}: {job.title}")
                continue
            left.discard(uid)
            failures = _conclude(job, cells, runs, outcome)
            say(f"{'failed' if failures else 'done'}: {job.label}: {job.title}")
            outcome.failures += failures
        if outcome.failures and not keep_going and left:
            _stop([job for uid, job in jobs.items() if uid in left & own], runs, say)
            return outcome
        pause = least if changed else min(pause * 1.3, POLL_SECONDS[1])
        if left:
            time.sleep(pause)
    return outcome


def _conclude(job: Job, cells: Cells, runs: Path, outcome: Outcome) -> list[tuple[str, str]]:
    """Count the cells of a job that is over; returns (cell, reason) of those that are not there."""
    mine = [cell for cell in (*cells.fits, *cells.evals) if cell.key in job.cells]
    deadline = time.monotonic() + (SETTLE_SECONDS if job.state == DONE else 0)
    while (missing := [cell for cell in mine if not _is_done(cell)]) and time.monotonic() < deadline:
        time.sleep(0.5)
    for cell in mine:
        if cell not in missing:
            outcome.fits += isinstance(cell, FitCell)
            outcome.evals += isinstance(cell, EvalCell)
    if not missing:
        return []
    why = job.reason if job.state != DONE else "it ended well and left no result"
    first, *rest = [f"{'fit' if isinstance(cell, FitCell) else 'eval'} {cell.name}" for cell in missing]
    return [(first, f"{job.label} {job.state}: {why}" + log_text(job, runs)), *((n, "in the same job") for n in rest)]


def _is_done(cell: FitCell | EvalCell) -> bool:
    return (fit_state(cell) if isinstance(cell, FitCell) else eval_state(cell)).state == "done"


def log_text(job: Job, runs: Path) -> str:
    """The place and the last lines of a job's log, to follow a message; empty if it has none."""
    lines = tail(job.log(runs))
    return "".join(f"\n    {line}" for line in [f"{job.log(runs)} ends:", *(f"| {line}" for line in lines)] if lines)


def _stop(jobs: list[Job], runs: Path, say: Callable[[str], None]) -> None:
    """Cancel what has not started, and say what goes on."""
    waiting = [job for job in jobs if job.state not in (*ENDED, "running")]
    slurm.cancel([job for job in waiting if job.executor == "slurm"])
    local.cancel([job for job in waiting if job.executor == "local"], runs)
    for job in waiting:
        say(f"cancelled, since another job failed (--keep-going goes on): {job.label}: {job.title}")
    for job in jobs:
        if job not in waiting:
            say(f"goes on: {job.label}: {job.title}")


def ways_out(jobs: Iterable[Job], runs: Path, plan: str) -> list[str]:
    """What to say when the watching ends before the jobs do."""
    jobs = [job for job in jobs if job.state not in (*ENDED, FAILED)]
    lines = [f"{len(jobs)} jobs go on; to look at them: {plan}"]
    if ids := [job.id for job in jobs if job.executor == "slurm"]:
        lines.append(f"to cancel them: scancel {' '.join(ids)}")
    if any(job.executor == "local" for job in jobs) and (pid := local.queue_pid(runs)) is not None:
        lines.append(f"to cancel them: kill -- -{pid}")
    return [*lines, "the same command again waits for them, submits what is missing, and renders the report"]
