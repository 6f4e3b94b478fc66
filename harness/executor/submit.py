"""Submit the open cells of a request as jobs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import Cells
from harness.cells.plan import Plan, make_plan
from harness.executor import local, slurm
from harness.executor.command import job_command
from harness.executor.grouping import Work, group, waves
from harness.executor.ledger import LOGS, Job, LocalResources, latest_by_cell, open_ledger
from harness.executor.options import ExecutorOptions
from harness.executor.states import current_jobs
from harness.running.run_request import RunRequest, write_run_request


@dataclass(frozen=True)
class Submission:
    """The jobs that compute a request.

    Args:
        new: Jobs submitted now.
        earlier: Jobs with cells of this request that were pending or running before.
        reused: Number of finished cells.
    """

    new: tuple[Job, ...]
    earlier: tuple[Job, ...]
    reused: int

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Earlier and new jobs."""
        return (*self.earlier, *self.new)


def submit(
    cells: Cells,
    run_request: RunRequest,
    options: ExecutorOptions,
    force: Callable[[Plan], Plan] | None = None,
) -> Submission:
    """Submit the open cells of a request that are not part of a pending or running job.

    Args:
        cells: Cells of the request.
        run_request: The request; each job gets a copy with the keys of its cells.
        options: Executor and resources of a job.
        force: Removes finished cells and returns the plan after that; None keeps finished cells.

    Raises:
        UserError: The executor refuses the jobs, or `force` is given while jobs compute cells of the request.
    """
    runs = Path(run_request.folders.runs)
    with open_ledger(runs) as ledger:
        # Ended jobs must not hold back their cells: write the present states first.
        for job in current_jobs(runs):
            ledger[job.uid] = job
        active = latest_by_cell(job for job in ledger.values() if job.active)
        keys = {cell.key for cell in cells.fits} | {cell.key for cell in cells.evals}
        if force and (busy := {job.label for key, job in active.items() if key in keys}):
            message = f"--force is given, but jobs are pending or running: {', '.join(sorted(busy))}."
            raise UserError(message, "Cancel them first.")
        plan = force(make_plan(cells)) if force else make_plan(cells)
        states = (*plan.fits, *plan.evals)
        new: list[Job] = []
        for wave in waves(group(plan, active), active):
            before = {key: job for job in ledger.values() if job.active for key in job.cells}
            # One entry per job, because several parent fits can be part of the same job.
            after = tuple({before[key].uid: before[key] for key in wave[0].after}.values())
            # Into the ledger wave by wave: if a later wave is refused, the jobs of this one are known.
            for job in _submit_wave(wave, after, run_request, options):
                ledger[job.uid] = job
                new.append(job)
        # From the plan after `force`: cells that it removed are open.
        open_keys = {state.cell.key for state in states if state.state != "done"}
        earlier = {job.uid: job for key, job in active.items() if key in open_keys}
        # With the ledger still open, so that a queue that is about to end sees the new jobs or is replaced.
        if any(job.executor == "local" for job in new):
            local.start_queue(runs)
    return Submission(tuple(new), tuple(earlier.values()), len(states) - len(open_keys))


def _submit_wave(
    works: list[Work], after: tuple[Job, ...], run_request: RunRequest, options: ExecutorOptions
) -> list[Job]:
    """Submit jobs that wait for the same jobs; they share a folder of logs."""
    runs, now = Path(run_request.folders.runs), datetime.now(UTC)
    folder = f"{LOGS}/{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    resources = LocalResources(
        time=options.time, turns=options.turns, gpus=options.gpus, parallel=options.parallel or 1
    )
    jobs = []
    for work in works:
        job = Job(
            uid=secrets.token_hex(6), title=work.title, executor=options.kind, cells=work.keys, command=(),
            cwd=str(Path.cwd()), folder=folder, after=tuple(job.uid for job in after),
            beside=tuple(os.path.relpath(path, runs) for path in work.folders),
            resources=resources if options.kind == "local" else {}, submitted=now.isoformat(timespec="seconds"),
        )  # fmt: skip
        # Before the submission: SLURM may start the job at once.
        request_file = job.request_file(runs)
        write_run_request(request_file, replace(run_request, cells=work.keys))
        jobs.append(replace(job, command=tuple(job_command(request_file, options.processes_per_job))))
    if options.kind == "slurm":
        ids = slurm.submit(jobs, runs, options, [job.id for job in after])
        jobs = [replace(job, id=i) for job, i in zip(jobs, ids, strict=True)]
    return jobs
