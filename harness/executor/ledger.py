"""The jobs of a run folder: one JSON file that says what was submitted, as what, and where its log lies."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.base.atomic import write_json
from harness.base.errors import UserError

LEDGER = "jobs.json"
LEDGER_SCHEMA = 1
LOGS = "logs"
PENDING, RUNNING, DONE, FAILED, CANCELLED, LOST = "pending", "running", "done", "failed", "cancelled", "lost"
ENDED = (DONE, FAILED, CANCELLED, LOST)
TAIL_LINES = 12


@dataclass(frozen=True)
class Job:
    """One submitted job.

    Args:
        uid: Its name in the ledger.
        title: What it computes, for people.
        executor: `slurm` or `local`.
        cells: Keys of the cells that it computes.
        command: What the job runs, as one argument list.
        cwd: The folder it runs in.
        folder: Of its log and status, relative to the run folder.
        after: Ledger names of the jobs that have to succeed before.
        beside: Folders of its results, relative to the run folder; each gets a link to the log.
        resources: What a job of this machine asks for: minutes, GPUs, jobs at a time.
        submitted: When, ISO 8601.
        id: The executor's id; empty while a job of this machine waits for its turn.
        state: `pending`, `running`, `done`, `failed`, `cancelled` or `lost`, as last written down.
        reason: What the executor says about the state.
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
    resources: dict[str, Any] = field(default_factory=dict)
    submitted: str = ""
    id: str = ""
    state: str = PENDING
    reason: str = ""

    @property
    def active(self) -> bool:
        """Whether it was not over when the ledger was written."""
        return self.state not in ENDED

    @property
    def label(self) -> str:
        """Executor and id, e.g. `slurm job 41_0`."""
        return f"{self.executor} job {self.id}" if self.id else f"{self.executor} job, not started"

    def log(self, runs: Path) -> Path | None:
        """Its log, which need not be there yet; None before it has an id."""
        return runs / self.folder / f"{self.id}_0_log.out" if self.id else None

    def result_folders(self, runs: Path) -> list[str]:
        """The folders of its results."""
        return [str((runs / name).absolute()) for name in self.beside]

    def status_file(self, runs: Path) -> Path:
        """What the job itself writes when it starts and ends."""
        return runs / self.folder / f"{self.uid}.json"

    def lock_file(self, runs: Path) -> Path:
        """Held by a job of this machine as long as it lives."""
        return runs / self.folder / f"{self.uid}.lock"


def read_ledger(runs: Path) -> list[Job]:
    """All jobs of a run folder in the order of submission; none where nothing was submitted.

    Raises:
        UserError: The ledger is there and cannot be read.
    """
    path = runs / LEDGER
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != LEDGER_SCHEMA:
            raise ValueError(f"schema {content['schema']}, expected {LEDGER_SCHEMA}")
        return [_job(entry) for entry in content["jobs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"The ledger of jobs {path} cannot be read: {type(error).__name__}: {error}",
            "Remove it: jobs under way are then no longer seen, and nothing that was computed is lost.",
        ) from None


def _job(entry: dict[str, Any]) -> Job:
    job = Job(**entry)
    return replace(
        job,
        cells=tuple(job.cells),
        command=tuple(job.command),
        after=tuple(job.after),
        beside=tuple(job.beside),
    )


@contextmanager
def open_ledger(runs: Path) -> Iterator[dict[str, Job]]:
    """The jobs by ledger name, to be changed; written back at the end. One process at a time."""
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
        finally:
            if jobs != before:
                entries = [dataclasses.asdict(job) for job in jobs.values()]
                write_json(runs / LEDGER, {"schema": LEDGER_SCHEMA, "jobs": entries})


def write_states(runs: Path, found: dict[str, tuple[str, str]]) -> None:
    """Write down (state, reason) of jobs that are over, since a cluster forgets them. By ledger name."""
    over = {uid: state for uid, state in found.items() if state[0] in ENDED}
    if not over or all((job.state, job.reason) == over[job.uid] for job in read_ledger(runs) if job.uid in over):
        return
    with open_ledger(runs) as jobs:
        for uid, (state, reason) in over.items():
            if uid in jobs:
                jobs[uid] = replace(jobs[uid], state=state, reason=reason)


def latest_by_cell(jobs: Iterable[Job]) -> dict[str, Job]:
    """The last submitted job of each cell."""
    return {key: job for job in jobs for key in job.cells}


def read_status(path: Path) -> dict[str, Any]:
    """What a job wrote about itself: `state` (`running` or `ended`), `returncode`, `turn`; empty if nothing."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and value.get("schema") == LEDGER_SCHEMA else {}


def ending(returncode: Any) -> str:
    """How a command ended that did not succeed, in words."""
    if isinstance(returncode, int) and returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        return f"killed by {name}" + (" (by hand, or for want of memory)" if name == "SIGKILL" else "")
    return f"exit code {returncode}"


def tail(path: Path | None, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log; none if there is no log."""
    if path is None or not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        text = file.read().decode("utf-8", "replace")
    return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-lines:]
