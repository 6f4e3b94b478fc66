"""`run --executor`: submit jobs, wait for them, and print how to resume if the wait is interrupted."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import Cells
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan, make_plan, refreshed
from harness.commands._output import say
from harness.executor.ledger import Job, latest_by_cell
from harness.executor.options import ExecutorOptions
from harness.executor.states import current_jobs
from harness.executor.submit import Submission, submit
from harness.executor.watch import next_steps, watch
from harness.machine.settings import Settings
from harness.running.run_request import RunRequest, RunSummary


@dataclass(frozen=True)
class JobRun:
    """A run whose cells are computed by jobs.

    Args:
        cells: Cells of the request.
        run_request: The request; each job gets a copy with its cells.
        settings: Folders of this machine.
        options: Executor and resources of a job.
        typed: Words of the command line after `python -m harness`.
        force: Compute finished cells anew.
        detach: Submit the jobs and do not wait.
    """

    cells: Cells
    run_request: RunRequest
    settings: Settings
    options: ExecutorOptions
    typed: Sequence[str]
    force: bool
    detach: bool


def run_jobs(job_run: JobRun) -> RunSummary | None:
    """Compute cells as jobs; None after `--detach`.

    Raises:
        UserError: submitit is not installed, the executor refuses the jobs, or a probe lacks its finished fit.
        KeyboardInterrupt: The wait was interrupted; the next steps are printed, and the jobs run on.
    """
    if importlib.util.find_spec("submitit") is None:
        raise UserError(f"--executor {job_run.options.kind} needs submitit.", "python -m pip install 'submitit>=1.5'")
    cells, runs = job_run.cells, job_run.settings.runs.path
    for cell in cells.evals:
        audit_cell(cell)  # a leak is refused before a job waits in a queue; the job checks it again
    for cell in make_plan(cells).unfitted_evals():
        raise cell.unfitted
    _render(cells)
    submission = submit(
        cells, job_run.run_request, job_run.options, _discarding(job_run.settings) if job_run.force else None
    )
    _announce(submission, job_run.options)
    show_states = f"python -m harness {shlex.join([*job_run.typed, '--dry-run'])}"
    if job_run.detach:
        _say_next_steps(submission.jobs, runs, show_states)
        return None
    try:
        return watch(submission, cells, runs, job_run.run_request.keep_going, say)
    except KeyboardInterrupt:
        submitted = {job.uid for job in submission.jobs}
        _say_next_steps([job for job in current_jobs(runs) if job.uid in submitted], runs, show_states)
        raise


def _say_next_steps(jobs: Sequence[Job], runs: Path, show_states: str) -> None:
    for line in next_steps(jobs, runs, show_states):
        say(line)


def _discarding(settings: Settings) -> Callable[[Plan], Plan]:
    """A function that removes the finished cells of a plan and returns the plan after that."""

    def discarded(plan: Plan) -> Plan:
        from harness.running.run import discard

        discard(plan, settings)
        return refreshed(plan)

    return discarded


def _render(cells: Cells) -> None:
    """Render embedded datasets once, so that parallel jobs do not each render them."""
    datasets = [cell.dataset for cell in cells.fits] + [cell.dataset for cell in cells.evals]
    for dataset in {id(dataset): dataset for dataset in datasets}.values():
        if dataset.kind == "embedded":
            dataset.prepare(None)


def _announce(submission: Submission, options: ExecutorOptions) -> None:
    if submission.new:
        say(str(options))
    for job in submission.earlier:
        say(f"submitted before: {job.label}: {job.title}")
    for job in submission.new:
        say(f"submitted: {job.label}: {job.title}")


def jobs_of(cells: Cells, runs: Path) -> dict[str, Job]:
    """The last job of each cell of a request with its present state, by the key of the cell."""
    keys = {cell.key for cell in cells.fits} | {cell.key for cell in cells.evals}
    return {key: job for key, job in latest_by_cell(current_jobs(runs)).items() if key in keys}
