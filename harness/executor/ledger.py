"""The ledger of a run folder: one JSON file with all submitted jobs, their cells, logs and last known states."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import msgspec
from filelock import FileLock

from harness.base.atomic import write_json
from harness.base.errors import UserError
from results.codec import DecodeError, decode, encode, read_json_file

LEDGER = "jobs.json"
LEDGER_SCHEMA = 1
LOGS = "logs"
PENDING, RUNNING, DONE, FAILED, CANCELLED, LOST = "pending", "running", "done", "failed", "cancelled", "lost"
ENDED = (DONE, FAILED, CANCELLED, LOST)
TAIL_LINES = 12
TAIL_BYTES = 20_000
"""Bytes read from the end of a log; enough for `TAIL_LINES` lines of a traceback or of progress bars."""


class LocalResources(TypedDict, total=False):
    """Resources of a job of this machine; empty for a SLURM job, whose resources SLURM keeps.

    time: minutes; turns: how often a job that ran out of time starts again; gpus: number of GPUs, None for none;
    parallel: jobs that run at the same time.
    """

    time: int
    turns: int
    gpus: int | None
    parallel: int


@dataclass(frozen=True)
class Job:
    """One submitted job.

    Args:
        uid: Identifier in the ledger.
        title: Names of the cells, for messages.
        executor: `slurm` or `local`.
        cells: Keys of the cells that the job computes.
        command: Argument list of the job.
        cwd: Working directory of the command.
        folder: Folder of log, status and request file, relative to the run folder.
        after: Identifiers of the jobs that have to succeed before.
        beside: Folders of the results, relative to the run folder; each gets a link to the log.
        resources: Resources of a job of this machine.
        submitted: Time of submission, ISO 8601.
        id: Job id of the executor; empty while a job of this machine waits in the queue.
        state: Last known state: `pending`, `running`, `done`, `failed`, `cancelled` or `lost`.
        reason: The executor's reason for the state.
    """

    uid: str
    title: str
    executor: str
    cells: tuple[str, ...]
    command: tuple[str, ...]
    cwd: str
    folder: str
    after: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    resources: LocalResources = field(default_factory=LocalResources)
    submitted: str = ""
    id: str = ""
    state: str = PENDING
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether the job is pending or running, by its last known state."""
        return self.state not in ENDED

    @property
    def label(self) -> str:
        """Executor and id, e.g. `slurm job 41_0`."""
        return f"{self.executor} job {self.id}" if self.id else f"{self.executor} job, not started"

    def log(self, runs: Path) -> Path | None:
        """The log, which need not exist yet; None before the job has an id."""
        return runs / self.folder / f"{self.id}_0_log.out" if self.id else None

    def result_folders(self, runs: Path) -> list[str]:
        """Absolute paths of the folders of the results."""
        return [str((runs / name).absolute()) for name in self.beside]

    def status_file(self, runs: Path) -> Path:
        """The file of the job's `JobStatus`."""
        return runs / self.folder / f"{self.uid}.json"

    def request_file(self, runs: Path) -> Path:
        """The file with the job's `RunRequest`."""
        return runs / self.folder / f"{self.uid}.request.json"

    def lock_file(self, runs: Path) -> Path:
        """The file that a job of this machine locks while it runs."""
        return runs / self.folder / f"{self.uid}.lock"


@dataclass(frozen=True)
class JobState:
    """The state of a job at one time.

    Args:
        state: `pending`, `running`, `done`, `failed`, `cancelled` or `lost`.
        reason: The executor's reason for the state.
    """

    state: str
    reason: str = ""


@dataclass(frozen=True)
class JobStatus:
    """Status that a job writes when its command starts and ends.

    Args:
        state: `running` or `ended`; empty if the job has not started.
        turn: Number of starts of the job, counted from 1.
        returncode: Exit code of the command, negative for the number of a signal; None before its end.
        host: Host name of the node.
        time: Time of writing, ISO 8601.
        schema: Version of the file format.
    """

    state: str = ""
    turn: int = 0
    returncode: int | None = None
    host: str = ""
    time: str = ""
    schema: int = LEDGER_SCHEMA


@dataclass(frozen=True)
class _LedgerFile:
    """Content of the ledger."""

    schema: int
    jobs: tuple[Job, ...]


def read_ledger(runs: Path) -> list[Job]:
    """All jobs of a run folder in the order of submission; empty if no job was submitted.

    Raises:
        UserError: The ledger exists and cannot be read.
    """
    path = runs / LEDGER
    if not path.is_file():
        return []
    hint = "Remove it: the harness then no longer sees pending and running jobs, and nothing that was computed is lost."
    try:
        return list(decode(read_json_file(path, LEDGER_SCHEMA, hint), _LedgerFile).jobs)
    except (UserError, DecodeError) as error:
        reason = error.message if isinstance(error, UserError) else f"{error}."
        raise UserError(f"The ledger of jobs {path} cannot be read: {reason}", hint) from None


@contextmanager
def open_ledger(runs: Path) -> Iterator[dict[str, Job]]:
    """Yield the jobs by identifier, to be changed; changes are written at the end. One process at a time.

    Raises:
        UserError: The run folder cannot be made, or the ledger cannot be read.
    """
    locks = runs / ".locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {runs} cannot be made: {error}", "Choose another one with --runs DIR.") from None
    with FileLock(locks / f"{LEDGER}.lock"):
        jobs = {job.uid: job for job in read_ledger(runs)}
        before = dict(jobs)
        try:
            yield jobs
        finally:  # also after an error: jobs that were submitted before it exist
            if jobs != before:
                write_json(runs / LEDGER, encode(_LedgerFile(LEDGER_SCHEMA, tuple(jobs.values()))))


def write_states(runs: Path, states: Mapping[str, JobState]) -> None:
    """Write the states of ended jobs into the ledger, since a cluster forgets them.

    Args:
        runs: Run folder.
        states: States by identifier; states of pending and running jobs are not written.
    """
    ended = {uid: state for uid, state in states.items() if state.state in ENDED}
    known = {job.uid: JobState(job.state, job.reason) for job in read_ledger(runs) if job.uid in ended}
    if not ended or all(state == ended[uid] for uid, state in known.items()):
        return  # most calls end here, without the lock that a submitting process may hold
    with open_ledger(runs) as jobs:
        for uid, state in ended.items():
            if uid in jobs:
                jobs[uid] = replace(jobs[uid], state=state.state, reason=state.reason)


def latest_by_cell(jobs: Iterable[Job]) -> dict[str, Job]:
    """The last submitted job of each cell, by the key of the cell."""
    # Later jobs replace earlier ones of the same cell.
    return {key: job for job in jobs for key in job.cells}


def read_status(path: Path) -> JobStatus:
    """The status that a job wrote; without state if the file is missing or not readable."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=JobStatus)
    except (OSError, ValueError):
        return JobStatus()
    return status if status.schema == LEDGER_SCHEMA else JobStatus()


def exit_text(returncode: int | None) -> str:
    """An exit code in words."""
    if returncode is not None and returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        return f"killed by {name}" + (" (by hand, or because memory ran out)" if name == "SIGKILL" else "")
    return f"exit code {returncode}"


def tail(path: Path | None, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log that are not blank; empty if there is no log."""
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        # From the end, because the log of a long fit can be large.
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    # Progress bars overwrite their line with a carriage return: each state becomes a line.
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-lines:]
