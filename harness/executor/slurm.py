"""SLURM: submitting arrays through submitit, asking for states, cancelling.

States come from `squeue`, which answers with and without accounting; submitit asks `sacct`, which without accounting
never notices a killed job. What `squeue` has forgotten (it keeps finished jobs for `MinJobAge`, usually five minutes)
is told by the status file that the job itself leaves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base.errors import UserError
from harness.executor.job import JobCommand
from harness.executor.ledger import CANCELLED, DONE, FAILED, LOST, PENDING, RUNNING, Job, ending, read_status
from harness.executor.options import ExecutorOptions

ARRAY_SIZE = 1000
NOTICE_SECONDS = 90
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
UNDER_WAY = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "RESIZING"}


def submit(jobs: list[Job], runs: Path, options: ExecutorOptions, after: list[str]) -> list[str]:
    """Submit jobs that wait for the same others, as job arrays; their ids in the same order.

    Args:
        jobs: With one folder.
        runs: Run folder.
        options: What each job asks for.
        after: Ids of jobs that have to succeed before; if one fails, these are cancelled.

    Raises:
        UserError: There is no SLURM here, or it refuses the jobs.
    """
    import submitit

    if shutil.which("sbatch") is None:
        raise UserError("There is no sbatch here: this is no node of a SLURM cluster.", "Use --executor local.")
    executor = submitit.SlurmExecutor((runs / jobs[0].folder).absolute(), max_num_timeout=options.turns)
    executor.update_parameters(**_parameters(options, after))
    commands = [
        JobCommand(list(job.command), job.cwd, str(job.status_file(runs).absolute()), beside=job.result_folders(runs))
        for job in jobs
    ]
    ids = []
    try:
        with _outside_of_a_job():
            for start in range(0, len(commands), ARRAY_SIZE):
                ids += [job.job_id for job in executor.submit_array(commands[start : start + ARRAY_SIZE])]
    except submitit.core.utils.FailedJobError as error:
        words = " ".join(str(error).split())
        raise UserError(f"SLURM refuses the jobs: {words}", f"Asked for: {options}.") from None
    return ids


def _parameters(options: ExecutorOptions, after: list[str]) -> dict[str, object]:
    wanted: dict[str, object] = {
        "job_name": "harness",
        "time": options.time,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "gpus_per_node": options.gpus,
        "cpus_per_task": options.cpus,
        "mem": options.memory,
        "array_parallelism": options.parallel,
        "dependency": f"afterok:{':'.join(after)}" if after else None,
        "setup": list(options.setup) or None,
        # Since SLURM 22.05 srun does not take the job's cores by itself.
        "srun_args": [f"--cpus-per-task={options.cpus}"] if options.cpus else None,
    }
    return {
        **{name: value for name, value in wanted.items() if value is not None},
        "stderr_to_stdout": True,
        "signal_delay_s": NOTICE_SECONDS,
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **options.sbatch},
    }


@contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hide a surrounding job (an interactive one) from sbatch, which would pass its shape on; not the configuration."""
    inherited = {}
    if "SLURM_JOB_ID" in os.environ:
        names = [name for name in os.environ if name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF"]
        inherited = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(inherited)


def states(jobs: list[Job], runs: Path) -> dict[str, tuple[str, str]]:
    """(state, reason) of jobs by ledger name.

    Where `squeue` cannot be asked at the moment, each job keeps the state it had.
    """
    try:
        known = _squeue({job.id.split("_")[0] for job in jobs})
    except (OSError, subprocess.SubprocessError) as error:
        return {job.uid: (job.state, f"squeue: {_words(error)}") for job in jobs}
    found = {}
    for job in jobs:
        state, reason = known.get(job.id, ("", ""))
        found[job.uid] = _translated(state, reason) if state else _from_status(job, runs)
        code = read_status(job.status_file(runs)).get("returncode")
        if state == "FAILED" and code:
            found[job.uid] = (FAILED, ending(code))  # says more than SLURM's NonZeroExitCode
    return found


def _squeue(ids: set[str]) -> dict[str, tuple[str, str]]:
    """SLURM's (state, reason) by job id, for the jobs that it still knows."""
    wanted = [f"--jobs={','.join(sorted(ids))}", "--states=all", "--array"]
    command = ["squeue", *wanted, "--noheader", "--format=%i|%T|%r"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise subprocess.SubprocessError(done.stderr.strip() or f"exit code {done.returncode}")
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def _translated(state: str, reason: str) -> tuple[str, str]:
    why = "" if reason in ("None", "") else reason
    if state in QUEUED:
        return PENDING, why
    if state in UNDER_WAY:
        return RUNNING, why
    if state == "COMPLETED":
        return DONE, ""
    if state == "CANCELLED":
        return CANCELLED, "a job it depends on failed" if "Dependency" in reason else "cancelled"
    return FAILED, f"{state} {why}".strip()


def _from_status(job: Job, runs: Path) -> tuple[str, str]:
    status = read_status(job.status_file(runs))
    if status.get("state") != "ended":
        return LOST, "SLURM does not know it any more, and it left no result"
    code = status.get("returncode")
    return (DONE, "") if code == 0 else (FAILED, ending(code))


def cancel(jobs: list[Job]) -> None:
    """Cancel jobs; those that are over stay as they are."""
    if jobs:
        subprocess.run(["scancel", *(job.id for job in jobs)], capture_output=True, timeout=60, check=False)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
