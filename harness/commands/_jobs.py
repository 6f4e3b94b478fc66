"""The verb `run` with jobs: submit, watch, and what to say when the watching ends first; their states in `plan`."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import Cells
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan, refreshed
from harness.commands._arguments import say
from harness.executor.command import job_command, plan_command
from harness.executor.ledger import FAILED, LOST, Job, latest_by_cell
from harness.executor.options import ExecutorOptions
from harness.executor.watch import Submission, current_jobs, log_text, submit, watch, ways_out
from harness.machine.settings import Settings
from harness.running.summary import Outcome


def run_jobs(
    arguments: argparse.Namespace, cells: Cells, settings: Settings, options: ExecutorOptions
) -> Outcome | None:
    """Compute cells as jobs; None if nobody waits for them (`--detach`).

    Raises:
        UserError: submitit is not installed, or the executor refuses.
        KeyboardInterrupt: After saying how to go on; the jobs go on.
    """
    if importlib.util.find_spec("submitit") is None:
        raise UserError(f"--executor {options.kind} needs submitit.", "python -m pip install 'submitit>=1.5'")
    runs = settings.runs.path
    for cell in cells.evals:
        audit_cell(cell)  # here, where somebody reads it, and again in the job
    _render(cells)

    def command(keys: Iterable[str]) -> list[str]:
        return job_command(arguments.parser, arguments, settings, keys, options.processes_per_job)

    submission = submit(cells, runs, options, command, _discarding(settings) if arguments.force else None)
    _announce(submission, options)
    plan = shlex.join(plan_command(arguments.parser, arguments, settings))
    if arguments.detach:
        for line in ways_out(submission.jobs, runs, plan):
            say(line)
        return None
    try:
        return watch(submission, cells, runs, arguments.keep_going, say)
    except KeyboardInterrupt:
        known = {job.uid for job in submission.jobs}
        for line in ways_out([job for job in current_jobs(runs) if job.uid in known], runs, plan):
            say(line)
        raise


def _discarding(settings: Settings) -> Callable[[Plan], Plan]:
    """What `--force` does to a plan before its cells become jobs."""

    def discarded(plan: Plan) -> Plan:
        from harness.running.run import discard

        discard(plan, settings)
        return refreshed(plan)

    return discarded


def _render(cells: Cells) -> None:
    """Render embedded datasets once, before many jobs find them missing at the same time."""
    datasets = {id(cell.dataset): cell.dataset for cell in (*cells.fits, *cells.evals)}
    for dataset in datasets.values():
        if dataset.kind == "embedded":
            dataset.prepare(None)


def _announce(submission: Submission, options: ExecutorOptions) -> None:
    if submission.new:
        say(str(options))
    for job in submission.earlier:
        say(f"under way already: {job.label}: {job.title}")
    for job in submission.new:
        say(f"submitted: {job.label}: {job.title}")


def jobs_of(cells: Cells, runs: Path) -> dict[str, Job]:
    """The last job of each cell of a request in its present state, by the cell's key."""
    wanted = {cell.key for cell in (*cells.fits, *cells.evals)}
    return {key: job for key, job in latest_by_cell(current_jobs(runs)).items() if key in wanted}


def troubles(jobs: Iterable[Job], runs: Path) -> list[str]:
    """One text a job that failed or was lost: what, why, and the last lines of its log."""
    return [
        f"{job.state}: {job.label}: {job.title}: {job.reason}{log_text(job, runs)}"
        for job in {job.uid: job for job in jobs}.values()
        if job.state in (FAILED, LOST)
    ]
