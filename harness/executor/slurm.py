"""SLURM: submit job arrays through submitit, query their states, cancel them.

States come from `squeue`, which works with and without accounting. submitit uses `sacct`, which never notices a killed
job where accounting is off. `squeue` forgets finished jobs after `MinJobAge` (usually five minutes); their states then
come from the status files that the jobs write.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base.errors import UserError
from harness.executor.job import JobCommand
from harness.executor.ledger import (
    CANCELLED,
    DONE,
    FAILED,
    LOST,
    PENDING,
    RUNNING,
    Job,
    JobState,
    exit_text,
    read_status,
)
from harness.executor.options import ExecutorOptions

ARRAY_SIZE = 1000
"""Jobs of one array; SLURM's default `MaxArraySize` is 1001."""
NOTICE_SECONDS = 90
"""Time between submitit's signal and the end of a job's time: it stops the command and queues the job again."""
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
UNDER_WAY = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "RESIZING"}
Parameter = str | int | bool | list[str] | dict[str, str | bool]


def submit(jobs: list[Job], runs: Path, options: ExecutorOptions, after: list[str]) -> list[str]:
    """Submit jobs as job arrays; returns their ids in the same order.

    Args:
        jobs: Jobs with the same folder.
        runs: Run folder.
        options: Resources of each job.
        after: Ids of jobs that have to succeed before; SLURM cancels the new jobs if one of them fails.

    Raises:
        UserError: This machine has no SLURM, or SLURM refuses the jobs.
    """
    import submitit

    if shutil.which("sbatch") is None:
        message = "The program sbatch was not found: this machine is not a node of a SLURM cluster."
        raise UserError(message, "Use --executor local.")
    executor = submitit.SlurmExecutor((runs / jobs[0].folder).absolute(), max_num_timeout=options.turns)
    executor.update_parameters(**_parameters(options, after))
    commands = [
        JobCommand(
            list(job.command), job.cwd, str(job.status_file(runs).absolute()), log_links=job.result_folders(runs)
        )
        for job in jobs
    ]
    ids: list[str] = []
    try:
        with _without_surrounding_job():
            for start in range(0, len(commands), ARRAY_SIZE):
                ids += [job.job_id for job in executor.submit_array(commands[start : start + ARRAY_SIZE])]
    except submitit.core.utils.FailedJobError as error:
        raise UserError(f"SLURM refuses the jobs: {_one_line(error)}", f"Requested: {options}.") from None
    return ids


def _parameters(options: ExecutorOptions, after: list[str]) -> dict[str, Parameter]:
    """The parameters of submitit's SLURM executor."""
    optional: dict[str, Parameter | None] = {
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
        "job_name": "harness",
        "time": options.time,
        **{name: value for name, value in optional.items() if value is not None},
        "stderr_to_stdout": True,
        "signal_delay_s": NOTICE_SECONDS,
        # Without `kill-on-invalid-dep` a job whose parent failed would stay in the queue for ever.
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **options.sbatch},
    }


@contextmanager
def _without_surrounding_job() -> Iterator[None]:
    """Hide the variables of an interactive job from sbatch, which would give new jobs the shape of that job.

    `SLURM_CONF` stays: it names the cluster's configuration.
    """
    inherited = {}
    if "SLURM_JOB_ID" in os.environ:
        names = [name for name in os.environ if name.startswith(("SLURM_", "SRUN_")) and name != "SLURM_CONF"]
        inherited = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(inherited)


def states(jobs: Iterable[Job], runs: Path) -> dict[str, JobState]:
    """The states of jobs by ledger identifier; the last known states while `squeue` does not answer."""
    jobs = list(jobs)
    try:
        # By array and not by task: one query with thousands of task ids exceeds the length of a command line.
        answers = _squeue({job.id.split("_")[0] for job in jobs})
    except (OSError, subprocess.SubprocessError) as error:
        return {job.uid: JobState(job.state, f"squeue: {_one_line(error)}") for job in jobs}
    job_states: dict[str, JobState] = {}
    for job in jobs:
        state, reason = answers.get(job.id, ("", ""))
        job_states[job.uid] = _translated(state, reason) if state else _from_status(job, runs)
        code = read_status(job.status_file(runs)).returncode
        if state == "FAILED" and code:
            job_states[job.uid] = JobState(FAILED, exit_text(code))  # more precise than SLURM's NonZeroExitCode
    return job_states


def _squeue(ids: set[str]) -> dict[str, tuple[str, str]]:
    """SLURM's (state, reason) by job id, for the jobs that SLURM still knows."""
    selection = [f"--jobs={','.join(sorted(ids))}", "--states=all", "--array"]
    command = ["squeue", *selection, "--noheader", "--format=%i|%T|%r"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # squeue fails if it knows none of the jobs; that is an answer, not an error.
    if done.returncode and "Invalid job id" not in done.stderr:
        raise subprocess.SubprocessError(done.stderr.strip() or f"exit code {done.returncode}")
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines()]
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def _translated(state: str, reason: str) -> JobState:
    """The state of the ledger for a state of SLURM."""
    why = "" if reason in ("None", "") else reason
    if state in QUEUED:
        return JobState(PENDING, why)
    if state in UNDER_WAY:
        return JobState(RUNNING, why)
    if state == "COMPLETED":
        return JobState(DONE)
    if state == "CANCELLED":
        return JobState(CANCELLED, "a job it depends on failed" if "Dependency" in reason else "cancelled")
    # TIMEOUT, NODE_FAIL, OUT_OF_MEMORY and states of later versions of SLURM.
    return JobState(FAILED, f"{state} {why}".strip())


def _from_status(job: Job, runs: Path) -> JobState:
    """The state of a job that SLURM has forgotten."""
    status = read_status(job.status_file(runs))
    if status.state != "ended":
        return JobState(LOST, "SLURM does not know the job any more, and the job wrote no exit code")
    return JobState(DONE) if status.returncode == 0 else JobState(FAILED, exit_text(status.returncode))


def cancel(jobs: list[Job]) -> None:
    """Cancel jobs; ended jobs keep their states."""
    if jobs:
        subprocess.run(["scancel", *(job.id for job in jobs)], capture_output=True, timeout=60, check=False)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
